"""Two arms of records: what may be compared, what comes of it, and in which words."""

import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest
from typer.testing import CliRunner

from bench.analysis.compare import compare_records, floor_class, make_floor
from bench.analysis.matching import split_arms
from bench.cli import app
from bench.commands.compare import choose_strategy, make_variants
from bench.commands.options import parse_budget
from bench.records.floors import Floor, save_floor
from bench.records.record import RunRecord, Series, Turns, encode_record
from bench.records.store import latest_records, write_record
from bench.reporting.verdicts import comparison_markdown, comparison_tables, comparison_text
from bench.suites import find_scenarios
from tpuens.errors import ConfigurationError, TpuensError

NOW = datetime(2026, 11, 25, tzinfo=timezone.utc)
# Log-ratios of two equal arms: 1 % of noise a pair.
NOISE = (0.004, -0.006, 0.01, -0.012, 0.003, 0.001, -0.002, 0.008)


def series(seconds: float, name: str = "compute") -> Series:
    return Series(
        name=name,
        fence="block",
        steps=(10,),
        examples=(160,),
        seconds=(seconds,),
        cpu_seconds=(seconds,),
    )


def live(
    records: Any,
    slowdown: float = 1.0,
    *,
    manner: Literal["turns", "whole-runs"] = "turns",
    b: dict[str, Any] | None = None,
    noise: tuple[float, ...] = NOISE,
) -> list[RunRecord]:
    """Returns a live comparison whose arm B takes so many times the time of A."""
    return [
        records.record(
            **{"configuration": {"strategy": "cpu"}, **((b or {}) if arm == "B" else {})},
            series=(series((slowdown if arm == "B" else 1.0) * (1 + (drift if arm == "B" else 0.0))),),
            turns=Turns(comparison="c", pair=pair, arm=arm, manner=manner),
        )
        for pair, drift in enumerate(noise)
        for arm in ("A", "B")
    ]


def stored(records: Any, slowdown: float = 1.0, *, pace: float = 1.0, **fields: Any) -> list[RunRecord]:
    """Returns six runs of another day: `pace` is how slow the machine was, for everything."""
    return [
        records.record(
            **fields,
            series=(series(slowdown * pace * (1 + drift)),),
            references=(series(pace, name="matmul"), series(pace, name="small-cnn")),
        )
        for drift in NOISE[:6]
    ]


def test_equal_arms_show_no_difference_and_a_tenth_more_time_is_slower(records: Any) -> None:
    (equal,) = compare_records(*split_arms(live(records))).readings
    assert equal.judgement.verdict == "no difference shown"
    (slower,) = compare_records(*split_arms(live(records, 1.1))).readings
    assert slower.judgement.verdict == "slower"
    assert slower.wall is not None
    assert slower.wall.ratio == pytest.approx(1 / 1.1, abs=0.01)
    assert slower.wall.pairs == len(NOISE)
    assert slower.needed["wall"][0.10, 0.95] == slower.needed["cpu"][0.10, 0.95] == 6


def test_the_error_is_shared_out_among_readings_and_clocks(records: Any) -> None:
    two = [
        msgspec.structs.replace(one, series=(*one.series, series(one.series[0].seconds[0], name="latency")))
        for one in live(records, 1.1)
    ]
    for run, confidence in ((live(records, 1.1), 0.975), (two, 0.9875)):
        interval = compare_records(*split_arms(run)).readings[0].judgement.interval
        assert interval is not None
        assert interval.confidence == pytest.approx(confidence)


def test_a_difference_within_the_noise_floor_is_not_claimed(records: Any) -> None:
    arms = split_arms(live(records, 1.04))
    floor = Floor(
        scenario_class="train-step on cpu", wall=0.08, cpu=0.08, pairs=9, created="2026-11-24T00:00:00Z",
        fingerprint=records.environment().fingerprint, versions=records.environment().versions,
    )  # fmt: skip
    (bare,) = compare_records(*arms, now=NOW).readings
    assert (bare.judgement.verdict, bare.floor_state) == ("slower", "missing")
    asked = []

    def find(record: RunRecord, scenario_class: str) -> Floor:
        asked.append(scenario_class)
        return floor

    (held,) = compare_records(*arms, find_floor=find, now=NOW).readings
    assert (held.judgement.verdict, held.floor_state) == ("no difference shown", "fresh")
    assert asked == ["train-step on cpu"]


def test_whole_runs_have_a_noise_floor_of_their_own(records: Any) -> None:
    whole = live(records, manner="whole-runs")
    assert floor_class(whole[0], "whole-runs") != floor_class(whole[0], "turns")
    text = comparison_text(compare_records(*split_arms(whole)))
    assert "A B B A" in text
    assert "not measured here: tpuens-bench calibrate train-step --whole-runs" in text


def test_equal_arms_make_a_noise_floor_and_unlike_ones_do_not(records: Any) -> None:
    floor = make_floor(*split_arms(live(records)), NOW)
    assert 0.001 < floor.wall < 0.01
    assert (floor.pairs, floor.scenario_class) == (8, "train-step on cpu")
    with pytest.raises(ConfigurationError, match="two equal arms"):
        make_floor(*split_arms(live(records, b={"configuration": {"jit_compile": True}})), NOW)


def test_pairs_that_are_not_complete_are_left_out(records: Any) -> None:
    (reading,) = compare_records(*split_arms(live(records)[:-1])).readings
    assert reading.wall is not None
    assert reading.wall.pairs == len(NOISE) - 1


def test_what_was_varied_is_named_even_where_it_is_part_of_the_workload(records: Any) -> None:
    varied = live(records, b={"workload": {"image_shape": (32, 32, 1)}})
    (reading,) = compare_records(*split_arms(varied)).readings
    assert any("image_shape" in one for one in reading.match.differences)


def test_unlike_workloads_are_refused_by_the_field_that_differs(records: Any) -> None:
    other = stored(records, workload={"image_shape": (48, 48, 3)})
    with pytest.raises(ConfigurationError, match=r"image_shape: \(32, 32, 3\) → \(48, 48, 3\)") as caught:
        compare_records(stored(records), other)
    assert "backbone" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_runs_of_different_days_meet_through_the_reference_and_a_wider_floor(
    records: Any,
) -> None:
    (reading,) = compare_records(stored(records), stored(records, pace=1.5)).readings
    assert reading.reference == "small-cnn"
    assert reading.ratio == pytest.approx(1.0, abs=0.001)
    (slower,) = compare_records(stored(records), stored(records, 1.1)).readings
    assert slower.judgement.verdict != "slower"  # 12 % is what different days make of equal things
    (far,) = compare_records(stored(records), stored(records, 1.3)).readings
    assert far.judgement.verdict == "slower"
    assert "did not take turns" in comparison_text(compare_records(stored(records), stored(records)))


def test_machines_are_compared_as_they_are_and_the_division_is_named(records: Any) -> None:
    server = records.environment("server", cpu_model="Example Server CPU")
    (fixed,) = compare_records(stored(records), stored(records, pace=0.5, environment=server)).readings
    assert (fixed.match.division, fixed.reference) == ("fixed", None)
    assert fixed.ratio == pytest.approx(2.0, abs=0.01)
    assert any(one.startswith("processor: Example CPU") for one in fixed.match.environment)
    theirs = [
        *stored(records, pace=0.5, environment=server, configuration={"jit_compile": True}),
        *stored(records, pace=0.8, environment=server, configuration={"dtype_policy": "mixed_bfloat16"}),
    ]
    (tuned,) = compare_records(stored(records), theirs).readings
    assert tuned.match.division == "tuned"
    assert tuned.match.differences == ("jit_compile: False → True",)


def test_a_setting_that_differs_between_stored_runs_is_named_and_others_stand_by_their_own_kind(
    records: Any,
) -> None:
    jit = {"configuration": {"jit_compile": True}}
    a = [*stored(records), *stored(records, **jit)]
    comparison = compare_records(a, [*stored(records), *stored(records, **jit)])
    assert [one.match.differences for one in comparison.readings] == [(), ()]
    (variant,) = compare_records(stored(records), stored(records, **jit)).readings
    assert variant.match.differences == ("jit_compile: False → True",)
    comparison = compare_records(a, stored(records, **jit))
    assert len(comparison.readings) == 1
    assert "A alone ran train-step" in comparison.left_out[0]


def test_a_commit_that_changed_under_way_is_told(records: Any) -> None:
    runs = live(records)
    later = records.environment(git_commit="4567def")
    runs[-2:] = [msgspec.structs.replace(one, environment=later) for one in runs[-2:]]
    (reading,) = compare_records(*split_arms(runs)).readings
    assert reading.match.environment == ("git commit changed from run to run: 0123abc, 4567def",)


def test_runs_that_timed_nothing_alike_have_no_ratio(records: Any) -> None:
    with pytest.raises(ConfigurationError, match="a series that both arms timed"):
        compare_records([records.record("time-to-accuracy")], [records.record("time-to-accuracy")])


def test_failed_runs_are_told_and_not_compared(records: Any) -> None:
    a = [*stored(records), records.record(status="failed", reason="the disk is purple")]
    comparison = compare_records(a, stored(records))
    assert comparison.left_out == ("a run of A failed: the disk is purple",)


def test_a_comparison_in_words_says_ratio_interval_floor_verdict_and_environment(records: Any) -> None:
    b = {
        "environment": records.environment(versions={"python": "3.12.0"}),
        "configuration": {"strategy": "cpu"},
    }
    comparison = compare_records(*split_arms(live(records, 1.1, b=b)))
    text = comparison_text(comparison)
    for part in (
        "0.90", "tpuens-bench calibrate train-step", "B is slower, by wall time", "8 pairs",
        "python: 3.11.2 → 3.12.0", "tensorflow: 2.21.0 → not set",
        "10% slower, in 95% of cases: 6 pairs by wall time",
    ):  # fmt: skip
        assert part in text, part
    assert "B is slower, by wall time" in comparison_markdown(comparison)


def test_both_arms_of_equal_requests_stay_in_a_report(records: Any) -> None:
    same = [msgspec.structs.replace(one, request_key="same", repeat=0) for one in live(records)]
    assert len(latest_records(same)) == len(same)


def test_a_report_shows_the_comparisons_among_its_records(records: Any) -> None:
    (table,) = comparison_tables([*live(records, 1.1), records.record()])
    assert "B is slower" in table.rows[0][5]
    assert comparison_tables([records.record()]) == []


@pytest.mark.parametrize(
    ("vary", "field", "values"),
    [
        ("jit=off,on", "jit", (False, True)),
        ("batch-size=8,16", "batch_size", (8, 16)),
        ("planted=none,work:0.1", "planted", (None, "work:0.1")),
    ],
)
def test_a_variant_differs_in_the_one_field_that_is_varied(
    vary: str, field: str, values: tuple[Any, Any]
) -> None:
    _, scenarios = find_scenarios(["train-step"])
    a, b = make_variants(scenarios, vary, "cpu", {"X": "1"}, {})
    assert (getattr(a.scenario, field), getattr(b.scenario, field)) == values
    assert (a.strategy, b.strategy, a.variables) == ("cpu", "cpu", {"X": "1"})


def test_varied_backbones_come_at_their_own_size_unless_one_was_given() -> None:
    _, scenarios = find_scenarios(["train-step"])
    for settings, sizes in (({}, [224, 240]), ({"image_size": "64"}, [64, 64])):
        pair = make_variants(scenarios, "backbone=efficientnetb0,efficientnetb1", "cpu", {}, settings)
        assert [arm.scenario.image_size for arm in pair] == sizes


def test_an_accelerator_is_chosen_where_the_scenario_runs_on_one() -> None:
    names = ["cpu", "cpu-mirrored:2", "gpu", "gpu-mirrored"]
    chosen = [
        choose_strategy(find_scenarios([name])[1][0], names) for name in ("train-step", "input-pipeline")
    ]
    assert chosen == ["gpu", "cpu"]


def test_strategies_and_environment_variables_can_be_varied() -> None:
    _, scenarios = find_scenarios(["train-step"])
    a, b = make_variants(scenarios, "strategy=cpu,cpu-mirrored:2", None, {}, {})
    assert (a.strategy, b.strategy) == ("cpu", "cpu-mirrored:2")
    a, b = make_variants(scenarios, "env.TF_NUM_INTRAOP_THREADS=1,2", "cpu", {"X": "1"}, {})
    assert a.variables == {"X": "1", "TF_NUM_INTRAOP_THREADS": "1"}
    assert a.scenario == b.scenario


@pytest.mark.parametrize(
    ("vary", "message"),
    [
        ("jit=on", "two different values"),
        ("jit=on,on", "two different values"),
        ("jit=on,perhaps", "Expected on or off"),
        ("jti=off,on", "Did you mean 'jit'"),
        ("cache=none,memory", "means nothing to train-step"),
        ("planted=none,dirt", "Unknown planted fault"),
    ],
)
def test_a_variation_that_makes_no_sense_is_refused(vary: str, message: str) -> None:
    _, scenarios = find_scenarios(["train-step"])
    with pytest.raises(TpuensError, match=message):
        make_variants(scenarios, vary, "cpu", {}, {})


def test_budgets_are_times_with_a_unit() -> None:
    assert [parse_budget(text) for text in ("90s", "5m", "1h", "1.5m", "45")] == [90, 300, 3600, 90, 45]
    with pytest.raises(ConfigurationError, match="budget='soon'"):
        parse_budget("soon")


def test_a_thousand_records_are_compared_at_once_and_without_tensorflow(tmp_path: Path, records: Any) -> None:
    folders = []
    for name in ("a", "b"):
        folder = tmp_path / name / "records"
        folder.mkdir(parents=True)
        folders.append(str(folder))
        for number in range(500):
            shape = {"num_classes": number // 10 + 2}
            record = records.record(workload=shape, request_key=str(number), series=(series(1.0),))
            (folder / f"{record.id}.json").write_bytes(encode_record(record))
    program = (
        "import sys, time; from bench.cli import app; sys.argv[1:] = "
        f"['compare', *{folders!r}]; app(standalone_mode=False); "
        "print('tensorflow' in sys.modules, time.process_time(), file=sys.stderr)"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    imported, seconds = answer.stderr.split()[-2:]
    assert imported == "False"
    # Of CPU time, and several times what it takes: how long that is, tests/benchmarks/command_speed.py says.
    assert float(seconds) < 5
    assert answer.stdout.count("10 pairs of processes") == 50


def test_a_comparison_is_shown_again_from_its_folder(tmp_path: Path, records: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("TPUENS_CACHE_DIR", str(tmp_path / "cache"))
    for record in live(records, 1.1):
        write_record(tmp_path, record)
    shown = CliRunner().invoke(app, ["compare", str(tmp_path)])
    assert "B is slower, by wall time" in shown.output
    assert "not measured here" in shown.output
    save_floor(make_floor(*split_arms(live(records)), datetime.now(timezone.utc)))
    shown = CliRunner().invoke(app, ["compare", str(tmp_path)])
    assert "(fresh)" in shown.output


@pytest.mark.parametrize(
    "arguments",
    [[], ["train-step"], ["a", "b", "c"], ["--resume"], ["x", "--vary", "jit=off,on", "--resume"]],
)
def test_calls_that_cannot_be_meant_are_refused(arguments: list[str]) -> None:
    answer = CliRunner().invoke(app, ["compare", *arguments])
    assert isinstance(answer.exception, TpuensError)
    assert answer.exception.exit_code == 2
