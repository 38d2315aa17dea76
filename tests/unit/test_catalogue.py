import datetime
import re

import pytest

from bench.analysis.labels import machine_text
from bench.records.record import Accelerator
from tpuens.hardware.catalogue import describe_devices, find_device, load_catalogue


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("Tesla K80", "NVIDIA K80"),
        ("Tesla P100-PCIE-16GB", "NVIDIA P100 PCIe"),
        ("Tesla P100-SXM2-16GB", "NVIDIA P100 SXM2"),
        ("Tesla T4", "NVIDIA T4"),
        ("Tesla V100-SXM2-16GB", "NVIDIA V100 SXM2 16GB"),
        ("Tesla V100-SXM2-32GB", "NVIDIA V100 SXM2 32GB"),
        ("NVIDIA A100-SXM4-40GB", "NVIDIA A100 40GB"),
        ("A100-PCIE-40GB", "NVIDIA A100 40GB"),
        ("NVIDIA A100-SXM4-80GB", "NVIDIA A100 SXM 80GB"),
        ("NVIDIA A100 80GB PCIe", "NVIDIA A100 PCIe 80GB"),
        ("NVIDIA L4", "NVIDIA L4"),
        ("NVIDIA H100 80GB HBM3", "NVIDIA H100 SXM"),
        ("NVIDIA H200", "NVIDIA H200"),
        ("TPU v2", "TPU v2"),
        ("v3-8", "TPU v3"),
        ("TPU v4", "TPU v4"),
        ("TPU v5 lite", "TPU v5e"),
        ("v5litepod-8", "TPU v5e"),
        ("TPU v5", "TPU v5p"),
        ("TPU v5p", "TPU v5p"),
        ("TPU v6 lite", "TPU v6e"),
        ("TPU7x", "TPU7x"),
    ],
)
def test_a_device_is_found_by_what_nvml_tensorflow_and_jax_call_it(name, found):
    facts = find_device(name)
    assert facts is not None
    assert facts.name == found


@pytest.mark.parametrize(
    "name",
    [
        "NVIDIA L40S",
        "NVIDIA H100 PCIe",
        "NVIDIA H200 NVL",
        "NVIDIA GH200 480GB",
        "Tesla V100-PCIE-16GB",
        "Tesla P100-PCIE-12GB",
        "NVIDIA H100 80GB HBM3 MIG 1g.10gb",
        "GRID T4-16Q",
        "TPU (v2 or v3)",
        "TPU v4 lite",
        "TPU",
        "AMD Radeon",
        "",
    ],
)
def test_a_device_that_only_looks_like_one_we_know_stays_unknown(name):
    assert find_device(name) is None


def test_every_device_is_found_by_its_own_name():
    for facts in load_catalogue().devices:
        assert find_device(facts.name) == facts


def test_every_figure_has_its_source_and_the_month_it_was_read():
    for facts in load_catalogue().devices:
        assert facts.source
        assert re.fullmatch(r"20\d\d-\d\d", facts.date)
        assert set(facts.peak_tflops) <= {"float16", "bfloat16", "tf32", "float32"}
        assert all(peak > 0 for peak in facts.peak_tflops.values())
        assert facts.kind in ("gpu", "tpu")
        if facts.kind == "gpu":
            assert facts.bandwidth_source == "secondary tables"


def test_the_figures_are_those_of_the_sheets():
    h200 = find_device("NVIDIA H200")
    assert h200 is not None
    assert h200.peak_flops_per_second("bfloat16") == 989.5e12
    assert h200.memory_bytes() == 141e9
    assert h200.bandwidth_bytes_per_second() == 4800e9
    a100 = find_device("NVIDIA A100-SXM4-40GB")
    assert a100 is not None
    assert a100.peak_flops_per_second("tf32") == 156e12
    assert a100.bandwidth_bytes_per_second() == 1555e9


@pytest.mark.parametrize(
    ("name", "arithmetic", "peak", "memory", "bandwidth"),
    [
        ("Tesla K80", "float32", 4.37e12, 12e9, 240e9),
        ("TPU v2", "bfloat16", 23e12, 8e9, 350e9),
        ("TPU v3", "bfloat16", 61.5e12, 16e9, 450e9),
    ],
)
def test_a_device_that_is_half_a_board_gets_half_of_its_figures(name, arithmetic, peak, memory, bandwidth):
    facts = find_device(name)
    assert facts is not None
    assert facts.peak_flops_per_second(arithmetic) == peak
    assert facts.memory_bytes() == memory
    assert facts.bandwidth_bytes_per_second() == bandwidth
    assert facts.note is not None
    assert "TensorFlow shows is" in facts.note


@pytest.mark.parametrize(
    ("model", "count", "words"),
    [
        ("TPU v2", 8, "TPU v2, 8 cores (4 chips)"),
        ("TPU v3", 8, "TPU v3, 8 cores (4 chips)"),
        ("TPU v3", 1, "TPU v3, 1 core (1 chip)"),
        ("TPU v4", 4, "TPU v4, 4 chips"),  # megacore: both cores of a chip are one device
        ("TPU v5p", 4, "TPU v5p, 4 chips"),
        ("TPU v5 lite", 1, "TPU v5 lite, 1 chip"),
        ("TPU v6e", 8, "TPU v6e, 8 chips"),
        ("Tesla K80", 4, "Tesla K80, 4 GPUs (2 boards)"),
        ("NVIDIA H200", 8, "8 × NVIDIA H200"),
        ("Example GPU 200", 2, "2 × Example GPU 200"),
    ],
)
def test_cores_and_chips_are_not_taken_for_each_other(model, count, words):
    assert describe_devices(model, count) == words


def test_what_is_not_known_is_none():
    k80, tpu7x, v3 = find_device("Tesla K80"), find_device("TPU7x"), find_device("TPU v3")
    assert k80 is not None
    assert tpu7x is not None
    assert v3 is not None
    assert k80.peak_flops_per_second("float16") is None
    assert tpu7x.bandwidth_bytes_per_second() is None
    assert v3.peak_flops_per_second("float32") is None  # it multiplies float32 in bfloat16 passes


def test_every_price_is_of_a_known_device_with_currency_day_and_source():
    names = {facts.name for facts in load_catalogue().devices}
    for price in load_catalogue().prices:
        assert price.device in names
        assert price.price_per_hour > 0
        assert price.devices >= 1
        assert re.fullmatch(r"[A-Z]{3}", price.currency)
        assert datetime.date.fromisoformat(price.date) <= datetime.date.today()
        assert price.source


def test_a_machine_tells_cores_from_chips(records):
    cores = tuple(Accelerator(kind="tpu", model="TPU v3", memory_bytes=16 * 2**30) for _ in range(8))
    assert "TPU v3, 8 cores (4 chips) of 16 GiB" in machine_text(records.environment(accelerators=cores))
