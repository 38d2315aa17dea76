"""Where the time of a training step goes: parts, advice and the bar, from records made by hand."""

import io
from typing import Any

import pytest
from rich.console import Console

from bench.analysis.pooling import pool
from bench.analysis.summary import Row, summarise
from bench.analysis.waterfall import Waterfall
from bench.records.record import Accelerator, Memory, RunRecord
from bench.reporting.contents import collect_contents
from bench.reporting.html import write_report
from bench.reporting.outcome_charts import draw_memory
from bench.reporting.svg import drawing_style
from bench.reporting.tables import terminal_table
from bench.reporting.waterfall import explain_waterfalls

GPU = (Accelerator(kind="gpu", model="Example GPU 200"),)


@pytest.fixture
def training(records):
    """Returns what makes the record of a train-epoch: ten blocks of ten steps of 100 ms, 64 images each."""

    def make(
        *,
        blocked: float = 0.38,  # of each second
        called: float = 0.6,
        alone: float = 700.0,  # examples a second of the pipeline by itself
        warmup_call_seconds: tuple[float, ...] = (9.0, 0.06),
        strategy: str = "cpu",
        num_replicas: int = 1,
        synchronise: float | None = None,
        scenario: str = "train-epoch",
        **fields: Any,
    ) -> RunRecord:
        ten: dict[str, Any] = {"steps": (10,) * 10, "examples": (640,) * 10}
        timed = {"call_seconds": (called,) * 10, "warmup_call_seconds": warmup_call_seconds}
        series = [records.series("compute", seconds=(0.6,) * 10, **ten, **timed)]
        if scenario == "train-epoch":
            series += [
                records.series("input", seconds=(640 / alone,) * 10, **ten),
                records.series("both", seconds=(1.0,) * 10, blocked_seconds=(blocked,) * 10, **ten, **timed),
            ]
        if synchronise is not None:
            sums = {"steps": (4,), "examples": (0,), "seconds": (4 * synchronise,)}
            series.append(records.series("synchronise", **sums))
        environment = records.environment(
            usable_cores=8.0, accelerators=() if strategy.startswith("cpu") else GPU
        )
        how = {"strategy": strategy, "num_replicas": num_replicas, "num_parallel_calls": 4, "cache": "none"}
        return records.record(
            scenario,
            configuration={**how, **fields.pop("configuration", {})},
            environment=environment,
            series=tuple(series),
            fence_seconds=(0.004, 0.005, 0.009),
            **fields,
        )

    return make


def row_of(*made: RunRecord) -> Row:
    (row,) = [row for row in pool(summarise(made)) if row.waterfall]
    return row


def waterfall_of(*made: RunRecord) -> Waterfall:
    waterfall = row_of(*made).waterfall
    assert waterfall is not None
    return waterfall


def sentence_of(*made: RunRecord) -> str:
    (sentence,) = explain_waterfalls(pool(summarise(made)))
    return sentence


def test_on_a_cpu_a_step_waits_for_input_computes_and_is_fenced(training):
    waterfall = waterfall_of(training())
    assert list(waterfall.parts) == ["input", "compute", "fence"]
    # 100 ms a step; the fence takes its 5 ms once in ten steps.
    assert waterfall.parts == pytest.approx({"input": 0.038, "compute": 0.0615, "fence": 0.0005})
    assert waterfall.on_cpu


def test_on_an_accelerator_the_call_is_the_host_and_the_wait_beyond_the_fence_the_device(training):
    made = training(strategy="gpu:0", called=0.05, warmup_call_seconds=(9.0, 9.0, 0.005, 0.005))
    assert waterfall_of(made).parts == pytest.approx(
        {"input": 0.038, "host": 0.005, "device": 0.0565, "fence": 0.0005}
    )


def test_a_call_that_waits_for_room_in_the_devices_queue_is_no_work_of_the_host(training):
    made = training(strategy="gpu:0", called=0.6, warmup_call_seconds=(9.0, 9.0, 0.005, 0.005))
    assert waterfall_of(made).parts["host"] == pytest.approx(0.005)
    assert waterfall_of(made).parts["device"] == pytest.approx(0.0565)


def test_a_warm_up_of_calls_of_several_steps_is_the_host_s_part_of_as_many(training):
    calls = training(
        strategy="gpu:0", called=0.05, warmup_call_seconds=(0.02,), configuration={"steps_per_execution": 4}
    )
    assert waterfall_of(calls).parts["host"] == pytest.approx(0.005)


def test_without_warmup_all_of_the_call_is_the_hosts(training):
    made = training(strategy="gpu:0", called=0.3, warmup_call_seconds=())
    assert waterfall_of(made).parts["host"] == pytest.approx(0.03)


def test_the_parts_of_a_step_are_all_of_it(training):
    for made in (training(), training(strategy="gpu:0"), training(blocked=0.0, called=1.0)):
        assert waterfall_of(made).step_seconds == pytest.approx(0.1)


def test_a_fence_that_had_nothing_to_wait_for_takes_no_more_than_was_waited(training):
    assert waterfall_of(training(called=0.619)).parts["fence"] == pytest.approx(0.0001)


def test_what_the_pipeline_would_need_is_the_rate_of_steps_that_wait_for_nothing(training):
    waterfall = waterfall_of(training(blocked=0.5))
    assert waterfall.input_share == pytest.approx(0.5)
    assert waterfall.needed_examples_per_second == pytest.approx(64 / 0.05)
    assert waterfall.needed_ratio == pytest.approx(2)
    assert waterfall.needed_parallel_calls == 8


def test_an_input_bound_training_says_how_many_threads_would_do(training):
    sentence = sentence_of(training(blocked=0.5))
    assert "train-epoch cifar_cnn@32 (cpu, batch 64, on laptop)" in sentence
    assert "waits for input 50.0 % of the time (input-bound)" in sentence
    assert "twice the decode threads would be needed by estimate, 8 in place of 4" in sentence
    assert "1,280 images/s" in sentence
    assert "cores here" not in sentence


def test_threads_that_the_machine_has_no_cores_for_are_not_advised_without_saying_so(training):
    sentence = sentence_of(training(blocked=0.6))
    assert "2.5 times the decode threads" in sentence
    assert "10 in place of 4, more than the 8 cores here" in sentence


def test_a_pipeline_that_is_fast_enough_alone_is_not_given_more_threads(training):
    assert "it shares the cores with the training" in sentence_of(training(alone=5000.0))
    sentence = sentence_of(training(alone=5000.0, strategy="gpu:0"))
    assert "alone it does (5,000 images/s)" in sentence
    assert "threads would be needed" not in sentence


def test_a_wait_below_five_per_cent_is_fine_and_one_below_twenty_worth_a_look(training):
    sentence = sentence_of(training(blocked=0.04, called=0.9))
    assert "4.0 % of the time, which is fine: compute 95.5 %" in sentence
    assert "(worth a look)" in sentence_of(training(blocked=0.12, called=0.8))


def test_cached_images_are_not_said_to_be_decoded(training):
    made = training(blocked=0.5, configuration={"cache": "memory"})
    assert "twice the input threads" in sentence_of(made)


def test_synchronising_is_told_where_there_are_several_replicas_and_is_no_row_of_its_own(training):
    made = training(blocked=0.04, strategy="cpu-mirrored:2", num_replicas=2, synchronise=0.005)
    assert waterfall_of(made).synchronise_share == pytest.approx(0.05)
    sentence = sentence_of(made)
    assert "over 2 replicas takes 5.00 ms by itself, at most 5.0 % of a step" in sentence
    assert "synchronise" not in {row.series for row in summarise([made])}


def test_a_step_without_input_is_taken_apart_where_it_says_something(training):
    assert explain_waterfalls(summarise([training(scenario="train-step")])) == []
    gpu = training(scenario="train-step", strategy="gpu:0", called=0.5, warmup_call_seconds=(0.006,))
    assert waterfall_of(gpu).input_share is None
    assert "takes 60.0 ms a step: host 10.0 %, device 89.2 %, fence 0.83 %" in sentence_of(gpu)


def test_repeats_are_pooled_by_their_medians(training):
    shares = (0.1, 0.2, 0.6)
    made = [
        training(blocked=blocked, called=0.9 - blocked, request_key="a", repeat=repeat, id=f"r{repeat}")
        for repeat, blocked in enumerate(shares)
    ]
    assert waterfall_of(*made).parts["input"] == pytest.approx(0.02)


def test_a_report_has_the_bar_and_the_sentence_in_all_its_forms(training, tmp_path):
    made = [training(blocked=0.5), training(strategy="gpu:0", warmup_call_seconds=(0.01,))]
    html = write_report(tmp_path, collect_contents(made)).read_text()
    for text in ("waiting for input", "host: calling the step", "waiting for the device", "100 ms"):
        assert text in html[html.index("chart-waterfall") :]
    console = Console(file=io.StringIO(), width=100)
    console.print(terminal_table(summarise(made)))
    for text in (html, (tmp_path / "report.md").read_text(), console.file.getvalue()):
        assert "twice the decode threads" in " ".join(text.split())


def test_memory_over_time_is_drawn_for_a_few_runs_whose_line_says_more_than_the_peak(records):
    def chart_of(runs, points):
        memory = Memory(
            peak_resident_bytes=2**30, timeline_interval_seconds=0.1, timeline_bytes=(2**29,) * points
        )
        with drawing_style():
            return draw_memory([records.record(repeat=run, memory=memory) for run in range(runs)], "memory")

    chart = chart_of(2, 30)
    assert chart is not None
    assert "run 2:  peak 1.00 GiB" in chart.svg
    assert "resident memory (GiB)" in chart.svg
    assert chart_of(1, 3) is None
    assert chart_of(9, 30) is None
    assert draw_memory([records.record()], "memory") is None


def test_old_records_without_the_time_inside_the_calls_have_no_waterfall(study):
    assert all(row.waterfall is None for row in summarise(study))
