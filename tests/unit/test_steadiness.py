"""What a series' own samples say against its figures, and where that is shown."""

import pytest

from bench.analysis.pooling import pool
from bench.analysis.steadiness import judge_steadiness
from bench.analysis.summary import summarise
from bench.records.record import Caution
from bench.reporting.tables import build_tables

CALM = [1.0, 1.01, 0.99, 1.0, 1.02, 0.98, 1.0, 1.01, 0.99, 1.0]
JUMPS = [1.0, 1.01, 0.99, 1.0, 1.01, 0.99, 1.0, 1.01, 1.5, 1.51]
SLOPE = [1.0 + 0.05 * place + CALM[place] / 100 for place in range(10)]


@pytest.fixture
def blocks(records):
    """Returns a series of blocks of ten steps, from the seconds of each."""

    def make(seconds, name="compute", fence="block"):
        steps = (10 if fence == "block" else 1,) * len(seconds)
        return records.series(name, fence, steps=steps, examples=steps, seconds=tuple(seconds))

    return make


def codes_of(records, *series, **fields):
    rows = summarise([records.record(series=series, **fields)])
    return [[caution.code for caution in row.cautions] for row in rows]


def test_a_calm_series_is_steady_from_its_first_step_and_raises_no_caution(records, blocks):
    assert judge_steadiness(blocks(CALM)).from_step == 1
    assert codes_of(records, blocks(CALM)) == [[]]


def test_a_slow_start_is_told_in_steps_and_as_a_slow_first_block(records, blocks):
    series = blocks([1.4, *CALM])
    assert judge_steadiness(series).verdict == "steady"
    assert codes_of(records, series) == [["slow-first-block"]]
    later = judge_steadiness(blocks([1.4, 1.41, 1.4, 1.39, *CALM, *CALM]))
    assert later.from_step == 41


def test_of_single_steps_the_first_is_no_block(records, blocks):
    assert codes_of(records, blocks([1.4, *CALM], fence="step")) == [[]]


def test_what_jumps_or_drifts_until_its_end_is_cautioned(records, blocks):
    assert codes_of(records, blocks(JUMPS), blocks(SLOPE, "input")) == [["never-steady"], ["drifting"]]


def test_few_samples_are_one_caution_and_no_verdict(records, blocks):
    assert codes_of(records, blocks(CALM[:4])) == [["few-samples"]]


def test_a_recorded_caution_of_one_series_touches_that_one_alone(records, blocks):
    warnings = (
        Caution(code="whole-run", message="All of it."),
        Caution(code="one-series", message="This one.", series="both"),
    )
    assert codes_of(records, blocks(CALM), blocks(CALM, "both"), warnings=warnings) == [
        ["whole-run"],
        ["whole-run", "one-series"],
    ]


def test_the_verdict_stands_beside_the_number_with_what_to_do(records, blocks):
    def cells_of(*runs):
        made = [records.record(series=(run,), repeat=place) for place, run in enumerate(runs)]
        (table,) = build_tables(pool(summarise(made)))
        return dict(zip(table.headers, table.rows[0], strict=True))

    assert cells_of(blocks(CALM))["steady"] == "from step 1"
    assert "cautions" not in cells_of(blocks(CALM))
    assert cells_of(blocks(CALM), blocks(JUMPS))["steady"] == "1 of 2 runs"
    row = cells_of(blocks(SLOPE))
    assert row["steady"] == "drifting"
    assert "warm up and measure for longer" in row["cautions"]
    assert row["throughput (examples/s)"].endswith("⚠")
