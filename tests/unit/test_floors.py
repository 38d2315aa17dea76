"""Noise floors: where they lie, and when they no longer hold."""

from datetime import datetime, timedelta, timezone

import msgspec
import pytest

from bench.records.floors import Floor, floor_state, load_floor, save_floor
from bench.records.store import RecordError

NOW = datetime(2026, 11, 25, tzinfo=timezone.utc)


@pytest.fixture
def environment(records):
    return records.environment(versions={"python": "3.11.2", "tensorflow": "2.21.0", "keras": "3.15.0"})


@pytest.fixture
def floor(environment):
    return Floor(
        scenario_class="train-step",
        wall=0.02,
        cpu=0.01,
        pairs=12,
        created="2026-11-20T10:00:00Z",
        fingerprint=environment.fingerprint,
        versions=environment.versions,
    )


def test_a_saved_floor_is_loaded_again_from_the_users_cache_folder(floor, tmp_path, monkeypatch):
    monkeypatch.setenv("TPUENS_CACHE_DIR", str(tmp_path))
    path = save_floor(floor)
    assert path.is_relative_to(tmp_path)
    assert load_floor(floor.fingerprint, "train-step") == floor


def test_floors_are_kept_by_machine_and_class(floor, tmp_path):
    save_floor(floor, tmp_path)
    assert load_floor("0" * 16, "train-step", tmp_path) is None
    assert load_floor(floor.fingerprint, "inference", tmp_path) is None


def test_a_newer_floor_takes_the_place_of_the_older(floor, tmp_path):
    save_floor(floor, tmp_path)
    save_floor(msgspec.structs.replace(floor, wall=0.03), tmp_path)
    found = load_floor(floor.fingerprint, "train-step", tmp_path)
    assert found is not None
    assert found.wall == 0.03


def test_a_broken_floor_is_an_error_with_a_remedy(floor, tmp_path):
    save_floor(floor, tmp_path).write_text("{")
    with pytest.raises(RecordError, match="calibrate"):
        load_floor(floor.fingerprint, "train-step", tmp_path)


def test_a_floor_is_fresh_for_a_month(floor, environment):
    assert floor_state(floor, environment, NOW) == "fresh"
    assert floor_state(floor, environment, NOW + timedelta(days=60)) == "stale: measured 64 days ago"


def test_a_floor_of_other_hardware_or_versions_is_stale(floor, environment):
    other = msgspec.structs.replace(environment, fingerprint="0" * 16)
    assert floor_state(floor, other, NOW) == "stale: measured on other hardware"
    newer = msgspec.structs.replace(environment, versions={**environment.versions, "tensorflow": "2.22.0"})
    assert floor_state(floor, newer, NOW) == "stale: measured with tensorflow 2.21.0, not 2.22.0"


def test_no_floor_is_missing(environment):
    assert floor_state(None, environment, NOW) == "missing"
