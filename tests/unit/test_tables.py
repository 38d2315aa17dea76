"""Tables for the terminal, Markdown and CSV."""

import csv
import io
import re

import pytest
from rich.console import Console

from bench.analysis.pooling import pool
from bench.analysis.summary import summarise
from bench.records.record import Caution, Metric, Tuning
from bench.reporting.columns import CSV_COLUMNS
from bench.reporting.numbers import format_number, format_percent, plain
from bench.reporting.tables import (
    ROW_LIMIT,
    build_tables,
    csv_text,
    markdown_table,
    terminal_table,
)

BUSY = Caution(code="busy-machine", message="The load was 1.5; close other programs.")


def cells(rows, kind=0):
    """Returns the cells of the only row of a table by their headings."""
    table = build_tables(rows)[kind]
    (row,) = table.rows
    return dict(zip(table.headers, row, strict=True))


def terminal(rows, width=80):
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(terminal_table(rows))
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (1234.5, "1,230"),
        (999.6, "1,000"),
        (9.999, "10.0"),
        (0.045678, "0.0457"),
        (12, "12.0"),
        (1e-6, "1.00e-06"),
        (-1234.5, "-1,230"),
    ],
)
def test_numbers_have_three_significant_digits(value, text):
    assert format_number(value) == text


def test_percentages_below_one_keep_a_second_decimal():
    assert [format_percent(share) for share in (0.1234, 0.0012, 0.0)] == ["12.3 %", "0.12 %", "0.0 %"]


def test_control_characters_become_blanks():
    assert plain("a\x1b[2Jb\nc") == "a [2Jb c"


def test_a_throughput_cell_has_its_spread_and_a_mark_where_a_caution_touches_it(records):
    record = records.record(
        series=(records.series("both", blocked_seconds=(0.3, 0.3, 0.3)),),
        metrics=(Metric(name="top_1_accuracy", value=0.9137),),
        warnings=(BUSY,),
    )
    row = cells(summarise([record]))
    assert row["throughput (examples/s)"] == "200 ± 50.0 % ⚠"
    assert row["step median (ms)"] == "500 ± 170"
    assert row["waiting"] == "30.0 % (input-bound)"
    assert row["top-1 accuracy (%)"] == "91.4"
    assert row["first step (s)"] == "4.00"
    assert row["peak memory (GiB)"] == "1.50"
    assert row["backbone@size"] == "cifar_cnn@32"
    assert row["batch"] == "64"
    assert row["cautions"].startswith("⚠ The load was 1.5; close other programs.; ⚠ Fewer than 5 samples")
    assert row["steady"] == "too few samples"
    assert "machine" not in row  # all rows are of one
    assert "p99 (ms)" not in row  # a throughput has none


def test_percentiles_stand_with_their_interval_or_as_too_few_samples(records):
    samples = [number / 1000 for number in range(1, 31)]
    row = cells(summarise([records.record(series=(records.latencies(*samples),))]))
    assert row["p50 (ms)"] == "15.5 (10.0–21.0)"
    assert row["p90 (ms)"].startswith("27.1 (")
    assert row["p99 (ms)"] == "too few samples (30 of 299)"


def test_a_failed_run_has_its_reason_in_a_table_of_its_own(records):
    runs = [records.record(series=(records.series(),)), records.record(status="skipped", reason="No TPU.")]
    assert [table.name for table in build_tables(summarise(runs))] == ["throughput", "nothing"]
    row = cells(summarise(runs), kind=1)
    assert (row["status"], row["reason"]) == ("skipped", "No TPU.")


def test_a_long_table_says_how_many_rows_it_leaves_out(records):
    row = summarise([records.record(series=(records.series(),))])[0]
    (table,) = build_tables([row] * (ROW_LIMIT + 5))
    assert (len(table.rows), table.left_out) == (ROW_LIMIT, 5)
    assert "5 more rows" in markdown_table(table)


def test_markdown_shows_foreign_text_as_it_stands(records):
    record = records.record(status="failed", reason="a|b ![x](y) <b>\n# c `d`")
    text = markdown_table(build_tables(summarise([record]))[0])
    assert r"a\|b !\[x\](y) \<b\> # c \`d\`" in text
    assert (
        len({line.replace(r"\|", "").count("|") for line in text.splitlines() if line.startswith("|")}) == 1
    )


def test_csv_keeps_full_precision_and_says_the_units(records):
    latencies = records.latencies(0.1, 0.2, 0.4)
    record = records.record(series=(records.series(seconds=(1.0, 1.0, 5.0)), latencies))
    first, second = csv.DictReader(io.StringIO(csv_text(summarise([record]))))
    assert list(first) == list(CSV_COLUMNS)
    assert float(first["examples_per_second"]) == 600 / 7
    assert float(second["median_step_ms"]) == 200.0
    assert second["p99_step_ms"] == second["examples_per_second"] == ""


def test_csv_hands_no_formula_to_a_spreadsheet(records):
    record = records.record(status="failed", reason='=HYPERLINK("http://example.org")')
    (row,) = csv.DictReader(io.StringIO(csv_text(summarise([record]))))
    assert row["reason"].startswith("'=")


def test_a_study_of_one_machine_fits_eighty_columns(study):
    study = [record for record in study if record.environment.machine_label == "laptop"]
    text = terminal(pool(summarise(study)))
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    for expected in ("train-step: compute", "cifar_cnn@32", "examples/s", "GFLOP/s", "94.0 % in 0 of 1"):
        assert expected in text
    assert "Throughout: strategy one-device." in text
    assert re.search(r"⚠\d busy-machine: The load was 1.5 on 4 cores", text)
    assert "failed: train-step vgg16@224 with one-device on laptop: Out of memory" in text


def test_the_terminal_obeys_no_markup_and_no_escape_of_a_record(records):
    environment = records.environment("[red]\x1b[2J")
    text = terminal(summarise([records.record(series=(records.series(),), environment=environment)]))
    assert "[red] [2J" in text
    assert "\x1b" not in text


def test_input_bound_runs_are_noted_in_the_terminal(records):
    series = (records.series("both", blocked_seconds=(0.3, 0.3, 0.3)),)
    assert "waits 30%" in terminal(summarise([records.record("train-epoch", series=series)]))


def test_no_figure_is_cut_where_a_terminal_is_narrow(records):
    series = (records.series("both", blocked_seconds=(0.3, 0.3, 0.3)),)
    runs = [
        records.record("train-epoch", series=series, configuration={"strategy": strategy}, warnings=(BUSY,))
        for strategy in ("cpu-mirrored:2", "cpu")
    ]
    for width in (100, 80, 56, 44):
        lines = terminal(summarise(runs), width).splitlines()
        assert max(map(len, lines)) <= width
        text = " ".join(" ".join(lines).split())
        assert text.count("200 examples/s") == 2
        assert text.count("50.0 %") == 2
        assert text.count("⚠1") == 3
        assert text.count("30%") == 2


def kernel(records, *devices):
    series = tuple(
        records.series("matmul", parameters={"n": n, "device": device}, seconds=(seconds, seconds, seconds))
        for device, seconds_by_size in devices
        for n, seconds in seconds_by_size.items()
    )
    configuration = {"global_batch_size": None}
    workload = {"phase": "kernel", "backbone": None, "image_shape": None}
    return records.record("matmul", workload=workload, configuration=configuration, series=series)


@pytest.mark.parametrize(
    ("devices", "sentence"),
    [
        (
            (("cpu", {10: 1.0, 100: 2.0}), ("gpu", {10: 2.0, 100: 1.0, 1000: 1.0})),
            "on laptop (strategy one-device, float32) the CPU still wins at n = 10, the GPU from n = 100 on; "
            "sizes from 10 to 100 were computed on both.",
        ),
        (
            (("cpu", {10: 1.0}), ("tpu", {10: 2.0})),
            "the TPU never passes it for good; sizes from 10 to 10 were computed on both, and at the last it "
            "still wins.",
        ),
        ((("cpu", {10: 1.0}), ("gpu", {10: 0.5})), "the GPU wins at every size"),
        ((("cpu", {10: 1.0}), ("gpu", {20: 0.5})), "no size was computed on both"),
        (
            (("cpu", {10: 1.0, 1000: 2.0}),),
            "There is nothing to compare on laptop: matrices were multiplied on one kind of device only. Its "
            "best rate, 2.00 GFLOP/s, came at n = 1,000.",
        ),
    ],
    ids=["crosses", "never", "always", "no common size", "one device"],
)
def test_matrix_products_say_from_where_an_accelerator_is_faster(records, devices, sentence):
    rows = summarise([kernel(records, *devices)])
    (table,) = build_tables(pool(rows))
    (conclusion,) = table.conclusions
    assert sentence in conclusion
    assert sentence in markdown_table(table).replace("\\", "")
    assert sentence in " ".join(terminal(rows, 120).split())


def test_how_settings_were_chosen_is_told_once_for_all_readings_of_a_run(records):
    tuning = Tuning(trials=(), chosen={"jit": True}, why="Chosen on 2026-11-25: jit becomes on.")
    run = records.record(series=(records.series("a"), records.series("b")), tuning=tuning)
    (table,) = build_tables(pool(summarise([run])))
    assert table.conclusions == (
        "Settings of train-step cifar_cnn@32 on one-device, laptop. Chosen on 2026-11-25: jit becomes on.",
    )
    place = table.headers.index("details")
    assert all(row[place].endswith("; tuned") for row in table.rows)


def test_a_set_up_that_differs_is_told_in_the_table_and_the_terminal(records):
    runs = [
        records.record(
            series=(records.series(),), environment=records.environment(versions={"keras": version})
        )
        for version in ("3.14", "3.15")
    ]
    (table,) = build_tables(pool(summarise(runs)))
    place = table.headers.index("set-up")
    assert [row[place] for row in table.rows] == ["keras 3.14", "keras 3.15"]
    text = terminal(summarise(runs))
    assert re.findall(r"50.0 % ⚠1 (#\d)", text) == ["#1", "#2"]
    assert text.splitlines()[-2:] == ["#1 keras 3.14", "#2 keras 3.15"]
    assert "set-up" not in build_tables(pool(summarise(runs[:1])))[0].headers


def test_the_cost_of_the_fence_stands_beside_the_step(records):
    record = records.record(series=(records.series(),), fence_seconds=(0.001, 0.002, 0.009))
    assert cells(summarise([record]))["fence (% of a step)"] == "0.40"
    assert "fence (% of a step)" not in cells(summarise([records.record(series=(records.series(),))]))


def test_the_time_to_accuracy_says_from_when_it_counts(records):
    record = records.record("time-to-accuracy", metrics=(Metric(name="time_to_accuracy_seconds", value=9.0),))
    (table,) = build_tables(summarise([record]))
    assert "from the start of the first epoch" in table.explanation
    assert "tracing, the first step and the validation" in table.explanation


def test_a_terminal_says_how_many_rows_it_leaves_to_the_files(records, monkeypatch):
    monkeypatch.setattr("bench.reporting.tables.ROW_LIMIT", 2)
    machines = [records.environment(label) for label in ("one", "two", "three", "four", "five")]
    text = terminal(
        summarise([records.record(series=(records.series(),), environment=one) for one in machines])
    )
    assert text.count("train-step") == 2
    assert "3 more rows are in report.csv." in text


def test_repeats_are_one_line_of_the_terminal(records):
    runs = [records.record(repeat=repeat, series=(records.series(),)) for repeat in range(3)]
    assert terminal(summarise(runs)).count("examples/s") == 1
