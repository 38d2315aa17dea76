"""What each scenario's series and metrics become in a report's rows."""

import msgspec
import pytest

from bench.analysis.accuracy import accuracies_by_seed, final_accuracy
from bench.analysis.crossover import find_crossovers
from bench.analysis.labels import label_words, tell_apart
from bench.analysis.machines import choose_reference, compare_machines
from bench.analysis.phases import pool_phases, time_measuring
from bench.analysis.pooling import pool
from bench.analysis.statistics import Spread, TooFewSamples
from bench.analysis.summary import summarise
from bench.records.record import Caution, Metric, Tuning
from bench.reporting.contents import collect_contents
from tpuens.errors import ConfigurationError


def accuracy(value, **parameters):
    return Metric(name="top_1_accuracy", value=value, parameters=parameters)


def test_a_train_step_gives_a_throughput_and_a_latency(records):
    record = records.record(series=(records.series(), records.latencies(0.25, 0.5, 1.0)))
    throughput, latency = summarise([record])
    assert (throughput.kind, throughput.reading, throughput.result) == ("throughput", "compute", 200.0)
    assert throughput.relative_mad == 0.5  # rates of 100, 200 and 300
    assert throughput.first_step_seconds == 4.0  # 1.5 of tracing and 2.5 of the step itself
    assert throughput.batch_size == 64
    assert (latency.kind, latency.result) == ("latency", 0.5)
    assert latency.step_seconds == Spread(median=0.5, mad=0.25)
    assert latency.examples_per_second is None
    assert latency.percentiles[2] == TooFewSamples(probability=0.99, count=3, needed=299)


def test_waiting_is_read_of_the_loop_and_not_of_the_pipeline_alone(records):
    blocked = {"blocked_seconds": (0.25, 0.25, 0.25)}
    record = records.record(
        "train-epoch", series=(records.series("input", **blocked), records.series("both", **blocked))
    )
    assert [row.waiting_share for row in summarise([record])] == [None, 0.25]


def test_matrix_products_have_a_rate_of_operations_and_none_of_examples(records):
    series = records.series("matmul", parameters={"n": 1000, "device": "cpu"}, steps=(1, 2, 3))
    (row,) = summarise([records.record("matmul", workload={"phase": "kernel"}, series=(series,))])
    assert (row.kind, row.reading) == ("kernel", "matmul, cpu, n = 1000")
    assert row.result == row.flops_per_second == 2 * 1000**3 * 6 / 3
    assert row.examples_per_second is None


def test_the_batch_size_of_a_series_comes_before_that_of_the_run(records):
    record = records.record("inference", series=(records.latencies(0.1, batch_size=1),))
    assert summarise([record])[0].batch_size == 1


def test_a_target_that_was_not_reached_has_no_time(records):
    reached = records.record(
        "time-to-accuracy",
        metrics=(
            accuracy(0.9, epoch=1, split="validation"),
            Metric(name="time_to_accuracy_seconds", value=12.5),
        ),
    )
    missed = records.record("time-to-accuracy", metrics=(accuracy(0.5, epoch=1),))
    assert [row.result for row in summarise([reached, missed])] == [12.5, None]
    (pooled,) = pool(summarise([reached, missed]))
    assert pooled.reached == (True, False)
    assert pooled.result is None  # the median of those that got there would flatter the others


def test_the_final_accuracy_is_of_the_last_epoch_and_of_held_out_examples():
    metrics = [accuracy(0.6, epoch=1), accuracy(0.8, epoch=10), accuracy(0.7, epoch=9)]
    assert final_accuracy(metrics) == 0.8
    assert final_accuracy([*metrics, accuracy(0.99, epoch=11, split="train")]) == 0.8
    assert final_accuracy([*metrics, accuracy(0.75, split="test")]) == 0.75
    assert final_accuracy([accuracy(0.9, member=0)]) is None


def test_an_ensemble_is_set_beside_its_members(records):
    metrics = [
        accuracy(0.90, seed=0, of="member", member=0),
        accuracy(0.80, seed=0, of="member", member=1),
        accuracy(0.95, seed=0, of="ensemble"),
        accuracy(0.70, seed=1, of="member", member=0),
        accuracy(0.72, seed=1, of="member", member=1),
        accuracy(0.85, seed=1, of="ensemble"),
        Metric(name="log_loss", value=0.5, parameters={"seed": 0, "of": "ensemble"}),
    ]
    first, second = accuracies_by_seed(metrics)
    assert (first.members, first.ensemble) == ((0.90, 0.80), 0.95)
    assert first.gain == pytest.approx(0.10)
    assert second.gain == pytest.approx(0.14)
    ensemble, members = summarise([records.record("ensemble-accuracy", metrics=tuple(metrics))])
    assert (ensemble.reading, members.reading) == ("ensemble", "members")
    assert ensemble.result == pytest.approx(0.90)
    assert ensemble.metrics["log_loss"] == 0.5
    assert members.result == pytest.approx(0.76)


def test_every_arm_of_an_agreement_is_a_row_of_its_own(records):
    metrics = tuple(
        Metric(name=name, value=value, parameters={"arm": arm})
        for arm, accuracy, difference in (("as trained", 0.9, 0.0), ("mixed_float16", 0.89, 0.002))
        for name, value in (("top_1_accuracy", accuracy), ("largest_absolute_difference", difference))
    )
    rows = summarise([records.record("agreement", metrics=metrics)])
    assert [(row.kind, row.reading, row.result) for row in rows] == [
        ("accuracy", "as trained", 0.9),
        ("accuracy", "mixed_float16", 0.89),
    ]
    assert rows[1].metrics["largest_absolute_difference"] == 0.002


def test_what_the_input_pipeline_did_stands_in_the_details(records):
    record = records.record(
        workload={"augment": ("shift", "mixup"), "image_shape": (32, 32, 1)},
        configuration={"cache": "memory", "prefetch": 2, "loop": "keras-fit", "planted": "work:0.10"},
    )
    words = label_words(record.workload, record.configuration)
    told = {"grey", "shift", "mixup", "cache memory", "2 prefetched batches", "keras-fit loop"}
    assert told | {"PLANTED work:0.10"} <= set(words)


def test_a_batch_size_of_the_series_takes_the_place_of_the_runs(records):
    record = records.record(configuration={"global_batch_size": 64})

    def batches(parameters):
        words = label_words(record.workload, record.configuration, (), parameters)
        return [word for word in words if word.startswith("batch ")]

    assert batches({}) == ["batch 64"]
    assert batches({"batch_size": 1}) == ["batch 1"]
    assert batches({"batch_size": 0}) == []


def test_a_failed_run_is_one_row_with_its_reason(records):
    record = records.record(status="failed", reason="Out of memory.", series=(records.series(),))
    (row,) = summarise([record])
    assert (row.kind, row.status, row.reason, row.result) == ("nothing", "failed", "Out of memory.", None)


def test_a_run_without_a_result_says_so(records):
    (row,) = summarise([records.record()])
    assert (row.kind, row.reason) == ("nothing", "It ran, but recorded no result.")


def test_repeats_become_the_median_over_runs_however_many_steps_each_timed(records):
    caution = Caution(code="busy", message="Busy.")
    runs = [
        records.record(
            repeat=repeat,
            series=(records.series(steps=(1,), examples=(examples,), seconds=(1.0,)),),
            warnings=(caution,) if repeat else (),
        )
        for repeat, examples in enumerate((100, 110, 180))
    ]
    long_run = records.series(steps=(1,) * 50, examples=(180,) * 50, seconds=(1.0,) * 50)
    runs.append(records.record(repeat=3, series=(long_run,)))
    (row,) = pool(summarise(runs))
    assert row.runs == 4
    assert row.result == 145.0
    assert row.relative_mad == 35.0 / 145.0
    assert [caution.code for caution in row.cautions] == ["few-samples", "busy"]  # each of them once


def test_too_few_samples_in_one_repeat_leave_the_percentile_out(records):
    runs = [
        records.record(repeat=repeat, series=(records.latencies(*[0.5] * count),))
        for repeat, count in enumerate((6, 5))
    ]
    (row,) = pool(summarise(runs))
    assert isinstance(row.percentiles[0], TooFewSamples)
    (alone,) = pool(summarise(runs[:1]))
    assert not isinstance(alone.percentiles[0], TooFewSamples)


def test_runs_that_differ_in_what_or_how_are_not_pooled(records):
    series = (records.series(),)
    runs = [
        records.record(series=series),
        records.record(series=series, workload={"options": {"members": 3}}),
        records.record(series=series, configuration={"dtype_policy": "mixed_bfloat16"}),
        records.record(series=series, environment=records.environment("server")),
    ]
    assert len(pool(summarise(runs))) == 4


@pytest.mark.parametrize(
    ("one", "other", "distinction"),
    [
        ({"variables": {"XLA_FLAGS": "--a"}}, {"variables": {}}, "variable XLA_FLAGS --a"),
        ({"versions": {"keras": "3.14"}}, {"versions": {"keras": "3.15"}}, "keras 3.14"),
        ({"git_commit": "a" * 40}, {"git_commit": "b" * 40}, "git commit aaaaaaaaaaaa"),
        ({"git_dirty": True}, {"git_dirty": False}, "git commit 0123abc with changes"),
        ({"dataset_fingerprint": "a1"}, {"dataset_fingerprint": "b2"}, "data set fingerprint a1"),
        ({"usable_cores": 1.5}, {}, "cores that may be used 1.5"),
    ],
)
def test_runs_of_another_set_up_are_not_pooled_and_say_what_differs(records, one, other, distinction):
    runs = [
        records.record(series=(records.series(),), environment=records.environment(**facts))
        for facts in (one, other, other)
    ]
    first, second = pool(summarise(runs))
    assert (first.runs, second.runs) == (1, 2)
    assert first.distinction == distinction
    assert second.distinction not in ("", distinction)
    assert len(pool_phases(runs)) == 2


def test_repeats_whose_load_and_seed_differ_are_pooled(records):
    runs = [
        records.record(
            series=(records.series(),), environment=records.environment(load_before=float(seed), seed=seed)
        )
        for seed in range(2)
    ]
    (row,) = pool(summarise(runs))
    assert (row.runs, row.distinction) == (2, "")


def test_sizes_stand_in_the_order_of_numbers(records):
    series = tuple(records.series("matmul", parameters={"n": n}) for n in (2048, 512, 1024))
    rows = pool(summarise([records.record("matmul", workload={"phase": "kernel"}, series=series)]))
    assert [dict(row.parameters)["n"] for row in rows] == [512, 1024, 2048]


def test_two_machines_of_one_label_are_told_apart(records):
    runs = [
        records.record(series=(records.series(),), environment=records.environment(fingerprint=fingerprint))
        for fingerprint in ("aaaa", "bbbb")
    ]
    assert [row.machine for row in summarise(runs)] == ["laptop (aaaa)", "laptop (bbbb)"]


def test_labels_keep_what_differs_and_set_the_rest_apart():
    labels, common = tell_apart([["net", "cpu", "batch 1"], ["net", "gpu", "batch 1"]])
    assert labels == ["net · cpu", "net · gpu"]
    assert common == "batch 1"


def compare(records, *, reference=None, **runs):
    """Returns the ratios of runs on machines: for each label a number of examples a second."""
    rows = pool(summarise(list(runs.values())))
    machines = list(runs)
    return compare_machines(rows, choose_reference(machines, reference))


def run_at(records, label, rate, **fields):
    series = records.series(steps=(1,), examples=(rate,), seconds=(1.0,))
    return records.record(environment=records.environment(label), **{"series": (series,), **fields})


def test_a_machine_twice_as_fast_has_a_speed_up_of_two_and_claims_nothing(records):
    (ratio,) = compare(records, a=run_at(records, "a", 100), b=run_at(records, "b", 200))
    assert ratio.speed_up == 2.0
    assert ratio.division == "fixed"
    assert ratio.claim == "ratio of single runs; no comparison is claimed"
    (turned,) = compare(records, reference="b", a=run_at(records, "a", 100), b=run_at(records, "b", 200))
    assert turned.speed_up == 0.5


def test_a_shorter_step_is_a_speed_up_too(records):
    (ratio,) = compare(
        records,
        a=run_at(records, "a", 1, series=(records.latencies(0.4),)),
        b=run_at(records, "b", 1, series=(records.latencies(0.1),)),
    )
    assert ratio.speed_up == pytest.approx(4.0)


def test_other_workloads_are_not_compared(records):
    other = run_at(records, "b", 200, workload={"image_shape": (64, 64, 3)})
    assert compare(records, a=run_at(records, "a", 100), b=other) == []


def products(records, **rates):
    """Returns series of matrix products: for each device its rate in GFLOP/s at n = 10, 100, 1000."""
    return tuple(
        records.series(
            "matmul",
            parameters={"n": n, "device": device},
            steps=(1,),
            examples=(0,),
            seconds=(2 * n**3 / (rate * 1e9),),
        )
        for device, of_device in rates.items()
        for n, rate in zip((10, 100, 1000), of_device, strict=False)
    )


def test_an_accelerators_products_are_compared_with_a_cpus(records):
    run = {"scenario": "matmul", "workload": {"phase": "kernel"}}
    cpu = records.record(series=products(records, cpu=(1, 2, 4)), environment=records.environment("a"), **run)
    both = records.record(
        series=products(records, cpu=(1, 2, 8), gpu=(1, 20, 400)),
        environment=records.environment("b"),
        **run,
    )
    ratios = {ratio.row.reading: ratio.speed_up for ratio in compare(records, a=cpu, b=both)}
    assert ratios["matmul, gpu, n = 100"] == pytest.approx(10)
    assert ratios["matmul, gpu, n = 1000"] == pytest.approx(100)
    assert ratios["matmul, cpu, n = 1000"] == pytest.approx(2)
    turned = compare(records, reference="b", a=cpu, b=both)
    assert {ratio.reference.reading for ratio in turned} == {f"matmul, cpu, n = {n}" for n in (10, 100, 1000)}


def test_inference_on_eight_replicas_stands_beside_that_on_one(records):
    def infer(label, replicas):
        series = records.series(
            "throughput", parameters={"batch_size": 64 * replicas}, examples=(0, 0, 300 * replicas)
        )
        return run_at(
            records,
            label,
            1,
            workload={"phase": "inference"},
            configuration={"num_replicas": replicas, "global_batch_size": 64 * replicas},
            series=(series, records.latencies(0.5, batch_size=replicas)),
        )

    latency, throughput = compare(records, a=infer("a", 1), b=infer("b", 8))
    assert throughput.speed_up == 8.0
    assert throughput.division == "differs in global_batch_size: 64 → 512"
    assert latency.division == "differs in global_batch_size: 1 → 8"


def test_settings_that_trials_chose_on_both_machines_are_tuned(records):
    tuning = Tuning(trials=(), chosen={}, why="it won")

    def tuned(label, batch, tuning):
        configuration = {"global_batch_size": batch}
        return run_at(
            records, label, 1, series=(records.series(),), configuration=configuration, tuning=tuning
        )

    (ratio,) = compare(records, a=tuned("a", 64, tuning), b=tuned("b", 512, tuning))
    assert ratio.division == "tuned: each its own; differs in global_batch_size: 64 → 512"
    (ratio,) = compare(records, a=tuned("a", 64, None), b=tuned("b", 512, tuning))
    assert ratio.division == "differs in global_batch_size: 64 → 512"


def test_the_batch_of_a_replica_and_the_device_choose_the_counterpart(records):
    def infer(label, replicas, *batches):
        latencies = tuple(records.latencies(0.1, batch_size=batch) for batch in batches)
        return run_at(records, label, 1, series=latencies, configuration={"num_replicas": replicas})

    (ratio,) = compare(records, a=infer("a", 1, 8, 1), b=infer("b", 8, 8))
    assert ratio.reference.batch_size == 1
    runs = [
        records.record(
            "matmul",
            workload={"phase": "kernel"},
            series=products(records, cpu=(1,), gpu=(5,)),
            environment=records.environment(label),
        )
        for label in "ab"
    ]
    ratios = compare_machines(pool(summarise(runs)), "a")
    assert [ratio.speed_up for ratio in ratios] == [1.0, 1.0]  # each device against its like


def test_an_accuracy_of_the_same_model_on_the_same_data_stands_beside_a_speed(records):
    runs = []
    for label, value in (("a", 0.8), ("b", 0.9)):
        runs.append(run_at(records, label, 100))
        for fields in (
            {"scenario": "ensemble-accuracy", "metrics": (accuracy(0.99, seed=0, of="ensemble"),)},
            {"metrics": (accuracy(value, epoch=1),)},
            {"metrics": (accuracy(0.1, epoch=1),), "workload": {"dataset": "other"}},
        ):
            environment = records.environment(label)
            runs.append(records.record(**{"scenario": "time-to-accuracy", **fields}, environment=environment))
    (ratio,) = compare_machines(pool(summarise(runs)), "a")
    assert ratio.accuracy.metrics == {"top_1_accuracy": 0.9}
    assert ratio.reference_accuracy.metrics == {"top_1_accuracy": 0.8}
    (without,) = compare(records, a=run_at(records, "a", 100), b=run_at(records, "b", 200))
    assert without.accuracy is None


def test_another_version_stands_beside_the_ratio(records):
    older = run_at(records, "b", 200)
    environment = records.environment("b", versions={"tensorflow": "2.20.0"}, variables={})
    (ratio,) = compare(
        records,
        a=run_at(records, "a", 100),
        b=msgspec.structs.replace(older, environment=environment),
    )
    assert "tensorflow: 2.21.0 → 2.20.0" in ratio.setup_differences
    assert "variable TF_ENABLE_ONEDNN_OPTS: 1 → not set" in ratio.setup_differences


@pytest.mark.parametrize(
    ("cpu", "gpu", "passes_at"),
    [
        ((2, 4, 8), (1, 40, 800), 100),
        ((2, 4, 8), (3, 40, 800), 10),
        ((2, 4, 8), (3, 3, 800), 1000),
        ((2, 4, 8), (1, 40, 4), None),
        ((2, 4), (1, 40, 800), 100),
        ((2, 4, 8), (2, 4, 8), None),
    ],
)
def test_the_crossover_is_the_smallest_size_from_which_the_gpu_stays_faster(records, cpu, gpu, passes_at):
    run = records.record("matmul", workload={"phase": "kernel"}, series=products(records, cpu=cpu, gpu=gpu))
    (crossover,) = find_crossovers(pool(summarise([run])))
    assert (crossover.accelerator, crossover.passes_at) == ("gpu", passes_at)
    assert crossover.sizes == (10, 100, 1000)[: len(cpu)]


def test_one_device_has_nothing_to_cross_but_a_best_rate(records):
    run = records.record("matmul", workload={"phase": "kernel"}, series=products(records, cpu=(1, 9, 8)))
    (crossover,) = find_crossovers(pool(summarise([run])))
    assert crossover.accelerator is crossover.passes_at is None
    assert (crossover.best_n, crossover.best_flops_per_second) == (100, pytest.approx(9e9))


def test_the_fence_is_a_share_of_the_median_step_but_of_no_pipeline(records):
    series = (records.series(seconds=(0.5, 1.0, 1.5)), records.series("input"))
    run = records.record(series=series, fence_seconds=(0.002, 0.001, 0.009))
    compute, pipeline = summarise([run])
    assert compute.fence_share == 0.004  # 2 ms of 0.5 s
    assert pipeline.fence_share is None


def test_what_differs_in_the_configuration_stands_beside_the_ratio(records):
    mirrored = {
        "strategy": "mirrored",
        "num_replicas": 2,
        "global_batch_size": 128,
        "float32_arithmetic": "tf32",
    }
    (ratio,) = compare(
        records, a=run_at(records, "a", 100), b=run_at(records, "b", 200, configuration=mirrored)
    )
    assert ratio.division == ("differs in global_batch_size: 64 → 128; float32_arithmetic: float32 → tf32")


def test_the_most_similar_run_of_the_reference_is_compared_with(records):
    rows = pool(
        summarise(
            [
                run_at(records, "a", 100, configuration={"dtype_policy": "mixed_bfloat16"}),
                run_at(records, "a", 50),
                run_at(records, "b", 200),
            ]
        )
    )
    (ratio,) = compare_machines(rows, "a")
    assert (ratio.speed_up, ratio.division) == (4.0, "fixed")


def test_medians_of_repeats_claim_nothing_either(records):
    rows = pool(
        summarise([run_at(records, label, 100, repeat=repeat) for label in "ab" for repeat in range(3)])
    )
    (ratio,) = compare_machines(rows, "a")
    assert ratio.claim.startswith("ratio of the medians of 3 and 3 runs, without an interval")


def test_an_unknown_reference_names_the_machines():
    with pytest.raises(ConfigurationError, match=r"mean 'laptop'\?.*laptop, server.*='labtop'"):
        choose_reference(["laptop", "server"], "labtop")


def test_phases_of_repeats_are_medians_and_failed_runs_stay_out(records):
    runs = [
        records.record(repeat=repeat, phases={"import": seconds})
        for repeat, seconds in enumerate((1.0, 5.0, 2.0))
    ]
    runs.append(records.record(status="failed", phases={"import": 100.0}))
    (phases,) = pool_phases(runs)
    assert phases.seconds == {"import": 2.0}


def test_measuring_is_what_a_record_keeps_as_its_result_and_not_what_leads_there(records):
    timed = records.record(phases={"import": 4.0, "warmup": 1.0, "steady": 3.0, "references": 1.0})
    trained = records.record(phases={"import": 2.0, "first_step": 1.0, "training": 5.0, "evaluation": 3.0})
    failed = records.record(status="failed", phases={"import": 100.0})
    measuring = time_measuring([timed, trained, failed])
    assert (measuring.seconds, measuring.total, measuring.share) == (12.0, 20.0, 0.6)
    assert "Measuring took 60.0 % of the 20.0 s" in " ".join(
        collect_contents([timed, trained, failed]).summary
    )
    assert time_measuring([failed]) is None
