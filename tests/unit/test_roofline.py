"""Whether numbers are possible, on records whose utilisation can be worked out by hand."""

import msgspec
import pytest

from bench.analysis.pooling import pool
from bench.analysis.roofline import fence_failure, find_peak, plausibility, share_flops, utilisation
from bench.analysis.summary import summarise
from bench.records.record import Accelerator, Flops
from bench.reporting.roofline import draw_rooflines
from bench.reporting.svg import drawing_style
from bench.reporting.tables import build_tables

FENCE = (2e-4,) * 20


def flops(per_example=1e9, of="training step", bytes_per_example=1e7):
    return Flops(
        per_example=per_example, of=of, method="hlo-cost-analysis", bytes_per_example=bytes_per_example
    )


@pytest.fixture
def on_cpu(records):
    """Returns a training at 200 examples/s, 200 GFLOP/s, beside a product of 400 GFLOP/s and 20 GB/s."""

    def make(**fields):
        n = 1000
        product = records.series(
            "matmul", parameters={"n": n, "device": "cpu"}, steps=(20,), examples=(0,), seconds=(0.1,)
        )
        stream = records.series(
            "stream",
            parameters={"bytes": 2 * 10**8, "device": "cpu"},
            steps=(10,),
            examples=(0,),
            seconds=(0.1,),
        )
        common = {
            "workload": {"scenario": "train-step", "backbone": "cifar_cnn", "image_shape": (32, 32, 3)},
            "configuration": {"strategy": "cpu", "num_replicas": 1},
            "series": (records.series(),),
            "references": (product, stream),
            "fence_seconds": FENCE,
            "flops": flops(),
        }
        return records.record(**{**common, **fields})

    return make


@pytest.fixture
def on_gpu(on_cpu, records):
    """Returns a training on an A100 at so many TFLOP/s, whose TF32 peak is 156."""

    def make(tflops, *, arithmetic="tf32", dtype_policy="float32", model="NVIDIA A100-SXM4-40GB", **fields):
        accelerator = Accelerator(kind="gpu", model=model)
        return on_cpu(
            **{
                "environment": records.environment(accelerators=(accelerator,)),
                "configuration": {
                    "strategy": "gpu",
                    "num_replicas": 1,
                    "float32_arithmetic": arithmetic,
                    "dtype_policy": dtype_policy,
                },
                "flops": flops(tflops * 1e12 / 200),
                **fields,
            }
        )

    return make


def test_a_cpu_is_held_against_the_product_of_its_own_run(on_cpu):
    record = on_cpu()
    found = utilisation(record.series[0], record)
    assert found.mfu == pytest.approx(0.5)
    assert found.flops_per_second == pytest.approx(200e9)
    assert found.flops_per_byte == pytest.approx(100)
    assert found.peak.bytes_per_second == pytest.approx(20e9)
    assert found.peak.measured
    assert plausibility(record).verdict == "possible"


def test_a_forward_pass_counts_three_times_for_training_and_once_for_inference(on_cpu):
    record = on_cpu(flops=flops(of="forward pass"))
    found = utilisation(record.series[0], record)
    assert found.mfu == pytest.approx(1.5)
    assert "3 × the forward pass" in found.counted
    predicting = on_cpu(
        flops=flops(of="forward pass"), workload={"scenario": "inference", "phase": "inference"}
    )
    assert utilisation(predicting.series[0], predicting).mfu == pytest.approx(0.5)


def test_repeats_take_the_flops_that_the_first_run_counted(on_cpu):
    first, second = share_flops([on_cpu(), on_cpu(flops=None)])
    assert second.flops == first.flops
    other = on_cpu(flops=None, workload={"scenario": "train-step", "backbone": "vgg16"})
    assert share_flops([first, other])[1].flops is None


def test_an_input_pipeline_and_a_record_without_flops_have_no_utilisation(on_cpu, records):
    record = on_cpu(series=(records.series("input"),))
    assert utilisation(record.series[0], record) is None
    assert "Not checked" in plausibility(on_cpu(flops=None)).why


@pytest.mark.parametrize(
    ("arithmetic", "policy", "tflops"),
    [("tf32", "float32", 156), ("float32", "float32", 19.5), ("tf32", "mixed_bfloat16", 312)],
)
def test_the_peak_is_that_of_the_arithmetic_really_used(on_gpu, arithmetic, policy, tflops):
    peak = find_peak(on_gpu(10, arithmetic=arithmetic, dtype_policy=policy))
    assert peak.flops_per_second == pytest.approx(tflops * 1e12)
    assert not peak.measured


def test_a_peak_is_of_the_device_that_tensorflow_shows_times_the_replicas(on_cpu, records):
    environment = records.environment(accelerators=(Accelerator(kind="tpu", model="TPU v3"),) * 8)
    configuration = {"strategy": "tpu", "num_replicas": 8, "float32_arithmetic": "bfloat16"}
    peak = find_peak(on_cpu(environment=environment, configuration=configuration))
    assert peak.flops_per_second == pytest.approx(8 * 123e12 / 2)
    halves = records.environment(accelerators=(Accelerator(kind="gpu", model="Tesla K80"),) * 2)
    one = find_peak(on_cpu(environment=halves, configuration={"strategy": "gpu", "num_replicas": 1}))
    assert one.flops_per_second == pytest.approx(8.74e12 / 2)


def test_matrix_products_are_held_against_the_one_device_that_they_run_on(on_cpu, records):
    environment = records.environment(accelerators=(Accelerator(kind="tpu", model="TPU v3"),) * 8)
    configuration = {"strategy": "tpu", "num_replicas": 8, "float32_arithmetic": "bfloat16"}
    workload = {"scenario": "matmul", "phase": "kernel"}
    peak = find_peak(on_cpu(environment=environment, configuration=configuration, workload=workload))
    assert peak.flops_per_second == pytest.approx(123e12 / 2)


def test_the_peak_of_one_gpu_is_that_of_the_gpu_with_its_number(on_cpu, records):
    models = "NVIDIA A100-SXM4-40GB", "Tesla T4"
    environment = records.environment(accelerators=tuple(Accelerator(kind="gpu", model=m) for m in models))
    peaks = [
        find_peak(on_cpu(environment=environment, configuration={"strategy": name, "num_replicas": 1}))
        for name in ("gpu:0", "gpu:1", "gpu")
    ]
    assert [peak.flops_per_second / 1e12 for peak in peaks] == pytest.approx([19.5, 8.1, 19.5])


def test_what_is_not_published_or_measured_is_not_guessed(on_gpu, on_cpu):
    assert find_peak(on_gpu(10, model="Example GPU")) is None
    mixed = {"strategy": "cpu", "num_replicas": 1, "dtype_policy": "mixed_bfloat16"}
    assert find_peak(on_cpu(configuration=mixed)) is None


def test_a_halved_peak_is_flagged_with_what_may_be_wrong(on_cpu):
    whole = on_cpu(flops=flops(1.4e9))
    assert plausibility(whole).verdict == "possible"
    product = whole.references[0]
    halved = msgspec.structs.replace(product, seconds=tuple(2 * one for one in product.seconds))
    found = plausibility(on_cpu(flops=flops(1.4e9), references=(halved, whole.references[1])))
    assert found.verdict == "flagged"
    assert found.mfu == pytest.approx(1.4)
    assert "wrong peak" in found.why


def test_the_wrong_precision_is_named(on_gpu):
    found = plausibility(on_gpu(40, arithmetic="float32"))
    assert found.verdict == "flagged" if found.mfu < 2.25 else "refused"
    assert "wrong precision: in tf32" in found.why


def test_what_no_faster_algorithm_explains_is_refused(on_gpu):
    assert plausibility(on_gpu(156 * 2.2, dtype_policy="float32")).verdict == "flagged"
    found = plausibility(on_gpu(156 * 2.3, dtype_policy="float32"))
    assert found.verdict == "refused"
    assert "225%" in found.why


def test_a_missing_fence_is_refused_where_the_blocks_are_impossibly_fast(on_gpu):
    found = plausibility(on_gpu(200, fence_seconds=(6e-8,) * 20))
    assert found.verdict == "refused"
    assert "fence" in found.why
    assert plausibility(on_gpu(100, fence_seconds=(6e-8,) * 20)).verdict == "possible"


def test_blocks_far_faster_than_fenced_steps_betray_a_fence_that_does_not_wait(on_gpu, records):
    fast = records.series(steps=(100,), examples=(6400,), seconds=(0.1,))
    slow = records.series("latency", "step", steps=(1,) * 10, examples=(64,) * 10, seconds=(0.05,) * 10)
    record = on_gpu(200, series=(fast, slow))
    assert "ms" in fence_failure(record)
    alike = records.series(steps=(100,), examples=(6400,), seconds=(2.0,))
    assert fence_failure(on_gpu(200, series=(alike, slow))) is None


def test_a_refused_run_gives_its_reason_in_place_of_figures(on_gpu):
    (row,) = summarise([on_gpu(156 * 3)])
    assert (row.kind, row.outcome, row.result) == ("nothing", "refused", None)
    assert "measurement error" in row.reason
    (table,) = build_tables([row])
    assert "throughput (examples/s)" not in table.headers
    assert "refused" in table.rows[0]


def test_a_flagged_figure_stands_with_its_caution(on_gpu):
    (row,) = summarise([on_gpu(200)])
    assert row.result == pytest.approx(200)
    (caution,) = [one for one in row.cautions if one.code == "above-the-peak"]
    assert "128%" in caution.message


def test_the_middle_of_several_runs_stands_for_them(on_cpu):
    rows = pool(summarise([on_cpu(flops=flops(1e9 * share)) for share in (0.2, 0.4, 1.2)]))
    (utilised,) = [row.utilisation for row in rows if row.kind == "throughput"]
    assert utilised.mfu == pytest.approx(0.2)
    (table,) = build_tables(rows)
    assert "20.0 (float32, measured)" in table.rows[0]


def test_a_roofline_is_drawn_where_bytes_are_modelled_and_says_so(on_cpu, on_gpu):
    with drawing_style():
        (chart,) = draw_rooflines(pool(summarise([on_cpu()])), "roof")
        assert "modelled, not measured" in chart.svg
        assert "measured" in chart.svg
        assert "20.0 GB/s" in chart.svg
        assert draw_rooflines(pool(summarise([on_cpu(flops=flops(bytes_per_example=None))])), "roof") == []
