"""Records for pytest-benchmark, and its files as records; both read by the real thing."""

import json
import os
import subprocess
import sys

import msgspec
import pytest
import pytest_benchmark.cli

from bench.cli import app
from bench.records.record import Caution, Energy
from bench.records.store import RecordError, read_folder, write_record
from bench.reporting.pytest_json import export_records, import_benchmarks
from tpuens.errors import ConfigurationError, RunError

BENCHMARK = """
import pytest
from bench.conftest import replay

@pytest.mark.parametrize("size", [3])
def test_sort(replay, benchmark, size):
    replay.load((0.1, 0.7, 0.30000000000000004))
    benchmark.pedantic(replay.step, setup=replay.restart, rounds=3)

def test_counted(benchmark):
    benchmark.pedantic(lambda: None, rounds=2, iterations=5)
"""


def call(*arguments):
    with pytest.raises(SystemExit) as end:
        app(list(arguments))
    assert end.value.code == 0


def compare(*files, capsys, monkeypatch):
    """Returns what pytest-benchmark's own command says of some files."""
    arguments = ["pytest-benchmark", "compare", *map(str, files), "--columns=median,rounds"]
    monkeypatch.setattr(sys, "argv", arguments)
    pytest_benchmark.cli.main()
    return capsys.readouterr().out


@pytest.fixture
def run(records):
    """Returns a run with a reading of blocks of unlike lengths, and one of single steps."""
    return records.record(
        series=(
            records.series(
                seconds=(0.1, 0.7, 0.3),
                warmup_seconds=(0.5,),
                cpu_seconds=(0.2, 0.8, 0.4),
                parameters={"arm": "a"},
            ),
            records.latencies(0.011, 0.012, 0.013, batch_size=1),
        ),
        warnings=(Caution(code="busy-machine", message="Close other programs."),),
        energy=(
            Energy(series="compute, a", joules=9.0, seconds=1.1, method="rapl", scope="package-0", samples=5),
        ),
    )


def test_data_are_seconds_a_step(run):
    blocks, latency = export_records([run])["benchmarks"]
    assert blocks["stats"]["data"] == [0.1, 0.35, pytest.approx(0.1)]
    assert blocks["stats"]["iterations"] == 1  # the samples do not hold equally many steps
    assert blocks["extra_info"]["examples_per_second"] == pytest.approx(600 / 1.1)
    assert latency["stats"]["median"] == 0.012
    assert latency["stats"]["rounds"] == 3


def test_equal_work_has_an_equal_name_and_repeats_have_not(records):
    first, same, again = (records.record(series=(records.series(),), repeat=repeat) for repeat in (0, 0, 1))
    names = [benchmark["name"] for benchmark in export_records([first, same, again])["benchmarks"]]
    assert names[0] == names[1] == "train-step[cifar_cnn@32, compute, one-device, batch 64, digits, float32]"
    assert names[2] == names[0].replace("float32]", "float32, repeat 1]")


def test_only_what_timed_something_is_exported(records, study):
    trained = records.record("time-to-accuracy", phases={"training": 12.5})
    (benchmark,) = export_records([trained])["benchmarks"]
    assert benchmark["stats"]["data"] == [12.5]
    ids = {
        benchmark["extra_info"]["tpuens"]["record"]["id"] for benchmark in export_records(study)["benchmarks"]
    }
    assert ids == {record.id for record in study if record.status == "ok"}
    with pytest.raises(ConfigurationError, match="Nothing to export"):
        export_records([records.record(status="skipped", reason="No TPU.")])


def test_the_way_there_and_back_restores_a_record(run, study, tmp_path):
    run = msgspec.structs.replace(run, id="an-id-of-its-own")
    runs = [run, *(record for record in study if record.status == "ok")]
    payload = json.loads(msgspec.json.encode(export_records(runs)))
    restored = import_benchmarks(payload, tmp_path)
    for before, after in zip(runs, restored, strict=True):
        assert [series.seconds for series in after.series] == [
            pytest.approx(series.seconds, rel=1e-15) for series in before.series
        ]
        exact = [
            msgspec.structs.replace(theirs, seconds=ours.seconds)
            for ours, theirs in zip(before.series, after.series, strict=True)
        ]
        assert msgspec.structs.replace(after, series=tuple(exact)) == before


def test_pytest_benchmark_compares_what_was_exported(tmp_path, run, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)  # it looks for settings around where it stands
    for name in ("before", "after"):
        write_record(tmp_path / name, run)
        call(
            "export",
            str(tmp_path / name),
            "--format",
            "pytest-benchmark",
            "-o",
            str(tmp_path / f"{name}.json"),
        )
    assert "2 benchmarks: " in capsys.readouterr().out
    out = compare(tmp_path / "before.json", tmp_path / "after.json", capsys=capsys, monkeypatch=monkeypatch)
    assert out.count("train-step[cifar_cnn@32, latency, one-device") == 2
    assert "12.0000" in out  # milliseconds
    call("import", str(tmp_path / "after.json"), "--results", str(tmp_path / "again"))
    assert read_folder(tmp_path / "again")[0].series[1] == run.series[1]


@pytest.fixture
def others(tmp_path):
    """Returns a file that pytest-benchmark wrote of benchmarks that know nothing of us."""
    test, out = tmp_path / "test_theirs.py", tmp_path / "theirs.json"
    test.write_text(BENCHMARK)
    options = ["-q", "-p", "no:cacheprovider", "-c", "/dev/null", f"--benchmark-json={out}"]
    command = [sys.executable, "-m", "pytest", *options, str(test)]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environ)
    assert done.returncode == 0, done.stdout
    return out


def test_benchmarks_of_others_become_records_and_a_replay_is_exact(others, tmp_path):
    call("import", str(others), "--results", str(tmp_path / "run"))
    by_name = {record.series[0].name: record for record in read_folder(tmp_path / "run")}
    sort = by_name["test_sort[3]"]
    assert sort.series[0].seconds == (0.1, 0.7, 0.30000000000000004)
    assert sort.series[0].fence == "step"
    assert sort.workload.options["benchmark"].endswith("test_theirs.py::test_sort[3]")
    counted = by_name["test_counted"].series[0]
    assert (counted.fence, counted.steps, len(counted.seconds)) == ("block", (5, 5), 2)
    with pytest.raises(RunError, match="there already"):
        app(["import", str(others), "--results", str(tmp_path / "run")])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "has a list 'benchmarks'"),
        ('{"benchmarks": [{"fullname": "a", "name": "a", "stats": {"iterations": 1}}]}', "stats with data"),
        ('{"benchmarks": [7]}', "stats with data"),
    ],
)
def test_a_file_without_what_is_needed_is_refused(tmp_path, text, message):
    with pytest.raises(RecordError, match=message):
        import_benchmarks(json.loads(text), tmp_path / "file.json")


def foreign(seconds=0.1, **facts):
    benchmark = {"fullname": "a", "name": "a", "stats": {"iterations": 1, "data": [seconds]}}
    return json.dumps({"benchmarks": [benchmark], **facts})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (foreign(datetime="yesterday"), r"ISO 8601.*Received: datetime='yesterday', in .*file\.json"),
        (foreign(datetime=7), r"Received: datetime=7, in .*file\.json"),
        (foreign(), r"Received: datetime=None, in .*file\.json"),
        (foreign(-1, datetime="2026-11-25T12:00:00"), r"below zero in seconds.*Received: .*file\.json"),
    ],
)
def test_a_file_whose_contents_cannot_be_true_is_the_users_to_mend(tmp_path, text, message):
    path = tmp_path / "file.json"
    path.write_text(foreign(datetime="2026-11-25T12:00:00Z"))
    call("import", str(path), "--results", str(tmp_path / "good"))
    path.write_text(text)
    with pytest.raises(RecordError, match=message) as refused:
        app(["import", str(path), "--results", str(tmp_path / "run")])
    assert refused.value.exit_code == 2
    assert not (tmp_path / "run").exists()


def test_a_wrong_date_in_a_record_of_ours_is_named_by_its_field(run, tmp_path):
    payload = json.loads(msgspec.json.encode(export_records([run])))
    for benchmark in payload["benchmarks"]:
        benchmark["extra_info"]["tpuens"]["record"]["created"] = "25/11/2026"
    with pytest.raises(RecordError, match=r"created is .*'25/11/2026'.*Received: .*file\.json"):
        import_benchmarks(payload, tmp_path / "file.json")
