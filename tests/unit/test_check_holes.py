"""A gate must not pass because nothing was looked at: runs that crashed, sides without anything in common."""

from pathlib import Path

import pytest

from bench.analysis.checks import check_records
from bench.analysis.thresholds import Thresholds, load_thresholds
from bench.execution.check_run import run_against
from bench.records.record import Memory, RunRecord, Turns
from bench.records.store import write_record
from bench.reporting.check_report import conclude, list_notes, markdown_summary
from bench.reporting.junit import junit_xml
from bench.suites import Request, Scenario
from tpuens.errors import ConfigurationError


@pytest.fixture
def run(records):
    """Returns a run of a backbone that can be checked against its like by its memory."""

    def make(backbone: str = "vgg16", **fields) -> RunRecord:
        facts = {"series": (records.series(),), "memory": Memory(peak_resident_bytes=1000)}
        return records.record(workload={"backbone": backbone}, **facts | fields)

    return make


def turns(arm: str, pair: int = 0) -> Turns:
    return Turns(comparison="c", pair=pair, arm=arm)  # type: ignore[arg-type]


def test_a_new_run_that_failed_breaks_the_check_whatever_else_holds(run) -> None:
    new = [run(), run("resnet50", status="failed", reason="It crashed.", series=())]
    result = check_records(new, [run(), run("resnet50")], Thresholds())
    assert result.count("broken") == 0
    assert result.exit_code() == 1
    assert conclude(result).startswith("A new run failed")
    assert b'failures="1"' in junit_xml(result, "title")


def test_where_all_new_runs_failed_the_check_is_broken_and_not_the_call(run) -> None:
    result = check_records([run(status="failed", reason="It crashed.")], [run()], Thresholds())
    assert result.exit_code() == 1


def test_a_run_that_this_machine_cannot_make_is_no_failure(run) -> None:
    new = [run(), run("resnet50", status="skipped", reason="No GPU.")]
    assert check_records(new, [run()], Thresholds()).exit_code() == 0


def test_an_arm_that_failed_and_was_run_again_is_no_failure(run) -> None:
    failed = run(status="failed", reason="It was stopped.", request_key="r", turns=turns("B"))
    new = [failed, run(request_key="r", turns=turns("B", 1))]
    assert check_records(new, [run(turns=turns("A", 1))], Thresholds()).exit_code() == 0


def test_arms_of_which_no_pair_is_complete_are_left_out_with_the_reason(run) -> None:
    with pytest.raises(ConfigurationError, match="no pair of the two sides is complete"):
        check_records([run(turns=turns("B", 0))], [run(turns=turns("A", 1))], Thresholds())


def test_runs_without_a_figure_in_common_are_no_pass(records) -> None:
    new, old = (records.record(memory=None, phases={}) for _ in range(2))
    with pytest.raises(ConfigurationError, match="Nothing can be checked"):
        check_records([new], [old], Thresholds())


def test_runs_that_timed_different_things_say_so(run, records) -> None:
    result = check_records([run(series=(records.series("step"),))], [run()], Thresholds())
    assert any("timed nothing in common: compute; step" in note for note in list_notes(result))
    assert result.exit_code(["speed"]) == 2


def test_where_nothing_at_all_can_be_told_the_call_must_be_mended(records) -> None:
    new, old = (records.record(memory=None, phases={}, series=(records.series(),)) for _ in range(2))
    result = check_records([new], [old], Thresholds())
    assert [one.verdict for one in result.checks] == ["not told"]
    assert result.exit_code() == 2
    assert conclude(result).startswith("Nothing could be told")


def test_what_only_the_baseline_ran_is_told(run) -> None:
    result = check_records([run()], [run(), run("resnet50"), run("resnet50")], Thresholds())
    what = "train-step, resnet50@32, one-device, batch 64, digits; float32"
    assert f"of the baseline not run again: {what}" in list_notes(result)


@pytest.mark.parametrize("gate", ["speed", "accuracy", "agreement"])
def test_a_threshold_of_all_or_more_is_refused_where_it_could_never_be_passed(gate: str) -> None:
    with pytest.raises(ConfigurationError, match="a share below 1"):
        load_thresholds(Path(), [f"{gate}=5"], scenarios=["train-step"])
    assert load_thresholds(Path(), ["memory=1.5"], scenarios=()).of("memory", "train-step") == 1.5


def test_runs_of_an_earlier_check_never_count_as_those_of_this_one(records, tmp_path: Path) -> None:
    place = tmp_path / "01-train-step-cpu"
    write_record(place, records.record(turns=turns("A")))
    request = Request(suite="check", scenario=Scenario(name="train-step"), strategy="cpu")
    with pytest.raises(ConfigurationError, match="folder of its own"):
        run_against(tmp_path, [request], tmp_path, budget_seconds=1e6)


def test_a_gate_of_which_nothing_is_told_is_named_in_every_summary(run) -> None:
    result = check_records([run()], [run()], Thresholds())
    assert result.exit_code() == 0
    sentence = conclude(result)
    assert sentence.startswith("Every gate that could be told holds: 1 holds, 2 could not be told.")
    assert "Warning: nothing was told of speed, compile." in sentence
    assert "--require GATE" in sentence
    assert sentence in markdown_summary(result, "title")
    assert junit_xml(result, "title").count(b'<skipped message="not told: ') == 2


def test_a_required_gate_that_is_not_told_is_named_alone(run) -> None:
    result = check_records([run()], [run()], Thresholds())
    assert conclude(result, ["memory", "speed"]).startswith("A required gate could not be told (speed): ")
    assert "Warning: nothing was told of compile." in conclude(result, ["speed"])


def test_where_nothing_is_told_junit_is_no_pass_either(records) -> None:
    new, old = (records.record(memory=None, phases={}, series=(records.series(),)) for _ in range(2))
    result = check_records([new], [old], Thresholds())
    assert b'errors="1" skipped="0"' in junit_xml(result, "title")
    assert conclude(result) == "Nothing could be told: 0 hold, 1 could not be told."


def test_what_another_commit_does_otherwise_by_default_is_checked_and_named(run) -> None:
    new = [run(configuration={"optimizer": "adam (fused)"}, turns=turns("B", pair)) for pair in range(6)]
    old = [run(configuration={"optimizer": "adam"}, turns=turns("A", pair)) for pair in range(6)]
    result = check_records(new, old, Thresholds())
    assert result.count("holds") > 0
    assert "optimizer: adam → adam (fused)" in result.differences
    assert not result.missing
    with pytest.raises(ConfigurationError, match=r"differs in optimizer: adam → adam \(fused\)"):
        check_records([run(configuration={"optimizer": "adam (fused)"})], old, Thresholds())


def test_the_terminal_shows_what_broke_and_no_more_rows_than_anybody_reads(run) -> None:
    from io import StringIO

    from rich.console import Console

    from bench.reporting.check_report import TERMINAL_ROWS, terminal_tables

    networks = [f"network{number:03d}" for number in range(TERMINAL_ROWS)]
    old = [run(name) for name in networks]
    new = [*map(run, networks[:-1]), run(networks[-1], memory=Memory(peak_resident_bytes=2000))]
    result = check_records(new, old, Thresholds())
    console = Console(file=StringIO(), width=120)
    for part in terminal_tables(result):
        console.print(part)
    text = console.file.getvalue()
    rows = [line for line in text.splitlines() if line.startswith(("broken", "holds", "not told"))]
    assert len(rows) == TERMINAL_ROWS
    assert rows[0].startswith("broken")
    assert f"and {len(result.checks) - TERMINAL_ROWS} more, none of them broken" in text
