"""Records on disk: written whole or not at all, read with messages that say what to do."""

import errno
import os
import re
from pathlib import Path

import msgspec
import pytest

from bench.records import store
from bench.records.record import SCHEMA_VERSION, Memory, Metric, encode_record
from bench.records.store import RecordError, latest_records, read_folder, read_record, write_record
from tpuens.errors import RunError

GOLDEN = Path(__file__).parent.parent / "golden"


def edited(path: Path, **fields: object) -> Path:
    """Returns the record's file with some fields of its JSON object replaced; None takes a field away."""
    payload = msgspec.json.decode(path.read_bytes()) | fields
    path.write_bytes(
        msgspec.json.encode({name: value for name, value in payload.items() if value is not None})
    )
    return path


def test_a_record_reads_back_as_it_was_written(study, tmp_path):
    for record in study:
        assert read_record(write_record(tmp_path, record)) == record


def test_a_file_name_says_which_run_it_is_and_ends_in_its_id(records, tmp_path):
    record = records.record(id="4f2a", repeat=2, workload={"backbone": "../net/é"})
    path = write_record(tmp_path, record)
    assert path == tmp_path / "records" / "train-step-..-net-one-device-2-4f2a.json"


def test_an_existing_record_is_never_overwritten(records, tmp_path):
    record = records.record(suite="first")
    path = write_record(tmp_path, record)
    with pytest.raises(RunError, match="never overwritten"):
        write_record(tmp_path, msgspec.structs.replace(record, suite="second"))
    assert read_record(path).suite == "first"
    assert list(path.parent.iterdir()) == [path]


def test_a_full_disk_leaves_nothing_half_written(records, tmp_path, monkeypatch):
    def fsync(file: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(RunError, match=r"No space left on device.*Free some space.*Received: .*records"):
        write_record(tmp_path, records.record())
    assert list((tmp_path / "records").iterdir()) == []


def test_a_folder_that_cannot_be_made_is_named(records, tmp_path):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(RunError, match=r"folder that can be written.*taken"):
        write_record(tmp_path / "taken", records.record())


def test_a_file_system_without_hard_links_keeps_records_and_overwrites_none(records, tmp_path, monkeypatch):
    def link(source: object, target: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    record = records.record()
    path = write_record(tmp_path, record)
    assert read_record(path) == record
    with pytest.raises(RunError, match="never overwritten"):
        write_record(tmp_path, record)
    assert list(path.parent.iterdir()) == [path]

    def replace(source: object, target: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Path, "replace", replace)
    with pytest.raises(RunError, match="Input/output error"):
        write_record(tmp_path, records.record())
    assert list(path.parent.iterdir()) == [path]


def test_a_record_that_could_not_be_read_again_is_not_written(records, tmp_path):
    nan = records.record(metrics=(Metric(name="log_loss", value=float("nan")),))
    with pytest.raises(RunError, match=r"finite.*metrics\[0\]\.value"):
        write_record(tmp_path, nan)
    short = records.record(series=(records.series(steps=(1, 2)),))
    with pytest.raises(RunError, match=r"'compute' has 3 samples in seconds but 2 in steps"):
        write_record(tmp_path, short)
    assert not (tmp_path / "records").exists()


def test_a_run_folder_its_records_and_one_file_all_read(records, tmp_path):
    written = [records.record() for _ in range(3)]
    paths = [write_record(tmp_path, record) for record in reversed(written)]
    assert read_folder(tmp_path) == written  # the oldest first
    assert read_folder(tmp_path / "records") == written
    assert read_folder(paths[0]) == written[-1:]


def test_records_of_one_second_sort_by_their_fractions(records, tmp_path):
    for created in ("2026-11-22T10:00:00.500Z", "2026-11-22T10:00:00Z", "2026-11-22T09:59:59.9+00:00"):
        write_record(tmp_path, records.record(created=created.replace(".9+", ".900+")))
    assert [record.created[17:21] for record in read_folder(tmp_path)] == ["59.9", "00Z", "00.5"]


def test_unfinished_files_are_not_read(records, tmp_path):
    path = write_record(tmp_path, records.record())
    (path.parent / f".{path.name}.0123.partial").write_text("{")
    assert len(read_folder(tmp_path)) == 1


def test_a_missing_folder_says_what_would_do(tmp_path):
    with pytest.raises(RecordError, match=r"run folder.*tpuens-bench run.*Received: .*nowhere") as caught:
        read_folder(tmp_path / "nowhere")
    assert caught.value.exit_code == 2


def test_an_empty_folder_names_the_run_folders_in_it(records, tmp_path):
    (tmp_path / "records").mkdir()
    with pytest.raises(RecordError, match=r"No record"):
        read_folder(tmp_path)
    (tmp_path / "records").rmdir()
    (tmp_path / "plan.json").write_text("{}")
    with pytest.raises(RecordError, match=r"No record"):
        read_folder(tmp_path)
    write_record(tmp_path / "runs" / "monday", records.record())
    with pytest.raises(RecordError, match=r"holds run folders.*: monday"):
        read_folder(tmp_path / "runs")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b'{"schema_version": NaN}'])
def test_a_broken_file_is_named(tmp_path, content):
    (tmp_path / "broken.json").write_bytes(content)
    with pytest.raises(RecordError, match=r"one JSON object.*move it away.*broken\.json"):
        read_folder(tmp_path)


def test_a_wrong_field_is_named(records, tmp_path):
    path = write_record(tmp_path, records.record())
    with pytest.raises(RecordError, match=rf"unknown field `statsu`.*{re.escape(path.name)}"):
        read_record(edited(path, statsu="ok"))
    with pytest.raises(RecordError, match=r"Invalid enum value 'fine'.*\$\.status"):
        read_record(edited(path, statsu=None, status="fine"))
    with pytest.raises(RecordError, match=r"missing required field `id`"):
        read_record(edited(path, status="ok", id=None))


def test_samples_that_do_not_fit_together_are_refused(records, tmp_path):
    path = write_record(tmp_path, records.record(series=(records.series(),)))
    payload = msgspec.json.decode(path.read_bytes())
    payload["series"][0]["examples"].append(1)
    with pytest.raises(RecordError, match=r"3 samples in seconds but 4 in examples"):
        read_record(edited(path, series=payload["series"]))
    payload["series"][0]["examples"] = [1, 2, -3]
    with pytest.raises(RecordError, match=r"below zero in examples"):
        read_record(edited(path, series=payload["series"]))


def test_a_newer_version_says_to_install_a_newer_tpuens(records, tmp_path):
    environment = records.environment(versions={"tpuens": "9.1"})
    path = edited(write_record(tmp_path, records.record(environment=environment)), schema_version=99)
    with pytest.raises(
        RecordError, match=rf"up to schema version {SCHEMA_VERSION}; this one has 99, written by tpuens 9\.1"
    ):
        read_record(path)
    with pytest.raises(RecordError, match=r"pip install --upgrade tpuens"):
        read_record(path)


@pytest.mark.parametrize("version", [None, "1", True, 1.5])
def test_a_file_without_a_version_is_no_record(records, tmp_path, version):
    path = edited(write_record(tmp_path, records.record()), schema_version=version)
    with pytest.raises(RecordError, match=r"says its schema_version"):
        read_record(path)


def test_a_list_is_no_record(tmp_path):
    (tmp_path / "list.json").write_text("[1]")
    with pytest.raises(RecordError, match=r"no record of tpuens"):
        read_folder(tmp_path)


def test_an_older_version_without_a_step_says_how_to_read_it_still(records, tmp_path):
    path = edited(write_record(tmp_path, records.record()), schema_version=0)
    with pytest.raises(RecordError, match=r"no step leads from 0 to 1.*written by tpuens 0\.1\.0"):
        read_record(path)


def test_older_versions_are_upgraded_step_by_step(records, tmp_path, monkeypatch):
    record = records.record(suite="quick", memory=Memory(peak_resident_bytes=1))
    path = edited(write_record(tmp_path, record), schema_version=-1, suite=None, family="qui", memory=None)

    def rename(payload: dict) -> dict:
        return {"suite": payload.pop("family"), **payload}

    def complete(payload: dict) -> dict:
        return {**payload, "suite": payload["suite"] + "ck", "memory": {"peak_resident_bytes": 1}}

    monkeypatch.setattr(
        store, "UPGRADES", {-1: rename, 0: complete} | dict.fromkeys(range(1, SCHEMA_VERSION), dict)
    )
    assert read_record(path) == record


def test_every_version_has_a_golden_record_that_still_reads():
    for version in range(1, SCHEMA_VERSION + 1):
        record = read_record(GOLDEN / f"record-v{version}.json")
        assert record.workload.backbone == "resnet50"
        assert record.series[0].blocked_seconds == (0.25, 0.125)
        assert record.configuration.cache == "memory"
        assert "cache" not in record.workload.options
        assert record.environment is not None
        assert record.environment.accelerators[0].details == {"compute_capability": "9.0"}


def test_the_golden_record_of_the_present_version_leaves_no_field_out():
    path = GOLDEN / f"record-v{SCHEMA_VERSION}.json"
    record = read_record(path)
    parts = (record.workload, record.configuration, record.environment, record.series[0], record.memory)
    for struct in (record, *parts, record.flops, record.energy[0], record.outcomes[0], record.warnings[0]):
        assert all(getattr(struct, name) not in (None, (), {}) for name in struct.__struct_fields__), struct
    assert encode_record(record) == path.read_bytes()


def test_an_ok_record_outlives_a_later_failure_of_the_same_run(records):
    ok, failed = (
        records.record(request_key="a", status=status, created=f"2026-11-22T1{hour}:00:00Z")
        for hour, status in enumerate(("ok", "failed"))
    )
    assert latest_records([failed, ok]) == [ok]


def test_the_newest_of_several_attempts_stands_for_its_run(records):
    attempts = [records.record(request_key="a", status=status) for status in ("failed", "skipped")]
    assert latest_records(attempts) == attempts[1:]
    good = [records.record(request_key="a") for _ in range(2)]
    assert latest_records([*good, *attempts]) == good[1:]


def test_repeats_requests_and_machines_are_different_runs(records):
    distinct = [
        records.record(request_key="a"),
        records.record(request_key="b"),
        records.record(request_key="a", repeat=1),
        records.record(request_key="a", environment=records.environment("server")),
    ]
    assert latest_records(distinct) == distinct


def test_the_latest_is_chosen_within_each_run_folder_alone(records):
    first = records.record(request_key="a", environment=records.environment("vm-1", fingerprint="same"))
    failed, second = (
        records.record(
            request_key="a", status=status, environment=records.environment("vm-2", fingerprint="same")
        )
        for status in ("failed", "ok")
    )
    assert latest_records([first], [failed, second]) == [first, second]
    assert latest_records([failed, second], [first]) == [second, first]  # in the order of the folders


def test_a_folder_that_is_given_twice_counts_once(records):
    record = records.record()
    assert latest_records([record], [record]) == [record]


def test_a_worker_that_died_early_counts_to_the_only_machine_of_its_request(records):
    died = records.record(request_key="a", status="failed", environment=None)
    ok = records.record(request_key="a")
    assert latest_records([died, ok]) == [ok]
    elsewhere = records.record(request_key="a", environment=records.environment("server"))
    assert latest_records([died, ok, elsewhere]) == [died, ok, elsewhere]
