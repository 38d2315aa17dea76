"""What is set beside what: batch sizes of one run, references, floors of both arms, machines of one name."""

from typing import Any

import pytest

from bench.analysis.appetite import find_input_need
from bench.analysis.compare import compare_records
from bench.analysis.history import collect_history
from bench.analysis.steady_state import level_changes
from bench.records.floors import Floor
from bench.records.record import Flops, RunRecord, Series, Turns
from bench.reporting.verdicts import comparison_tables, comparison_text


def timed(seconds: float, name: str = "compute", **parameters: Any) -> Series:
    return Series(
        name=name, fence="block", steps=(10,), examples=(160,), seconds=(seconds,), parameters=parameters
    )


def arms(records: Any, a: dict[str, Any], b: dict[str, Any]) -> tuple[list[RunRecord], list[RunRecord]]:
    return tuple(  # type: ignore[return-value]
        [
            records.record(turns=Turns(comparison="c", pair=pair, arm=arm), **fields)  # type: ignore[arg-type]
            for pair in range(6)
        ]
        for arm, fields in (("A", a), ("B", b))
    )


def test_series_that_differ_in_their_batch_size_alone_are_compared_each_with_its_like(records: Any) -> None:
    def sweep(*seconds: float) -> dict[str, Any]:
        sizes = zip((1, 8, 32), seconds, strict=True)
        return {"series": tuple(timed(one, "throughput", batch_size=size) for size, one in sizes)}

    readings = compare_records(*arms(records, sweep(1, 1, 1), sweep(2, 1, 1))).readings
    assert [one.name for one in readings] == [f"throughput, batch {size}" for size in (1, 8, 32)]
    assert [one.ratio for one in readings] == pytest.approx([0.5, 1, 1])


def test_the_hosts_work_is_held_against_what_the_host_did(records: Any) -> None:
    def run(host: float) -> list[RunRecord]:
        references = (timed(1.0, "small-cnn", device="gpu"), timed(host, "matmul", device="cpu"))
        series = (timed(host, "input"), timed(1.0))
        return [records.record(series=series, references=references) for _ in range(6)]

    readings = compare_records(run(1.0), run(1.5)).readings
    assert {one.name: one.reference for one in readings} == {"input": "matmul", "compute": "small-cnn"}
    assert [one.ratio for one in readings] == pytest.approx([1, 1])


def test_of_two_strategies_the_larger_floor_holds_and_without_one_of_them_none(records: Any) -> None:
    sides = arms(
        records,
        {"configuration": {"strategy": "cpu"}, "series": (timed(1.0),)},
        {"configuration": {"strategy": "gpu"}, "series": (timed(1.0),)},
    )
    known = {"train-step on cpu": 0.2, "train-step on gpu": 0.01}

    def find(record: RunRecord, name: str) -> Floor | None:
        wall = known.get(name)
        facts = {"cpu": None, "pairs": 6, "created": "2026-11-24T00:00:00Z", "fingerprint": ""}
        return Floor(scenario_class=name, wall=wall, **facts) if wall else None  # type: ignore[arg-type]

    (reading,) = compare_records(*sides, find_floor=find).readings
    assert reading.floor is not None
    assert reading.floor.wall == 0.2
    del known["train-step on cpu"]
    (reading,) = compare_records(*sides, find_floor=find).readings
    assert (reading.floor, reading.floor_state) == (None, "missing")


def test_runs_without_a_partner_are_told_by_number_and_arm(records: Any) -> None:
    def left_out(sides: tuple[list[RunRecord], list[RunRecord]]) -> tuple[str, ...]:
        text = comparison_text(compare_records(*sides))
        found = tuple(line for line in text.splitlines() if line.startswith("Not compared"))
        return tuple(line.partition(", cifar_cnn")[0] for line in found)

    a, b = arms(records, {"series": (timed(1.0),)}, {"series": (timed(1.0),)})
    assert left_out((a, b)) == ()
    assert left_out((a, b[:4])) == ("Not compared: 2 runs of A have no partner in B: train-step",)
    assert left_out((a[1:], b)) == ("Not compared: 1 run of B has no partner in A: train-step",)

    def runs(count: int, **fields: Any) -> list[RunRecord]:
        return [records.record(series=(timed(1.0),), **fields) for _ in range(count)]

    told = ("Not compared: 1 run of A has no partner in B: train-step",)
    assert left_out((runs(3), runs(2))) == told
    assert left_out((runs(3), runs(2, configuration={"jit_compile": True}))) == told
    other = records.environment("server")
    assert left_out((runs(3), runs(2, environment=other))) == told


def test_between_machines_each_strategy_stands_beside_itself(records: Any) -> None:
    def runs(seconds: float, strategy: str, **fields: Any) -> list[RunRecord]:
        how = {"strategy": strategy, "num_replicas": 1, **fields.pop("how", {})}
        return [records.record(series=(timed(seconds),), configuration=how, **fields) for _ in range(6)]

    server = {"environment": records.environment("server")}
    both = [*runs(0.25, "gpu", **server), *runs(1.0, "cpu", **server)]
    found = compare_records([*runs(1.0, "cpu"), *runs(0.5, "gpu")], both)
    assert sorted(one.ratio for one in found.readings) == pytest.approx([1, 2])
    alone = compare_records(runs(1.0, "cpu"), both)
    assert [one.ratio for one in alone.readings] == pytest.approx([1])
    assert "B alone ran train-step" in comparison_text(alone)
    (other,) = compare_records(runs(1.0, "cpu"), runs(0.25, "gpu", **server)).readings
    assert (other.ratio, other.match.division) == (pytest.approx(4), "fixed")


def test_what_is_left_between_machines_is_not_held_to_their_reference(records: Any) -> None:
    def runs(pace: float, jit: bool, dtype_policy: str = "float32", **fields: Any) -> list[RunRecord]:
        how: dict[str, Any] = {"configuration": {"jit_compile": jit, "dtype_policy": dtype_policy}}
        how |= {"series": (timed(pace),), "references": (timed(pace, "small-cnn", device="cpu"),)}
        return [records.record(**how, **fields) for _ in range(6)]

    a = [*runs(4.0, False), *runs(4.0, True)]
    server = {"environment": records.environment("server")}
    b = [*runs(1.0, False, **server), *runs(1.0, False, "mixed_bfloat16", **server)]
    found = compare_records(a, b)
    assert [one.ratio for one in found.readings] == pytest.approx([4])
    assert comparison_text(found).count("alone ran") == 2


def test_accuracies_that_were_compared_stand_in_the_way_of_no_report(records: Any) -> None:
    turns = [Turns(comparison="accuracy", pair=0, arm=arm) for arm in ("A", "B")]  # type: ignore[arg-type]
    accuracies = [records.record("ensemble-accuracy", turns=one, series=()) for one in turns]
    timings = arms(records, {"series": (timed(1.0),)}, {"series": (timed(0.5),)})
    (table,) = comparison_tables([*accuracies, *timings[0], *timings[1]])
    assert len(table.rows) == 1


def test_a_report_bears_a_comparison_of_which_no_pair_is_complete(records: Any) -> None:
    a, b = arms(records, {"series": (timed(1.0),)}, {"series": (timed(1.0),)})
    assert comparison_tables([a[0], b[1]]) == []


def test_a_comparison_says_which_of_its_numbers_are_impossible(records: Any) -> None:
    flops = Flops(per_example=1e13, of="forward pass", method="tensorflow-profiler")
    product = timed(1.0, "matmul", n=100, device="cpu")
    how = {"configuration": {"strategy": "cpu"}, "series": (timed(1.0),), "references": (product,)}
    text = comparison_text(compare_records(*arms(records, how, how | {"flops": flops})))
    assert "refused as impossible: 12 of 12 runs" in text


def test_values_without_any_noise_change_their_level_where_they_do_and_nowhere_else() -> None:
    assert level_changes([-0.1] * 10) == []
    assert level_changes([-0.1] * 5 + [-0.2] * 5) == [5]


def test_machines_that_share_a_label_have_lines_of_their_own(records: Any) -> None:
    runs = [
        [records.record(series=(timed(seconds),), environment=records.environment(fingerprint=machine))]
        for machine, seconds in (("a" * 16, 1.0), ("b" * 16, 2.0))
        for _ in range(5)
    ]
    lines, _ = collect_history(runs, "train-step")
    assert [(len(line.points), line.changes) for line in lines] == [(5, ()), (5, ())]


@pytest.mark.parametrize("arm", [{"loader": "decode-only"}, {"cache": "memory"}])
def test_only_our_own_decoding_tells_how_many_cores_an_accelerator_needs(
    records: Any, arm: dict[str, str]
) -> None:
    def pipeline(rate: int, **how: str) -> RunRecord:
        series = Series(name="input", fence="block", steps=(1,), examples=(rate,), seconds=(1.0,))
        return records.record("input-pipeline", configuration=how, series=(series,))  # type: ignore[no-any-return]

    step = records.record(series=(timed(1.0),))
    need = find_input_need(step, [step, pipeline(80), pipeline(8000, **arm)])
    assert need is not None
    assert need.per_core == 10  # 80 on 8 cores
