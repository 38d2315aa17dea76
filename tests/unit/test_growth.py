"""How throughput grows, where fusing pays, what caches are worth: from series to words and charts."""

import pytest

from bench.analysis.growth import find_fusing, find_growth, paired_ratio
from bench.analysis.pooling import pool
from bench.analysis.summary import summarise
from bench.records.record import Metric
from bench.reporting.charts import draw_charts
from bench.reporting.growth import describe_caches, describe_fusing, describe_growth
from bench.reporting.tables import build_tables

NOISE = (1.0, 1.01, 0.99, 1.0, 1.01, 0.99)
INPUT = {"phase": "input", "backbone": None, "dataset": "photographs"}


def blocks(records, name, rate, noise=NOISE, **parameters):
    """Returns blocks of 100 images at about that rate."""
    count = len(noise)
    return records.series(
        name,
        parameters=parameters,
        steps=(1,) * count,
        examples=(100,) * count,
        seconds=tuple(100 / rate * factor for factor in noise),
    )


def sweep(records, by, rates, **fields):
    series = tuple(blocks(records, "input", rate, **{by: at}) for at, rate in rates.items())
    return records.record("input-growth", workload=INPUT, series=series, **fields)


def rows_of(*runs):
    return pool(summarise(runs))


def test_throughput_is_said_to_grow_until_no_later_point_is_faster(records):
    rows = rows_of(sweep(records, "batch_size", {16: 402, 1: 100, 64: 399, 4: 300}))
    (growth,) = find_growth(rows)
    assert [point.at for point in growth.points] == [1, 4, 16, 64]
    assert growth.plateau == 2
    (sentence,) = describe_growth(rows)
    assert sentence.startswith(
        "With the batch size, from 1 to 64, images/s grow from 100 (99.1 to 101) up to"
    )
    assert "402 (398 to 406) at 16, and not clearly further; at the last they are 399" in sentence
    assert "6 rounds of one run" in sentence


@pytest.mark.parametrize(
    ("rates", "words"),
    [
        ({1: 100, 2: 198, 4: 300}, "grow up to the last: from 100"),
        ({1: 300, 2: 301, 4: 299}, "do not grow: 300"),
        ({1: 300, 2: 200, 4: 30}, "fall from 300 (297 to 303) to 30.0"),
    ],
)
def test_what_grows_to_the_end_or_not_at_all_is_said_so(records, rates, words):
    (sentence,) = describe_growth(rows_of(sweep(records, "parallel_calls", rates)))
    assert words in sentence


def test_a_point_that_was_timed_once_claims_no_growth(records):
    series = tuple(blocks(records, "input", rate, (1.0,), batch_size=at) for at, rate in ((1, 9), (2, 99)))
    assert describe_growth(rows_of(records.record("input-growth", workload=INPUT, series=series))) == []


def test_of_several_runs_the_interval_is_over_the_runs(records):
    runs = [
        sweep(records, "batch_size", {1: 100 * pace, 4: 200}, request_key="growth", repeat=repeat)
        for repeat, pace in enumerate((1.0, 1.2, 0.8))
    ]
    (growth,) = find_growth(rows_of(*runs))
    assert growth.row.rates == pytest.approx([100, 120, 80])
    assert growth.points[0].high - growth.points[0].low > 40
    assert "3 runs" in describe_growth(rows_of(*runs))[0]


def test_each_sweep_has_a_chart_and_no_bars(records):
    series = (
        *(blocks(records, "input", 9e4 / size**0.5, image_bytes=size) for size in (10_800, 283_000)),
        *(blocks(records, "input", 100 * size, batch_size=size) for size in (1, 4)),
        *(blocks(records, "input", 4000 / length, examples_per_cached=length) for length in (0.5, 10.0)),
    )
    run = records.record("input-growth", workload=INPUT, series=series, phases={})
    charts = draw_charts(rows_of(run), [run])
    titles = [chart.svg[chart.svg.index("<title") :].partition("</title>")[0] for chart in charts[:3]]
    assert ["bytes of an image" in titles[0], "batch size" in titles[1], "more images" in titles[2]] == [
        True
    ] * 3
    assert not any("Throughput of" in chart.svg for chart in charts)
    assert "10.8 KB" in charts[0].svg
    assert "0.5 ×" in charts[2].svg


def fusing(records, ratios, noise=NOISE):
    """Returns an ensemble whose fused network is so many times as fast, by batch size."""
    series = []
    for size, ratio in ratios.items():
        series.append(blocks(records, "throughput", 100.0, noise, arm="sequential", batch_size=size))
        series.append(blocks(records, "throughput", 100.0 * ratio, noise, arm="fused", batch_size=size))
    workload = {"phase": "inference", "options": {"members": 3}}
    return records.record("ensemble-inference", workload=workload, series=tuple(series))


def test_fusing_pays_where_the_interval_of_paired_blocks_lies_above_one(records):
    wild = (1.0, 2.0, 0.5, 1.5, 0.7, 1.0)  # both arms slow down together: they took turns
    (duel,) = find_fusing(rows_of(fusing(records, {16: 1.0, 1: 1.6, 4: 0.9}, wild)))
    assert list(duel.ratios) == [1, 4, 16]
    assert duel.ratios[1].ratio == pytest.approx(1.6)
    assert (duel.wins, duel.loses) == ([1], [4])


@pytest.mark.parametrize(
    ("ratios", "words"),
    [
        ({1: 1.6, 64: 1.2}, "pays at every batch size from 1 to 64"),
        ({1: 1.6, 64: 0.8}, "pays at batch size 1, and costs at 64"),
        ({1: 0.9, 64: 0.8}, "is not shown to pay at any batch size, and costs at 1, 64"),
    ],
)
def test_words_say_at_which_batch_sizes_fusing_pays(records, ratios, words):
    rows = rows_of(fusing(records, ratios))
    (sentence,) = describe_fusing(rows)
    assert f"Fusing 3 × cifar_cnn@32 into one network {words}" in sentence
    assert f"{ratios[1]:.2f} times ({ratios[1]:.2f} to {ratios[1]:.2f}) at 1" in sentence
    (table,) = build_tables(rows)
    assert sentence in table.conclusions


@pytest.mark.parametrize(("runs", "is_claim"), [(1, False), (5, False), (6, True)])
def test_that_fusing_pays_is_a_claim_from_six_runs_on(records, runs, is_claim):
    (sentence,) = describe_fusing(rows_of(*(fusing(records, {1: 1.6, 64: 1.2}) for _ in range(runs))))
    assert ("which fewer than 6 runs only hint at" in sentence) is not is_claim


def test_fused_and_one_after_another_share_a_chart_by_batch_size(records):
    run = fusing(records, {1: 1.6, 64: 1.2})
    chart = next(one for one in draw_charts(rows_of(run), [run]) if "Ensemble inference by" in one.svg)
    assert chart.svg.count("up to 100 images/s") == 1
    assert chart.svg.count("up to 160 images/s") == 1


def test_series_of_different_lengths_are_no_pairs(records):
    series = (
        blocks(records, "throughput", 100, NOISE, arm="sequential", batch_size=1),
        blocks(records, "throughput", 100, NOISE[:5], arm="fused", batch_size=1),
    )
    rows = rows_of(records.record("ensemble-inference", series=series))
    assert paired_ratio(*rows) is None
    assert find_fusing(rows) == []


def test_caches_say_what_they_deliver_and_hold(records):
    rates = {
        ("files", "first epoch"): 400,
        ("files", "later epochs"): 500,
        ("memory", "first epoch"): 390,
        ("memory", "later epochs"): 5000,
    }
    run = records.record(
        "input-caches",
        workload=INPUT,
        series=tuple(
            blocks(records, "input", rate, source=source, state=state)
            for (source, state), rate in rates.items()
        ),
        metrics=(
            Metric(name="on_disk_bytes", value=18.7e6, parameters={"source": "files"}),
            Metric(name="in_memory_bytes", value=9.63e6, parameters={"source": "memory"}),
        ),
    )
    rows = rows_of(run)
    (sentence,) = describe_caches(rows)
    assert "files 500 (18.7 MB on disk); memory 5,000 (10.00 times (10.00 to 10.00) the files" in sentence
    assert "9.63 MB in memory)" in sentence
    assert "dropped: files 400 (first epoch); memory 390 (first epoch)" in sentence
    (table,) = build_tables(rows)
    column = table.headers.index("on disk (MB)")
    assert [row[column] for row in table.rows] == ["18.7", "18.7", "", ""]


def test_equal_rates_have_whiskers_of_no_length_and_none_below(records):
    for rate in range(100, 400, 7):
        runs = [
            sweep(records, "batch_size", {1: rate / 3, 4: rate / 7}, request_key="growth", repeat=repeat)
            for repeat in range(6)
        ]
        (growth,) = find_growth(rows_of(*runs))
        assert all(point.low <= point.rate <= point.high for point in growth.points)
