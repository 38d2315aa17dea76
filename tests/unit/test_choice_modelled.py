"""Modelled rows beside measured ones, in what `tpuens-bench choose` says."""

import json
import subprocess
import sys

import pytest

from bench.analysis.choice import Plan
from bench.analysis.economics import Prices
from bench.cli import app
from bench.preflight.choosing import model_choices
from bench.preflight.messages import Compiled
from bench.preflight.results import Attempt, PreflightResult, save_result
from bench.records.store import write_record
from tpuens.errors import ConfigurationError


@pytest.fixture
def measured(tmp_path, records):
    """Returns a result folder with a training at 64 examples a second."""
    series = records.series("both", steps=(1,), examples=(64,), seconds=(1.0,))
    record = records.record("train-epoch", configuration={"strategy": "cpu"}, series=(series,))
    write_record(tmp_path / "mine", record)
    return str(tmp_path / "mine")


def choose(*arguments, capsys):
    with pytest.raises(SystemExit) as end:
        app(["choose", "--examples", "640", "--epochs", "10", *arguments])
    assert end.value.code == 0
    return capsys.readouterr().out


def preflight(target="v5e", status="ok", *, flops=197e10, replicas=1, batch=64, **fields):
    """Returns a step that takes a TPU v5e 10 ms: 6,400 examples a second."""
    bytes_accessed = 1.0 if flops else None
    compiled = Compiled(
        status=status, flops=flops, bytes_accessed=bytes_accessed, **fields.pop("compiled", {})
    )
    return PreflightResult(
        created="2026-11-25T00:00:00Z",
        target=target,
        backbone=fields.pop("backbone", "cifar_cnn"),
        image_size=32,
        dtype_policy=fields.pop("dtype_policy", "mixed_bfloat16"),
        batch_size=batch,
        replicas=replicas,
        status="ok" if status in ("ok", "too large") else "failed",
        attempts=(Attempt(batch_size=batch, graph="0123", compiled=compiled),),
        **fields,
    )


def model(*results, prices=(), **plan):
    whole = Plan(**{"examples": 640, "epochs": 10, "target_accuracy": 0.9, **plan})
    return model_choices(results, whole, Prices(dict(prices), set()))


def test_a_modelled_row_is_a_bound_that_counts_nothing_it_does_not_know():
    (choice,), left_out = model(preflight(), prices={"TPU v5e": 1.2}, budget=0.0001)
    assert (choice.modelled, choice.device, left_out) == (True, "TPU v5e, 1 chip", [])
    assert choice.seconds == pytest.approx(1)
    assert choice.dollars == pytest.approx(1.2 / 3600)
    assert choice.over_budget
    unknown = (choice.accuracy, choice.spread, choice.input_need, choice.start_up_seconds)
    assert unknown == (None, None, None, None)
    assert choice.reading == "modelled; start-up and input not counted"
    (rented,), _ = model(preflight())  # at the catalogue's price
    assert rented.tariff.dollars_per_hour == 1.2
    assert "Google Cloud v5litepod-1" in rented.tariff.origin


def test_modelled_replicas_are_cores_or_chips_and_an_exchange_of_unknown_cost_is_said():
    (choice,), _ = model(preflight("v3", flops=61.5e10, replicas=8), prices={"TPU v3": 2.0})
    assert choice.device == "TPU v3, 8 cores (4 chips)"
    assert choice.tariff.dollars_per_hour == 8.0
    assert choice.examples_per_second == pytest.approx(8 * 6400)
    assert choice.configuration.global_batch_size == 512
    assert "exchange of gradients not counted" in choice.reading
    (known,), _ = model(preflight(replicas=4, gradient_bytes=10**6))
    assert "exchange" not in known.reading


def test_what_was_compiled_for_one_core_stands_for_all_that_are_paid_for():
    (choice,), _ = model(preflight("v3", flops=61.5e10, gradient_bytes=10**6))
    assert "v3-8" in choice.tariff.origin
    assert "idle" not in choice.tariff.origin
    assert choice.device == "TPU v3, 8 cores (4 chips)"
    assert choice.examples_per_second == pytest.approx(8 * 6400)
    (alone,), _ = model(preflight("v3", flops=61.5e10), prices={"TPU v3": 2.0})  # the user pays by the chip
    assert (alone.device, alone.tariff.dollars_per_hour) == ("TPU v3, 2 cores (1 chip)", 2.0)


def test_of_several_modelled_batches_each_device_has_its_fastest():
    results = [preflight(batch=128), preflight(), preflight("v6e", flops=918e10), preflight(replicas=2)]
    choices, _ = model(*results)
    assert [(one.device, one.examples_per_second) for one in choices] == [
        ("TPU v5e, 1 chip", pytest.approx(12800)),
        ("TPU v6e, 1 chip", pytest.approx(6400)),
        ("TPU v5e, 2 chips", pytest.approx(12800)),
    ]


def test_what_does_not_compile_or_fit_is_left_out_and_named():
    needs = {"needed_bytes": 20 * 2**30}
    choices, left_out = model(
        preflight(status="too large", compiled=needs),
        preflight("v3", "refused", compiled={"message": "INVALID_ARGUMENT: no such operation.\nAnd more."}),
        preflight(flops=None),
        preflight("static"),
        preflight("v2", "refused", backbone="vgg16"),  # was not asked for
        backbone="cifar_cnn",
    )
    assert choices == []
    assert left_out == [
        "Left out: modelled cifar_cnn@32 in mixed_bfloat16, batch 64, for v5e: it does not fit: "
        "20.00 of 15.75 GiB.",
        "Left out: modelled cifar_cnn@32 in mixed_bfloat16, batch 64, for v3: the compile was refused: "
        "INVALID_ARGUMENT: no such operation.",
        "Left out: modelled cifar_cnn@32 in mixed_bfloat16, batch 64, for v5e: the compiler counted nothing, "
        "or a peak of the device is not known.",
        "Left out: modelled cifar_cnn@32 in mixed_bfloat16, batch 64, for static: it was compiled for no "
        "device that this version knows.",
    ]


def test_modelled_rows_stand_beside_measured_ones_only_where_asked_for_and_are_marked(
    measured, tmp_path, capsys
):
    save_result(tmp_path / "preflight", preflight())
    save_result(tmp_path / "preflight", preflight("v3", "too large"))
    assert "modelled" not in choose(measured, "--markdown", capsys=capsys)
    arguments = [measured, "--modelled", str(tmp_path / "preflight"), "--price", "TPU v5e=1.2"]
    markdown = choose(*arguments, "--markdown", capsys=capsys)
    (row,) = [line for line in markdown.splitlines() if "TPU v5e, 1 chip" in line]
    assert row.startswith("| modelled |")
    assert "| ≈ 6,400 |" in row
    assert "| 1 (modelled) |" in row
    assert "its time counts neither start-up nor input" in markdown
    assert "no accuracy, no spread and no host cores" in markdown
    assert "for v3: it does not fit" in markdown
    out = choose(*arguments, capsys=capsys)
    assert "≈ 6,400" in out
    assert "exchange" not in out
    told = json.loads(choose(*arguments, "--json", capsys=capsys))
    (by_model,) = [one for one in told["choices"] if one["modelled"]]
    assert (by_model["measured"], by_model["top_1_accuracy"], by_model["hosts"]) == (None, None, 0)
    assert by_model["dollars"] == pytest.approx(1.2 / 3600)
    assert all(one["measured"] for one in told["choices"] if not one["modelled"])
    assert "for v3: it does not fit" in told["left_out"][0]


def test_an_exchange_of_unknown_cost_is_a_note_of_its_row(measured, tmp_path, capsys):
    save_result(tmp_path / "preflight", preflight("v2", replicas=8))
    markdown = choose(measured, "--modelled", str(tmp_path / "preflight"), "--markdown", capsys=capsys)
    (row,) = [line for line in markdown.splitlines() if "8 cores" in line]
    assert "exchange of gradients not counted" in row


def test_a_folder_without_results_of_preflight_is_refused(measured, tmp_path):
    arguments = ["choose", "--examples", "640", "--epochs", "10", measured, "--modelled"]
    with pytest.raises(ConfigurationError, match=r"no modelled-\*\.json.*Received: modelled=.*mine"):
        app([*arguments, measured])


def test_choosing_imports_no_tensorflow(measured, tmp_path):
    code = (
        "import sys; from bench.cli import app\n"
        "try: app(sys.argv[1:])\n"
        "finally: assert not {'tensorflow', 'keras', 'pandas'} & set(sys.modules)"
    )
    save_result(tmp_path / "preflight", preflight())
    modelled = ["--modelled", str(tmp_path / "preflight")]
    arguments = ["choose", measured, "--examples", "1", "--epochs", "1", *modelled]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
