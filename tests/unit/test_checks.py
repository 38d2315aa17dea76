"""New records held against a baseline: which may be compared, and what each gate makes of them."""

import random
from typing import Any

import msgspec
import pytest

from bench.analysis.checks import CheckResult, check_records
from bench.analysis.gates import Check, judge_change
from bench.analysis.intervals import Difference
from bench.analysis.thresholds import Thresholds
from bench.records.floors import Floor
from bench.records.record import Memory, Metric, Outcomes, RunRecord, Turns
from bench.reporting.check_report import conclude
from bench.reporting.junit import junit_xml
from tpuens.errors import ConfigurationError


def check(new: list[RunRecord], baseline: list[RunRecord], **thresholds: float) -> CheckResult:
    return check_records(new, baseline, Thresholds(general=thresholds))  # type: ignore[arg-type]


def of(result: CheckResult, gate: str, what: str = "") -> Check:
    (found,) = [one for one in result.checks if one.gate == gate and what in one.what]
    return found


@pytest.fixture
def arms(records):
    """Returns both sides of comparisons in turns; the new one's steps take `slower` times as long."""

    def make(slower: float = 1.0, pairs: int = 8, spread: float = 0.01, **fields: Any):
        chance, sides = random.Random(5), ([], [])
        for pair in range(pairs):
            for side, arm, factor in ((0, "B", slower), (1, "A", 1.0)):
                seconds = tuple(factor * chance.lognormvariate(0, spread) for _ in range(3))
                sides[side].append(
                    records.record(
                        series=(records.series(seconds=seconds, cpu_seconds=seconds),),
                        turns=Turns(comparison="c", pair=pair, arm=arm),
                        **fields,
                    )
                )
        return sides

    return make


@pytest.fixture
def days(records):
    """Returns stored runs of several days, on a machine whose pace changes from day to day."""

    def make(slower: float = 1.0, runs: int = 5, seed: int = 1, reference: str = "small-cnn", **fields: Any):
        chance = random.Random(seed)
        made = []
        for day in range(runs):
            pace = chance.lognormvariate(0, 0.3)
            steps = tuple(pace * slower * chance.lognormvariate(0, 0.01) for _ in range(3))
            product = records.series(reference, seconds=(pace, pace, pace), parameters={"device": "cpu"})
            made.append(
                records.record(
                    created=f"2026-11-{10 + day}T12:00:00Z",
                    series=(records.series(seconds=steps),),
                    references=(product,),
                    phases={"trace": pace, "first_step": 2 * pace * slower},
                    **fields,
                )
            )
        return made

    return make


@pytest.fixture
def ensembles(records):
    """Returns a run of an ensemble with three members over some seeds."""

    def make(seeds: int = 5, spoilt: float = 0.0, chance: int = 1, **fields: Any) -> RunRecord:
        draw = random.Random(chance)
        metrics = []
        for seed in range(seeds):
            for member in range(3):
                value = 0.9 + draw.gauss(0, 0.002) - (spoilt if member == 0 else 0)
                where = {"seed": seed, "of": "member", "member": member}
                metrics.append(Metric(name="top_1_accuracy", value=value, parameters=where))
            value = 0.95 + draw.gauss(0, 0.001) - spoilt / 10
            metrics.append(
                Metric(name="top_1_accuracy", value=value, parameters={"seed": seed, "of": "ensemble"})
            )
        return records.record("ensemble-accuracy", metrics=tuple(metrics), phases={}, **fields)

    return make


@pytest.mark.parametrize(
    ("gain", "low", "high", "verdict"),
    [
        (0.00, -0.04, 0.04, "holds"),
        (-0.10, -0.12, -0.08, "broken"),
        (-0.10, -0.22, 0.02, "not told"),
        (-0.04, -0.06, -0.02, "not told"),
        (0.30, 0.20, 0.40, "holds"),
    ],
)
def test_every_gate_goes_by_one_rule(gain: float, low: float, high: float, verdict: str) -> None:
    assert judge_change(Difference(value=gain, low=low, high=high), 0.05) == verdict


def test_a_slower_step_breaks_the_gate_on_speed(arms) -> None:
    new, baseline = arms(slower=1.1)
    result = check(new, baseline)
    speed = of(result, "speed")
    assert speed.verdict == "broken"
    assert speed.change == pytest.approx(1 / 1.1 - 1, abs=0.01)
    assert result.exit_code() == 1
    assert result.checks[0] is speed  # the broken ones stand first


def test_equal_steps_hold(arms) -> None:
    new, baseline = arms()
    result = check(new, baseline)
    assert {one.verdict for one in result.checks} == {"holds"}
    assert result.exit_code(["speed", "memory", "compile"]) == 0


def test_a_slowdown_within_the_threshold_or_the_noise_floor_is_not_broken(arms) -> None:
    new, baseline = arms(slower=1.1)
    assert of(check(new, baseline, speed=0.2), "speed").verdict == "holds"
    floor = Floor(
        scenario_class="c", wall=0.15, cpu=None, pairs=8, created="2026-01-01T00:00:00Z", fingerprint="other"
    )
    result = check_records(new, baseline, Thresholds(), find_floor=lambda record: floor)
    assert of(result, "speed").verdict == "not told"  # it is no pass either: 10 % slower for certain
    assert of(result, "speed").floor == 0.15
    assert "the noise floor is stale: measured on other hardware" in of(result, "speed").why
    assert "the noise floor is missing" in of(check(new, baseline), "speed").why


def test_a_step_that_is_too_noisy_warns_and_breaks_only_what_is_required(arms) -> None:
    new, baseline = arms(spread=0.4)
    result = check(new, baseline)
    assert of(result, "speed").verdict == "not told"
    assert result.exit_code() == 0
    assert result.exit_code(["speed"]) == 2
    assert result.exit_code(["accuracy"]) == 2  # nothing told it at all
    assert result.exit_code(["memory"]) == 0


@pytest.mark.parametrize("faster", [1.02, 1.0, 0.98])
def test_cpu_time_alone_makes_no_pass(records, faster: float) -> None:
    chance, sides = random.Random(1), ([], [])
    for pair in range(8):
        for side, arm, cpu in ((0, "B", 1 / faster), (1, "A", 1.0)):
            wall = 1.06 + 0.12 * (-1) ** pair if arm == "B" else 1.0
            spent = cpu * chance.lognormvariate(0, 0.002)
            sides[side].append(
                records.record(
                    configuration={"strategy": "cpu"},
                    series=(
                        records.series(seconds=(wall,), steps=(1,), examples=(16,), cpu_seconds=(spent,)),
                    ),
                    turns=Turns(comparison="c", pair=pair, arm=arm),
                )
            )
    assert of(check(*sides), "speed").verdict == "not told"


def test_readings_that_cannot_be_told_take_nothing_of_the_error(arms) -> None:
    sides, single = arms(spread=0.05), arms(pairs=1, workload={"scenario": "input-growth"})
    alone = of(check(*sides), "speed")
    both = check(*([*many, *one] for many, one in zip(sides, single, strict=True)))
    (beside,) = [one for one in both.checks if one.gate == "speed" and one.scenario == "train-step"]
    assert (beside.low, beside.high) == (alone.low, alone.high)


def test_few_pairs_do_not_tell_how_long_compiling_takes(arms) -> None:
    new, baseline = arms(pairs=3)
    assert of(check(new, baseline), "compile").verdict == "not told"


def test_the_error_is_divided_among_the_readings(arms) -> None:
    new, baseline = arms(slower=1.07, spread=0.06)
    one = of(check(new, baseline), "speed")
    twice = [
        [msgspec.structs.replace(run, series=(*run.series, *(msgspec.structs.replace(s, name=f"again {n}")
         for s in run.series for n in range(6)))) for run in side] for side in (new, baseline)
    ]  # fmt: skip
    seven = of(check(*twice), "speed", "compute")
    assert seven.high - seven.low > one.high - one.low


def test_stored_runs_are_compared_through_the_reference_workload(days) -> None:
    """The machine's pace spreads by 30 %; relative to the reference, equal runs are equal."""
    held = of(check(days(seed=1), days(seed=2)), "speed")
    assert held.verdict == "holds"
    assert "did not take turns, through the reference workload small-cnn" in held.why
    assert "5 days of the baseline" in held.why
    slow = of(check(days(seed=1, slower=1.5), days(seed=2)), "speed")
    assert slow.verdict == "broken"
    assert slow.change == pytest.approx(1 / 1.5 - 1, abs=0.02)


def test_the_error_is_divided_among_stored_readings_too(days) -> None:
    def widen(run: RunRecord) -> RunRecord:
        (series,) = run.series
        others = (msgspec.structs.replace(series, name=f"again {number}") for number in range(6))
        return msgspec.structs.replace(run, series=(series, *others))

    new, baseline = days(seed=1), days(seed=2)
    one = of(check(new, baseline), "speed")
    seven = of(check(*([widen(run) for run in side] for side in (new, baseline))), "speed", "compute")
    assert seven.high - seven.low > one.high - one.low


def test_a_baseline_of_few_days_is_held_to_the_assumed_floor(days) -> None:
    result = check(days(slower=1.1, runs=3), days(runs=3, seed=2))
    assert of(result, "speed").floor == 0.12
    assert of(result, "speed").verdict == "not told"
    equal = days(runs=3), days(runs=3, seed=2)
    assert of(check(*equal), "speed").verdict == "not told"  # days may hide a loss of 5 %
    assert of(check(*equal, speed=0.15), "speed").verdict == "holds"
    assert of(check(days(slower=1.3, runs=3), days(runs=3, seed=2)), "speed").verdict == "broken"


def test_what_the_host_does_is_held_to_what_the_host_can(days, records) -> None:
    """On a GPU the small network says how fast the GPU was: nothing of tracing or of the input pipeline."""

    def on_gpu(run: RunRecord) -> RunRecord:
        (cnn,) = run.references
        gpu = msgspec.structs.replace(cnn, parameters={"device": "gpu"})
        stream = msgspec.structs.replace(cnn, name="stream")
        (series,) = run.series
        both = (series, msgspec.structs.replace(series, name="input"))
        return msgspec.structs.replace(run, references=(gpu, stream), series=both)

    result = check(*([on_gpu(run) for run in days(seed=seed)] for seed in (1, 2)))
    assert "workload small-cnn" in of(result, "speed", "compute").why
    assert "workload stream" in of(result, "speed", "input").why
    assert "workload stream" in of(result, "compile").why


@pytest.mark.parametrize(
    ("new", "baseline", "why"),
    [
        ({"reference": "matmul"}, {"reference": "stream"}, "the same reference workload"),
        ({"runs": 2}, {}, "2 new and 5 baseline runs that did not take turns, and at least 3"),
    ],
)
def test_stored_speed_that_cannot_be_told_says_why(days, new, baseline, why) -> None:
    speed = of(check(days(slower=2.0, **new), days(seed=2, **baseline)), "speed")
    assert speed.verdict == "not told"
    assert why in speed.why


def test_another_machine_is_compared_but_no_regression_claimed(days, records) -> None:
    server = records.environment("server")
    speed = of(check(days(slower=2.0, environment=server), days(seed=2)), "speed")
    assert speed.verdict == "not told"
    assert "another machine" in speed.why


def test_compile_time_is_gated(days, arms) -> None:
    assert of(check(days(slower=2.5), days(seed=2)), "compile").verdict == "broken"
    slow = {"trace": 3.0, "first_step": 3.0}
    new, baseline = arms()
    slower = [msgspec.structs.replace(run, phases=slow) for run in new]
    compiled = of(check(slower, baseline), "compile")
    assert compiled.verdict == "broken"
    assert compiled.change == pytest.approx(0.5)  # of 1.5 + 2.5 s


def test_memory_is_gated_on_the_host_and_on_each_device(records) -> None:
    small = Memory(peak_resident_bytes=1000, device_peak_bytes={"GPU:0": 1000})
    large = Memory(peak_resident_bytes=1050, device_peak_bytes={"GPU:0": 1300})
    result = check([records.record(memory=large)], [records.record(memory=small)])
    assert of(result, "memory", "resident").verdict == "holds"
    device = of(result, "memory", "GPU:0")
    assert (device.verdict, device.threshold) == ("broken", 0.10)
    assert device.change == pytest.approx(0.3)


def test_thresholds_of_a_scenario_are_its_own(records) -> None:
    sides = [[records.record(memory=Memory(peak_resident_bytes=size))] for size in (1300, 1000)]
    assert check(*sides).exit_code() == 1
    loose = Thresholds(of_scenario={("train-step", "memory"): 0.5})
    assert check_records(*sides, loose).exit_code() == 0


def test_an_ensemble_with_one_spoilt_member_breaks_the_gate_on_accuracy(ensembles) -> None:
    result = check([ensembles(spoilt=0.5, chance=2)], [ensembles()])
    verdicts = {one.what: one.verdict for one in result.checks if one.gate == "accuracy"}
    assert verdicts == {"member 0": "broken", "member 1": "holds", "member 2": "holds", "ensemble": "broken"}


def test_the_same_ensemble_over_other_noise_keeps_quiet(ensembles) -> None:
    result = check([ensembles(chance=2)], [ensembles()])
    assert {one.verdict for one in result.checks} == {"holds"}


def test_a_spoilt_member_on_a_single_seed_is_not_told_and_no_pass(ensembles) -> None:
    result = check([ensembles(seeds=1, spoilt=0.5)], [ensembles(seeds=1)])
    assert {one.verdict for one in result.checks if one.gate == "accuracy"} == {"not told"}
    assert result.exit_code(["accuracy"]) == 2


def test_strategies_must_agree_among_the_new_runs(ensembles) -> None:
    mirrored = {"strategy": "cpu-mirrored:2", "num_replicas": 2, "per_replica_batch_size": 32}
    new = [ensembles(), ensembles(spoilt=0.5, configuration=mirrored)]
    result = check(new, [ensembles()])
    broken = [one for one in result.checks if one.verdict == "broken"]
    assert {one.gate for one in broken} == {"agreement"}
    assert "strategy: one-device → cpu-mirrored:2" in broken[0].what


@pytest.mark.parametrize(("flips", "verdict"), [(2, "holds"), (80, "broken")])
def test_dtypes_must_agree_example_by_example(records, flips: int, verdict: str) -> None:
    first = "1" * 900 + "0" * 100
    outcomes = tuple(
        Outcomes(right=right, examples_fingerprint="f", parameters={"dtype_policy": name})
        for name, right in (("float32", first), ("mixed_bfloat16", "0" * flips + first[flips:]))
    )
    result = check([records.record("agreement", outcomes=outcomes)], [])
    agreement = of(result, "agreement")
    assert agreement.verdict == verdict
    assert agreement.what == "mixed_bfloat16 against float32"


def test_unlike_runs_are_left_out_by_the_name_of_the_field(records) -> None:
    new = [
        records.record(),
        records.record(workload={"backbone": "vgg16"}),
        records.record(configuration={"jit_compile": True, "dtype_policy": "mixed_bfloat16"}),
        records.record("inference"),
        records.record(status="failed", reason="Out of memory."),
    ]
    result = check(new, [records.record()])
    reasons = [one.why for one in result.left_out]
    assert reasons == [
        "the new run failed: Out of memory.",
        "the baseline's nearest run differs in backbone: cifar_cnn → vgg16",
        "the baseline's nearest run differs in dtype_policy: float32 → mixed_bfloat16; "
        "jit_compile: False → True",
        "the baseline has no run of this scenario",
    ]


def test_nothing_comparable_is_an_error_that_names_the_field(records) -> None:
    with pytest.raises(ConfigurationError, match="jit_compile: False → True"):
        check([records.record(configuration={"jit_compile": True})], [records.record()])


def test_what_differs_in_the_environment_is_told(records) -> None:
    newer = records.environment(versions={"tensorflow": "2.22.0"}, git_commit="fedcba9")
    result = check([records.record(environment=newer)], [records.record()])
    assert "tensorflow: 2.21.0 → 2.22.0" in result.differences
    assert "git commit: 0123abc → fedcba9" in result.differences


def test_of_several_machines_in_the_baseline_the_same_is_taken(records) -> None:
    server = records.environment("server")
    small, large = (Memory(peak_resident_bytes=size) for size in (1000, 2000))
    baseline = [records.record(memory=small), records.record(memory=large, environment=server)]
    result = check([records.record(memory=large, environment=server)], baseline)
    assert of(result, "memory").verdict == "holds"


def test_a_strategy_that_is_gone_is_no_pass(days, records) -> None:
    new, baseline = days(seed=2), days()
    result = check(new, [*baseline, *days(configuration={"strategy": "gpu"})])
    assert (result.lost, result.exit_code(), result.exit_code(["memory"])) == (("gpu",), 0, 2)
    assert b'errors="0"' in junit_xml(result, "title")
    assert b'errors="1"' in junit_xml(result, "title", ["memory"])
    assert "the baseline has runs under gpu, and here there is none" in conclude(result)
    assert not check(new, baseline).lost
