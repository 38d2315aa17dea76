"""Price × time, worked out by hand."""

import pytest

from bench.analysis.economics import Prices, find_costs, parse_prices
from bench.analysis.pooling import pool
from bench.analysis.summary import summarise
from bench.records.record import Accelerator, Energy, Metric
from bench.reporting.contents import collect_contents
from bench.reporting.costs import cost_table
from bench.reporting.html import write_report
from tpuens.errors import ConfigurationError


@pytest.fixture
def on_gpus(records):
    """Returns a function that makes the record of a run on so many GPUs of a machine that has eight."""

    def make(count=1, model="NVIDIA H100 80GB HBM3", label="server", **fields):
        gpus = (Accelerator(kind="gpu", model=model),) * 8
        how = {"strategy": "gpu" if count == 1 else "gpu-mirrored", "num_replicas": count}
        whole = {"series": (records.series(),), "configuration": how}
        return records.record(environment=records.environment(label, accelerators=gpus), **(whole | fields))

    return make


def tariff_of(record, **given):
    return Prices(given, {record.environment.machine_label}).of(record.environment, record.configuration)


def costs_of(*runs, **given):
    prices = Prices(given, {run.environment.machine_label for run in runs})
    return find_costs(pool(summarise(runs)), runs, prices)


def test_a_machine_of_ones_own_has_no_price_unless_it_is_given(records):
    record = records.record(configuration={"strategy": "cpu"}, series=(records.series(),))
    assert tariff_of(record) is None
    tariff = tariff_of(record, laptop=0.36)
    assert tariff.dollars_per_hour == 0.36
    assert tariff.dollars(10) == pytest.approx(0.001)
    assert "given by the user" in tariff.origin


def test_the_catalogue_gives_the_cheapest_machine_and_says_whose_price_it_is(on_gpus):
    tariff = tariff_of(on_gpus())
    assert tariff.dollars_per_hour == 3.99
    for word in ("RunPod", "region not stated", "3.99 USD/h on 2026-11-09", "runpod.io/pricing"):
        assert word in tariff.origin


def test_machines_are_rented_as_a_whole(on_gpus):
    forty = on_gpus(model="NVIDIA A100-SXM4-40GB")
    tariff = tariff_of(forty)
    assert tariff.dollars_per_hour == 21.957642
    assert "7 of its devices stand idle" in tariff.origin
    all_of_it = tariff_of(on_gpus(8, model="NVIDIA A100-SXM4-40GB"))
    assert all_of_it.dollars_per_hour == 21.957642
    assert "idle" not in all_of_it.origin


def test_devices_of_one_run_are_rented_in_one_machine_where_there_is_one(on_gpus):
    tariff = tariff_of(on_gpus(8))  # eight times the cheapest with one would be less, and no machine
    assert tariff.dollars_per_hour > 8 * tariff_of(on_gpus()).dollars_per_hour
    assert "8 × NVIDIA H100 SXM" in tariff.origin
    assert tariff.origin.startswith("AWS")


def test_as_many_machines_are_rented_as_the_devices_need(on_gpus):
    tariff = tariff_of(on_gpus(8), **{"p5.4xlarge": 2.0})
    assert tariff.dollars_per_hour == 16.0
    assert tariff.origin.startswith("8 × AWS p5.4xlarge")


def test_the_machine_that_the_user_prices_is_the_one_that_is_rented(on_gpus):
    tariff = tariff_of(on_gpus(), **{"p5.4xlarge": 6.0})  # though another one is cheaper
    assert tariff.dollars_per_hour == 6.0
    assert tariff.origin.endswith("6 USD/h, given by the user")


def test_a_given_price_of_a_device_is_of_each_board(on_gpus):
    assert tariff_of(on_gpus(4), H200=9.0, **{"NVIDIA H100 SXM": 1.5}).dollars_per_hour == 6.0


def test_two_devices_of_one_board_cost_one_board(records):
    environment = records.environment(accelerators=(Accelerator(kind="gpu", model="Tesla K80"),) * 2)
    record = records.record(
        environment=environment, configuration={"strategy": "gpu-mirrored", "num_replicas": 2}
    )
    assert tariff_of(record, K80=0.45).dollars_per_hour == 0.45


def test_the_label_of_a_machine_goes_before_sku_and_device(on_gpus):
    tariff = tariff_of(on_gpus(8), server=2.5, **{"p5.48xlarge": 40, "NVIDIA H100 SXM": 1})
    assert tariff.dollars_per_hour == 2.5


def test_a_device_without_a_price_has_none(on_gpus):
    assert tariff_of(on_gpus(model="Tesla T4")) is None
    assert tariff_of(on_gpus(model="Example GPU 200")) is None


def test_the_processor_of_a_gpu_machine_does_not_cost_the_gpu(on_gpus):
    assert tariff_of(on_gpus(configuration={"strategy": "cpu"})) is None


def test_a_price_of_nothing_that_is_known_is_refused(records):
    with pytest.raises(ConfigurationError, match=r"Unknown machine, SKU or device.*Received: price='h1000'"):
        Prices({"h1000": 1.0}, {"laptop"})


@pytest.mark.parametrize("text", ["g6.xlarge", "=1.2", "g6.xlarge=cheap", "g6.xlarge=-1", "g6.xlarge=nan"])
def test_a_price_that_is_none_is_refused(text):
    with pytest.raises(ConfigurationError, match="Expected NAME=DOLLARS"):
        parse_prices([text])


def test_the_last_equals_sign_parts_name_and_price():
    assert parse_prices(["my=box=1.5", "NVIDIA T4 = 0.35"]) == {"my=box": 1.5, "NVIDIA T4": 0.35}


def test_dollars_follow_from_all_examples_over_all_time(on_gpus):
    # 600 examples in 3 s are 200/s; a million take 5,000 s, and those cost 5000/3600 of 3.6 dollars.
    run = on_gpus(scenario="train-epoch", workload={"options": {"examples": 2000}})
    (cost,) = costs_of(run, server=3.6)
    assert cost.per_million == pytest.approx(5.0)
    assert cost.per_epoch == pytest.approx(0.01)


def test_the_pipeline_alone_costs_nothing_by_itself(on_gpus, records):
    assert costs_of(on_gpus(series=(records.series("input"),)), server=3.6) == []


def test_dollars_to_a_target_need_that_it_was_reached(on_gpus):
    reached = on_gpus(
        scenario="time-to-accuracy",
        series=(),
        metrics=(Metric(name="time_to_accuracy_seconds", value=100.0),),
    )
    (cost,) = costs_of(reached, server=3.6)
    assert cost.to_accuracy == pytest.approx(0.1)
    assert costs_of(on_gpus(scenario="time-to-accuracy", series=()), server=3.6) == []


def metered(joules, series="compute", scope="GPU 0 (board)"):
    return Energy(series=series, joules=joules, seconds=3.0, method="nvml", scope=scope, samples=12)


def test_energy_is_that_of_all_meters_over_all_examples(on_gpus):
    run = on_gpus(energy=(metered(1000.0), metered(200.0, scope="package-0"), metered(7.0, "other")))
    (cost,) = costs_of(run)
    assert cost.joules_per_example == pytest.approx(2.0)
    assert cost.meters == ("nvml: GPU 0 (board)", "nvml: package-0")


def test_repeats_that_were_metered_unlike_give_no_energy(on_gpus):
    runs = [on_gpus(energy=(metered(600.0),)), on_gpus(energy=(metered(600.0, scope="package-0"),))]
    (cost,) = costs_of(*runs)  # the price is known
    assert cost.joules_per_example is None


def test_a_report_says_what_runs_cost_and_whose_price_it_is(tmp_path, on_gpus):
    runs = [on_gpus(energy=(metered(1200.0),))]
    write_report(tmp_path, collect_contents(runs, prices={"server": 3.6}))
    page = (tmp_path / "report.md").read_text()
    table = page[page.index("## Cost and energy") :]
    assert "| 5.00 | 2.00 | nvml: GPU 0 (board) | server: 3.6 USD/h, given by the user |" in table


def test_without_price_and_meter_there_is_no_table_of_costs(records):
    run = records.record(series=(records.series(),))
    assert cost_table(pool(summarise([run])), [run], {}) is None
