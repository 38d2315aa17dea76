"""What preflight makes of the compiler's answers: rooflines, lines, reports."""

from pathlib import Path

import msgspec
import pytest

from bench.analysis.economics import Prices
from bench.execution.limits import Limits
from bench.preflight.fitting import MOST_COMPILES
from bench.preflight.lines import line_facts, make_lines
from bench.preflight.messages import Compiled, Memory
from bench.preflight.modelling import check_models, exchange_seconds, model_step
from bench.preflight.report import make_sentences, make_tables, write_reports
from bench.preflight.results import Attempt, PreflightResult, read_results, save_result
from bench.preflight.targets import TARGETS
from tpuens.errors import ConfigurationError

GIB = 2**30
LIMITS = Limits(seconds=20, memory_bytes=4 * GIB)
PRICES = Prices({"TPU v3": 2.0}, [])


def memory(peak: float, arguments: float = 1.0) -> Memory:
    return Memory(
        peak=int(peak * GIB),
        arguments=int(arguments * GIB),
        outputs=0,
        aliased=0,
        temporaries=0,
        code=0,
    )


def result(**changes: object) -> PreflightResult:
    compiled = Compiled(status="ok", memory=memory(4), flops=8e12, bytes_accessed=45e9)
    plain = PreflightResult(
        created="2026-11-25T00:00:00Z",
        target="v3",
        backbone="resnet50",
        image_size=224,
        dtype_policy="mixed_bfloat16",
        batch_size=128,
        status="ok",
        attempts=(Attempt(batch_size=128, graph="0123", compiled=compiled),),
        gradient_bytes=100_000_000,
    )
    return msgspec.structs.replace(plain, **changes)


def test_a_roofline_takes_the_longest_of_arithmetic_memory_and_exchange() -> None:
    one = result()
    model = model_step(one.attempts[0].compiled, 128, one, PRICES)
    assert model is not None
    assert model.compute_seconds == pytest.approx(8e12 / 61.5e12)  # a core is half a chip
    assert model.bound == "arithmetic"
    assert model.examples_per_second == pytest.approx(128 / (8e12 / 61.5e12))
    # The price is a chip's, whose other core does as much.
    assert model.chip_examples_per_second == pytest.approx(2 * model.examples_per_second)
    assert model.dollars_per_million == pytest.approx(2.0 / 3600 * 1e6 / model.chip_examples_per_second)


def test_a_chip_costs_its_share_of_a_machine_that_is_used_whole() -> None:
    one = result()
    model = model_step(one.attempts[0].compiled, 128, one, Prices({}, []))
    assert model is not None
    assert model.chip_tariff is not None
    assert model.chip_tariff.dollars_per_hour == pytest.approx(2.0)  # a fourth of a v3-8
    assert "v3-8" in model.chip_tariff.origin
    assert model.tariff is not None
    assert model.tariff.dollars_per_hour == pytest.approx(8.0)  # of one core the whole machine is rented
    assert "3 of its devices stand idle" in model.tariff.origin


def test_where_the_memory_is_the_longest_the_arithmetic_alone_is_still_told() -> None:
    compiled = msgspec.structs.replace(result().attempts[0].compiled, bytes_accessed=450e9)
    model = model_step(compiled, 128, result(), PRICES)
    assert model is not None
    assert (model.bound, model.seconds) == ("memory", pytest.approx(1.0))
    assert model.chip_examples_per_second == pytest.approx(256)
    assert model.most_chip_examples_per_second == pytest.approx(256 / (8e12 / 61.5e12))


def test_a_device_whose_bandwidth_nobody_read_has_no_model() -> None:
    assert model_step(result().attempts[0].compiled, 128, result(target="tpu7x"), PRICES) is None


def test_the_exchange_of_gradients_is_known_only_where_a_sheet_was_read() -> None:
    assert exchange_seconds(400_000_000, 4, TARGETS["v5e"]) == pytest.approx(1.5 * 0.4e9 / 100e9)
    assert exchange_seconds(400_000_000, 2, TARGETS["v5e"]) == pytest.approx(0.4e9 / 50e9)  # one link
    assert exchange_seconds(400_000_000, 1, TARGETS["v5e"]) is None
    assert exchange_seconds(400_000_000, 4, TARGETS["v2"]) is None


def test_chips_exchange_and_not_their_cores() -> None:
    # 8 cores are 4 chips; each has two neighbours, at a fourth of 340 TB/s over 1,024 chips.
    assert exchange_seconds(400_000_000, 8, TARGETS["v3"]) == pytest.approx(1.5 * 0.4e9 / 166e9, rel=1e-3)
    assert exchange_seconds(400_000_000, 2, TARGETS["v3"]) is None


def test_a_published_rate_stands_beside_the_model_of_a_whole_chip() -> None:
    one = result()
    model = model_step(one.attempts[0].compiled, 128, one, PRICES)
    (check,) = check_models([(one, model)], [])
    assert model is not None
    assert check.modelled == pytest.approx(2 * model.examples_per_second)
    assert check.ratio == pytest.approx(check.modelled / 1952)


def test_a_report_is_of_all_results_in_its_folder_network_by_network() -> None:
    lines = make_lines([result(target=name, backbone=one) for name in ("v5e", "v3") for one in "ba"], PRICES)
    order = [(line.result.backbone, line.result.target) for line in lines]
    assert order == [("a", "v3"), ("a", "v5e"), ("b", "v3"), ("b", "v5e")]


def test_a_result_comes_back_from_its_file_and_says_that_it_is_modelled(tmp_path: Path) -> None:
    assert save_result(tmp_path, result()) == result()
    (path,) = tmp_path.iterdir()
    assert path.name == "modelled-v3-resnet50-224-mixed_bfloat16-b128.json"
    assert "modelled, not measured" in path.read_text()
    assert read_results(tmp_path) == [result()]
    path.write_text("{}")
    with pytest.raises(ConfigurationError, match="Remove it"):
        read_results(tmp_path)


def test_every_report_says_that_its_numbers_are_modelled(tmp_path: Path) -> None:
    write_reports(tmp_path, [result(), result(target="v2", batch_size=64, replicas=8)], PRICES, [])
    for name in ("modelled.html", "modelled.md", "modelled.json"):
        text = (tmp_path / name).read_text()
        assert "modelled, not measured" in text
        assert "resnet50" in text
    lines = make_lines([result(attempts=(), status="failed", reason="It was killed.")], PRICES)
    assert "It was killed." in make_sentences(lines)[0]


def test_the_rate_at_the_largest_batch_stands_beside_that_of_the_one_asked_for() -> None:
    fits = Compiled(status="ok", memory=memory(14), flops=16e12, bytes_accessed=90e9)
    attempts = (*result().attempts, Attempt(batch_size=512, graph="4567", compiled=fits))
    (line,) = make_lines([result(attempts=attempts)], PRICES)
    assert line.at_largest is None  # a larger one may fit
    refused = Attempt(batch_size=900, graph="cdef", compiled=Compiled(status="too large"))
    (line,) = make_lines([result(attempts=(*attempts, refused))], PRICES)
    assert line.at_largest is None  # the search has not come to its end
    refused = Attempt(batch_size=576, graph="89ab", compiled=Compiled(status="too large"))
    (line,) = make_lines([result(attempts=(*attempts, refused))], PRICES)
    assert line.model is not None
    assert line.at_largest is not None
    assert line.at_largest.examples_per_second == pytest.approx(2 * line.model.examples_per_second)
    (table,) = make_tables([line], [])
    row = dict(zip(table.headers, table.rows[0], strict=True))
    assert (row["largest batch"], row["images/s a chip"]) == ("512 (not 576)", "1,970")
    assert row["at the largest batch"] == "3,940"
    assert table.title.startswith("Does it compile, does it fit, in mixed_bfloat16 (")
    assert "dtype policy" not in row  # one for all
    several = make_lines([result(), result(dtype_policy="float32")], PRICES)
    assert "dtype policy" in make_tables(several, [])[0].headers
    facts = line_facts(line)
    assert facts["modelled_at_largest_batch"]["bound"] == "arithmetic"
    assert facts["largest_batch_that_fits"] == 512


def test_how_far_the_search_for_the_largest_batch_came_is_told() -> None:
    def largest(*said: tuple[int, str]) -> str:
        attempts = tuple(
            Attempt(batch_size=batch, graph="g", compiled=Compiled(status=status)) for batch, status in said
        )
        (line,) = make_lines([result(attempts=attempts)], PRICES)
        return line.largest

    assert largest((8, "ok")) == ""
    assert largest((8, "stopped")) == ""
    assert largest((8, "too large")) == "under 8"
    assert largest((8, "ok"), (96, "too large")) == "8 or more (not 96)"  # under way, or stopped there
    assert largest((8, "ok"), (96, "too large"), (88, "ok")) == "88 (not 96)"
    assert largest((8, "too large"), (1, "too large")) == "none: not even 1"
    fits = [(2**power, "ok") for power in range(MOST_COMPILES)]
    assert largest(*fits) == f"{fits[-1][0]} or more"


def test_advice_names_its_networks_where_it_is_not_for_all_and_compilers_are_named() -> None:
    lines = make_lines(
        [
            result(advice=("For all.",), versions={"libtpu": "0.0.42.1"}),
            result(backbone="vgg16", advice=("For all.", "For one.")),
        ],
        PRICES,
    )
    sentences = make_sentences(lines)
    assert "For all." in sentences
    assert "vgg16@224: For one." in sentences
    assert "Traced and compiled with libtpu 0.0.42.1, on 2026-11-25." in sentences


def test_the_table_fits_a_terminal() -> None:
    from rich.console import Console

    from bench.reporting.choice import terminal_choices

    lines = make_lines([result(backbone="mobilenetv2", image_size=224)], PRICES)
    console = Console(width=80)
    with console.capture() as captured:
        console.print(terminal_choices(make_tables(lines, [], brief=True)[0]))
    for text in ("mobilenetv2@224", "v3", "128", "yes", "4.00 of 15.48", "images/s"):
        assert text in captured.get()
