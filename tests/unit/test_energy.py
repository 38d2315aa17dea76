"""Meters that we turn ourselves: a folder like Linux's, an NVML like NVIDIA's."""

import threading
from types import SimpleNamespace

import pytest

from bench.measuring.energy import EnergyReading, Meter, find_meters


def make_domain(root, folder, name, microjoules, reach=1_000_000):
    domain = root / folder
    domain.mkdir(parents=True)
    (domain / "name").write_text(f"{name}\n")
    (domain / "energy_uj").write_text(f"{microjoules}\n")
    (domain / "max_energy_range_uj").write_text(f"{reach}\n")
    return domain / "energy_uj"


def nvml_with(*boards):
    """Returns a module like `pynvml`, whose handle of a board is the board itself."""

    def show(name):
        def read(board):
            if getattr(board, name) is None:
                raise RuntimeError("Not Supported")
            return getattr(board, name)

        return read

    return SimpleNamespace(
        nvmlInit=lambda: None,
        nvmlDeviceGetCount=lambda: len(boards),
        nvmlDeviceGetHandleByIndex=lambda index: boards[index],
        nvmlDeviceGetName=lambda board: board.model,
        nvmlDeviceGetTotalEnergyConsumption=show("millijoules"),
        nvmlDeviceGetPowerUsage=show("milliwatts"),
    )


def board(model="Example GPU", millijoules=None, milliwatts=None):
    """Returns a board; what is None is not supported."""
    return SimpleNamespace(model=model, millijoules=millijoules, milliwatts=milliwatts)


def showing(*values, **kind):
    shown = iter(values)
    return Meter(method="rapl", scope="package-0", read=lambda: next(shown), **kind)


def read_over(meter, *moments):
    """Reads a meter at these moments only: the thread in between would take an hour."""
    clock = iter(moments)
    with EnergyReading([meter], clock=lambda: next(clock), interval_seconds=3600) as reading:
        reading.begin()
    return reading.energies("compute")


def test_only_whole_packages_are_metered(tmp_path):
    make_domain(tmp_path, "intel-rapl:0", "package-0", 5)
    make_domain(tmp_path, "intel-rapl:0:0", "core", 5)
    make_domain(tmp_path, "intel-rapl:1", "package-1", 5)
    make_domain(tmp_path, "intel-rapl:2", "psys", 5)
    make_domain(tmp_path, "intel-rapl-mmio:0", "package-0", 5)
    meters = find_meters([], powercap=tmp_path)
    assert [(meter.method, meter.scope) for meter in meters] == [("rapl", "package-0"), ("rapl", "package-1")]


def test_a_counter_that_may_not_be_read_is_absent(tmp_path):
    make_domain(tmp_path, "intel-rapl:0", "package-0", 5).unlink()
    (tmp_path / "intel-rapl:0" / "energy_uj").mkdir()  # even root cannot read a folder as a file
    assert find_meters([], powercap=tmp_path) == ()


def test_without_any_power_domain_there_is_no_meter(tmp_path):
    assert find_meters([], powercap=tmp_path / "none") == ()


def test_a_package_gives_the_difference_of_its_counter_in_joules(tmp_path):
    counter = make_domain(tmp_path, "intel-rapl:0", "package-0", 250_000)
    (meter,) = find_meters([], powercap=tmp_path)
    with EnergyReading([meter], interval_seconds=3600) as reading:
        reading.begin()
        counter.write_text("750000\n")
    (energy,) = reading.energies("both")
    assert energy.joules == pytest.approx(0.5)
    assert (energy.series, energy.method, energy.scope, energy.samples) == ("both", "rapl", "package-0", 2)


def test_a_counter_that_wrapped_around_goes_on_from_zero():
    (energy,) = read_over(showing(900.0, 100.0, range_joules=1000.0), 10.0, 14.0)
    assert energy.joules == pytest.approx(200.0)
    assert energy.seconds == pytest.approx(4.0)


def test_a_counter_that_was_set_back_gives_nothing():
    assert read_over(showing(900.0, 100.0), 10.0, 14.0) == ()


def test_a_meter_that_fails_within_the_series_gives_nothing():
    assert read_over(showing(900.0), 10.0, 14.0) == ()  # there is no second value


def test_power_is_integrated_over_time():
    (energy,) = read_over(showing(100.0, 200.0, reads_power=True), 10.0, 14.0)
    assert energy.joules == pytest.approx(600.0)


def test_what_a_meter_shows_before_the_timing_begins_is_not_counted():
    with EnergyReading([showing(1.0, 2.0)]) as reading:
        pass
    assert reading.energies("compute") == ()


def test_meters_are_read_again_and_again_while_the_series_runs():
    read, often = [], threading.Event()

    def value():
        read.append(float(len(read)))
        if len(read) >= 4:
            often.set()
        return read[-1]

    meter = Meter(method="rapl", scope="package-0", read=value)
    with EnergyReading([meter], interval_seconds=1e-4) as reading:
        reading.begin()
        assert often.wait(5)
    (energy,) = reading.energies("compute")
    assert energy.samples == len(read) >= 5
    assert energy.joules == pytest.approx(read[-1])


def test_a_board_with_an_energy_counter_is_read_by_it(tmp_path):
    nvml = nvml_with(board(millijoules=2_000, milliwatts=50_000))
    (meter,) = find_meters([0], powercap=tmp_path, nvml=nvml, environ={})
    assert (meter.method, meter.scope, meter.read()) == ("nvml", "GPU 0 (board)", 2.0)


def test_a_board_without_a_counter_is_read_by_its_power(tmp_path):
    (meter,) = find_meters([0], powercap=tmp_path, nvml=nvml_with(board(milliwatts=50_000)), environ={})
    assert (meter.method, meter.reads_power, meter.read()) == ("nvml-power", True, 50.0)


def test_a_slice_that_has_no_meter_gives_none(tmp_path):
    assert find_meters([0], powercap=tmp_path, nvml=nvml_with(board()), environ={}) == ()


def test_only_the_boards_that_the_run_uses_are_metered(tmp_path):
    nvml = nvml_with(*(board(millijoules=number) for number in range(4)))

    def scopes(gpus, **environ):
        return [meter.scope for meter in find_meters(gpus, powercap=tmp_path, nvml=nvml, environ=environ)]

    assert scopes([]) == []
    assert scopes([1]) == ["GPU 1 (board)"]
    assert scopes([0, 1], CUDA_VISIBLE_DEVICES="3,1") == ["GPU 3 (board)", "GPU 1 (board)"]
    assert scopes([0], CUDA_VISIBLE_DEVICES="GPU-8f6d") == []  # which one that is cannot be told


def test_among_unlike_boards_their_order_must_be_known(tmp_path):
    nvml = nvml_with(board("small", 1), board("large", 1))
    known = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    assert find_meters([0], powercap=tmp_path, nvml=nvml, environ={}) == ()
    assert len(find_meters([0], powercap=tmp_path, nvml=nvml, environ=known)) == 1


def test_a_machine_without_a_driver_has_no_board_meter(tmp_path):
    assert find_meters([0], powercap=tmp_path, nvml=SimpleNamespace(), environ={}) == ()
