"""Baselines: records kept under a name."""

from pathlib import Path

import pytest

from bench.records.baselines import find_baseline, list_baselines, read_baseline, set_baseline
from bench.records.record import Turns
from bench.records.store import read_folder, write_record
from tpuens.errors import ConfigurationError


@pytest.fixture
def run(records, tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    write_record(folder, records.record())
    write_record(folder, records.record(status="failed", reason="Out of memory."))
    return folder


def test_a_baseline_holds_copies_of_what_is_ok(run: Path, tmp_path: Path) -> None:
    root = tmp_path / "baselines"
    place = set_baseline("main", [run], root=root)
    assert [record.status for record in read_folder(place)] == ["ok"]
    assert find_baseline("main", root) == place
    assert list_baselines(root) == ["main"]
    assert [path.name for path in root.iterdir()] == ["main"]  # nothing half-written beside it


def test_a_baseline_is_not_overwritten_unless_asked(run: Path, records, tmp_path: Path) -> None:
    root = tmp_path / "baselines"
    set_baseline("main", [run], root=root)
    other = tmp_path / "other"
    fresh = records.record()
    write_record(other, fresh)
    with pytest.raises(ConfigurationError, match="--replace"):
        set_baseline("main", [other], root=root)
    place = set_baseline("main", [other], replace=True, root=root)
    assert [record.id for record in read_folder(place)] == [fresh.id]
    assert [path.name for path in root.iterdir()] == ["main"]


def test_a_baseline_holds_the_same_run_of_several_days_and_another_day_can_be_added(
    records, tmp_path: Path
) -> None:
    root = tmp_path / "baselines"
    days = [tmp_path / "monday", tmp_path / "tuesday", tmp_path / "wednesday"]
    for number, day in enumerate(days):
        for _ in range(2):  # the first was interrupted and made again
            write_record(day, records.record(request_key="one", created=f"2026-11-0{number + 1}T00:00:00Z"))
    set_baseline("main", days[:2], root=root)
    assert len(read_baseline("main", root)) == 2
    place = set_baseline("main", [root / "main", days[2]], replace=True, root=root)
    assert [record.created[:10] for record in read_baseline("main", root)] == [
        "2026-11-01",
        "2026-11-02",
        "2026-11-03",
    ]
    assert read_baseline(str(place), root) == read_baseline("main", root)
    assert len(read_baseline(str(days[0]), root)) == 1


@pytest.mark.parametrize("name", ["", "../up", ".hidden", "a/b", "a b"])
def test_a_name_that_is_a_path_is_refused(name: str, run: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="letters, digits"):
        set_baseline(name, [run], root=tmp_path / "baselines")


def test_both_arms_of_a_comparison_are_no_baseline(records, tmp_path: Path) -> None:
    write_record(tmp_path, records.record(turns=Turns(comparison="c", pair=0, arm="A")))
    with pytest.raises(ConfigurationError, match="both arms"):
        set_baseline("main", [tmp_path], root=tmp_path / "baselines")


def test_an_unknown_baseline_says_which_there_are(run: Path, tmp_path: Path) -> None:
    root = tmp_path / "baselines"
    set_baseline("main", [run], root=root)
    with pytest.raises(ConfigurationError, match="main"):
        find_baseline("mian", root)
    assert find_baseline(str(run), root) == run
