"""Records from others: what does not count is named, with the reason, and the rest still counts."""

import msgspec
import pytest

from bench.analysis.merging import find_faults, merge_folders
from bench.records.record import Accelerator, Flops, Metric
from bench.records.store import RecordError, write_record


@pytest.fixture
def good(records):
    return records.record(series=(records.series(),), configuration={"global_batch_size": 100})


def test_a_record_that_could_be_true_has_no_fault(study, good):
    assert list(find_faults(good)) == []
    assert [fault for record in study for fault in find_faults(record)] == []


def changed(record, **fields):
    return msgspec.structs.replace(record, **fields)


def planted(record, records):
    how = msgspec.structs.replace(record.configuration, planted="sleep:0.1")
    return changed(record, configuration=how)


def with_series(**fields):
    return lambda record, records: changed(record, series=(records.series(**fields),))


def with_reference(**fields):
    return lambda record, records: changed(record, references=(records.series("matmul", **fields),))


def with_metric(name, value):
    return lambda record, records: changed(record, metrics=(Metric(name=name, value=value),))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (planted, "a fault was planted in the run (sleep:0.1)"),
        (lambda record, records: changed(record, phases={"import": -1.0}), "a phase or a fence"),
        (with_metric("log_loss", float("inf")), "log_loss is no finite number"),
        (with_metric("top_1_accuracy", 95.0), "top_1_accuracy is 95, not a share between 0 and 1"),
        (with_series(seconds=(1.0, 0.0, 1.0)), "took no finite time above zero"),
        (with_series(seconds=(), steps=(), examples=()), "took no finite time above zero"),
        (with_series(steps=(0, 2, 3), examples=(0, 200, 300)), "samples of no step"),
        (with_series(examples=(100, 201, 300)), "more examples than its steps of 100 can hold"),
        (with_series(blocked_seconds=(0.5, 1.5, 0.5)), "waited longer for input than its samples took"),
        (with_series(cpu_seconds=(9.0, 9.0, 9.0)), "more CPU time than 8 cores have"),
        (with_series(parameters={"batch_size": "many"}), "has a batch size that is no number"),
        (with_reference(seconds=(0.0, 0.0, 0.0)), "reference 'matmul' has samples that took no finite time"),
        (with_reference(parameters={"n": "large"}), "reference 'matmul' has parameters that are no numbers"),
    ],
)
def test_what_cannot_be_true_is_found(good, records, spoil, reason):
    (fault,) = find_faults(spoil(good, records))
    assert reason in fault


def test_a_batch_that_a_series_has_of_its_own_is_the_one_that_counts(good, records):
    series = records.series(examples=(200, 400, 600), parameters={"batch_size": 200})
    assert list(find_faults(changed(good, series=(series,)))) == []


def test_each_refusal_names_its_file_and_the_rest_still_counts(tmp_path, records):
    good, bad = (
        records.record(series=(records.series(),), configuration={"global_batch_size": 100}) for _ in "ab"
    )
    write_record(tmp_path, good)
    spoilt = write_record(tmp_path, planted(bad, records))
    broken = tmp_path / "records" / "broken.json"
    broken.write_text("{")
    merged = merge_folders([tmp_path])
    assert merged.folders == ((good,),)
    assert {refusal.path: refusal.reason[:20] for refusal in merged.refusals} == {
        spoilt: "a fault was planted ",
        broken: "A record is one JSON",
    }


def test_a_record_that_comes_twice_counts_once(tmp_path, good):
    first, second = (write_record(tmp_path / name, good) for name in ("a", "b"))
    merged = merge_folders([tmp_path / "a", tmp_path / "b"])
    assert merged.folders == ((good,), ())
    (refusal,) = merged.refusals
    assert refusal.path == second
    assert str(first) in refusal.reason


def test_a_folder_of_run_folders_gives_them_all(tmp_path, good, records):
    other = records.record()
    write_record(tmp_path / "a", good)
    write_record(tmp_path / "b", other)
    assert merge_folders([tmp_path]).folders == ((good,), (other,))


def test_an_attempt_that_was_repeated_counts_once(tmp_path, records):
    failed = records.record(request_key="same", status="failed", reason="Out of memory.")
    done = records.record(request_key="same")
    for record in (failed, done):
        write_record(tmp_path, record)
    assert merge_folders([tmp_path]).folders == ((done,),)


def test_a_rate_beyond_what_the_device_can_do_is_refused(tmp_path, records):
    def on_gpu(per_example):
        return records.record(
            environment=records.environment(accelerators=(Accelerator(kind="gpu", model="NVIDIA H200"),)),
            configuration={"strategy": "gpu", "global_batch_size": 100},
            series=(records.series(),),  # 200 examples a second
            flops=Flops(per_example=per_example, of="training step", method="hlo-cost-analysis"),
            workload={"options": {"per_example": per_example}},
        )

    good = on_gpu(1e9)
    write_record(tmp_path, good)
    path = write_record(tmp_path, on_gpu(1e12))  # 200 TFLOP/s in float32, of 67
    merged = merge_folders([tmp_path])
    assert merged.folders == ((good,),)
    (refusal,) = merged.refusals
    assert refusal.path == path
    assert "of the peak in float32" in refusal.reason


def test_nothing_that_counts_is_an_error_that_names_every_file(tmp_path, good, records):
    path = write_record(tmp_path, planted(good, records))
    with pytest.raises(RecordError, match="None of the records counts") as caught:
        merge_folders([tmp_path])
    assert str(path) in str(caught.value)
