"""`tpuens-bench check` and `baseline` on stored records: exit codes, files, and how light they are."""

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest
from typer.testing import CliRunner

from bench.cli import app
from bench.records.record import Memory, RunRecord, Turns, encode_record
from bench.records.store import write_record
from tpuens.errors import TpuensError

START = "from tpuens.bench_command import main; main()"


@pytest.fixture
def folders(records, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Returns a folder with a run, one alike, one that takes twice the memory, and another workload."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TPUENS_CACHE_DIR", str(tmp_path / "cache"))  # no noise floor of this machine
    for name, size in (("old", 1000), ("same", 1000), ("large", 2000)):
        series = (records.series(),)
        write_record(Path(name), records.record(memory=Memory(peak_resident_bytes=size), series=series))
    write_record(Path("other"), records.record(workload={"backbone": "<b>|*"}))
    return tmp_path


def call(*arguments: str) -> tuple[int, str]:
    try:
        answer = CliRunner().invoke(app, ["check", *arguments], catch_exceptions=False)
    except TpuensError as error:
        return error.exit_code, str(error)
    return answer.exit_code, answer.output


def test_exit_code_0_where_it_holds_1_where_it_is_broken_2_where_nothing_compares(folders: Path) -> None:
    assert call("--results", "same", "--baseline", "old")[0] == 0
    code, output = call("--results", "large", "--baseline", "old")
    assert code == 1
    assert "A gate is broken: 1 broken" in output
    code, output = call("--results", "other", "--baseline", "old")
    assert code == 2
    assert "backbone" in output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--against REV"),
        (["--against", "HEAD", "--baseline", "old"], "one baseline"),
        (["train-step", "--results", "same", "--baseline", "old"], "checked as they are"),
        (["--results", "same", "--baseline", "nowhere"], "Expected a baseline"),
        (["--results", "same"], "no side to compare with"),
        (["--results", "same", "--baseline", "old", "--batch-size", "8"], "checked as they are"),
        (["--results", "same", "--baseline", "old", "--strategy", "cpu"], "checked as they are"),
        (["train-step", "--baseline", "nowhere"], "Expected a baseline"),
        (["trane-step", "--against", "HEAD"], "Did you mean 'train-step'"),
        (["train-step", "--against", "HEAD", "--strategy", "gpus"], "Did you mean 'gpu'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_call_that_cannot_be_used_says_so(arguments: list[str], message: str, folders: Path) -> None:
    code, output = call(*arguments)
    assert code == 2
    assert message in output


def test_the_folder_of_a_check_is_checked_again(folders: Path, records) -> None:
    for pair in range(6):
        for arm, size in (("A", 1000), ("B", 2000)):
            turns = Turns(comparison="c", pair=pair, arm=arm)
            memory = Memory(peak_resident_bytes=size)
            record = records.record(turns=turns, memory=memory, series=(records.series(),))
            write_record(Path("made") / "01-train-step-cpu", record)
    code, output = call("--results", "made")
    assert code == 1
    assert "peak resident memory" in output
    assert call("--results", "made", "--threshold", "memory=1.5")[0] == 0


@pytest.mark.slow
def test_1000_records_are_answered_within_a_second(folders: Path, study: list[RunRecord]) -> None:
    ready = [record for record in study if record.status == "ok"]
    for side in ("a", "b"):
        folder = Path(side) / "records"
        folder.mkdir(parents=True)
        for number in range(500):
            record = ready[number % len(ready)]
            record = msgspec.structs.replace(record, id=f"{side}{number}", repeat=number)
            (folder / f"{number}.json").write_bytes(encode_record(record))
    before = os.times().children_user
    answer = subprocess.run(
        [sys.executable, "-c", START, "check", "--results", "a", "--baseline", "b"], check=False
    )
    assert answer.returncode == 0
    assert os.times().children_user - before < 1.0


def test_thresholds_are_read_from_the_users_pyproject(folders: Path) -> None:
    Path("pyproject.toml").write_text("[tool.tpuens-bench.check]\nmemory = 1.5\n")
    assert call("--results", "large", "--baseline", "old")[0] == 0
    assert call("--results", "large", "--baseline", "old", "--threshold", "memory=0.2")[0] == 1


def test_a_required_gate_that_cannot_be_told_is_exit_code_2(folders: Path) -> None:
    code, output = call("--results", "same", "--baseline", "old", "--require", "speed")
    assert code == 2
    assert "could not be told (speed)" in output
    code, output = call("--results", "same", "--baseline", "old", "--require", "sped")
    assert code == 2
    assert "Did you mean 'speed'" in output


def test_markdown_and_junit_say_the_same(folders: Path) -> None:
    call("--results", "large", "--baseline", "old", "--markdown", "m.md", "--junit", "j.xml")
    text = Path("m.md").read_text()
    assert text.startswith("## large against old\n\n**A gate is broken")
    assert "| broken | memory | peak resident memory | +100.0 % |" in text
    suite = ElementTree.parse("j.xml").getroot()
    assert (suite.tag, suite.get("failures"), suite.get("tests")) == ("testsuite", "1", str(len(suite)))
    (failure,) = suite.iter("failure")
    assert "+100.0 %" in (failure.get("message") or "")
    assert suite.get("skipped") == str(len(list(suite.iter("skipped")))) != "0"


def test_foreign_text_breaks_neither_file(folders: Path, records) -> None:
    for name, size in (("odd", 2000), ("odd-old", 1000)):
        record = records.record(workload={"backbone": "<b>|*\x07"}, memory=Memory(peak_resident_bytes=size))
        write_record(Path(name), record)
    call("--results", "odd", "--baseline", "odd-old", "--markdown", "m.md", "--junit", "j.xml")
    assert "\\<b\\>\\|\\*" in Path("m.md").read_text()
    assert "<b>|*" in next(ElementTree.parse("j.xml").iter("testcase")).get("name", "")


def test_a_named_baseline_is_set_shown_and_used(folders: Path) -> None:
    runner = CliRunner()
    assert "1 records" in runner.invoke(app, ["baseline", "set", "main", "old"]).output
    shown = runner.invoke(app, ["baseline", "show"]).output
    assert "main" in shown
    assert "train-step" in shown
    assert call("--results", "large", "--baseline", "main")[0] == 1


def test_finished_results_need_no_tensorflow(folders: Path) -> None:
    code = (
        "import atexit, sys\n"
        "found = lambda: [n for n in ('tensorflow', 'keras', 'pandas', 'matplotlib') if n in sys.modules]\n"
        "atexit.register(lambda: print('IMPORTED', found(), file=sys.stderr))\n"
    )
    arguments = ["check", "--results", "same", "--baseline", "old"]
    answer = subprocess.run(
        [sys.executable, "-c", code + START, *arguments], capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0, answer.stderr
    assert "IMPORTED []" in answer.stderr
