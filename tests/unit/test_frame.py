"""Records as a data frame."""

import msgspec
import pandas as pd
import pytest

from bench.analysis.frame import load_frame
from bench.records.record import Accelerator, Flops, Metric
from bench.records.store import RecordError, write_record


def test_a_frame_has_a_row_for_each_series_with_the_facts_repeated(records, tmp_path):
    blocked = (0.25, 0.0, 0.05)
    record = records.record(
        workload={"options": {"members": 3}},
        series=(
            records.series("both", blocked_seconds=blocked),
            records.latencies(*[0.5] * 30, batch_size=1),
        ),
        metrics=(
            Metric(name="examples_seen", value=600.0),
            *(Metric(name="log_loss", value=value) for value in (1.0, 2.0)),
            Metric(name="strategy", value=7.0),  # hides no fact of that name
        ),
        fence_seconds=(0.001, 0.003),
    )
    write_record(tmp_path, record)
    frame = load_frame(tmp_path)
    assert list(frame.series) == ["both", "latency"]
    for column, value in {
        "id": record.id,
        "status": "ok",
        "scenario": "train-step",
        "backbone": "cifar_cnn",
        "strategy": "one-device",
        "num_replicas": 1,
        "global_batch_size": 64,
        "machine_label": "laptop",
        "version_tensorflow": "2.21.0",
        "option_members": 3,
        "import_phase_seconds": 4.5,
        "examples_seen": 600.0,
        "median_fence_seconds": 0.002,
    }.items():
        assert list(frame[column]) == [value, value], column
    assert "log_loss" not in frame.columns  # twice in the record, so it is no fact of it
    both, latency = frame.to_dict("records")
    assert both["examples_per_second"] == 200.0
    assert both["relative_mad"] == 0.5
    assert both["waiting_share"] == pytest.approx(0.1)
    assert both["waiting_verdict"] == "look"
    assert latency["median_step_seconds"] == 0.5
    assert latency["p90_step_seconds"] == 0.5
    assert pd.isna(latency["p99_step_seconds"])
    assert latency["parameter_batch_size"] == 1


def test_a_failed_run_is_one_row_with_its_reason(records, tmp_path):
    write_record(tmp_path, records.record(status="failed", reason="Out of memory.", environment=None))
    (row,) = load_frame(tmp_path).to_dict("records")
    assert (row["status"], row["reason"]) == ("failed", "Out of memory.")
    assert pd.isna(row["examples_per_second"])
    assert pd.isna(row["series"])


def test_repeats_whose_flops_were_not_counted_have_the_first_ones(records, tmp_path):
    counted = Flops(per_example=1e9, of="training step", method="hlo-cost-analysis")
    environment = records.environment(accelerators=(Accelerator(kind="gpu", model="NVIDIA A100-SXM4-40GB"),))
    for flops in (counted, None):
        gpu = {"strategy": "gpu", "num_replicas": 1, "float32_arithmetic": "tf32"}
        series = (records.series(),)
        run = records.record(configuration=gpu, environment=environment, flops=flops, series=series)
        write_record(tmp_path, run)
    assert load_frame(tmp_path).mfu.notna().all()


def test_folders_are_joined_and_a_record_met_twice_counts_once(records, tmp_path):
    first, second = records.record(series=(records.series(),)), records.record(series=(records.series(),))
    path = write_record(tmp_path / "a", first)
    write_record(tmp_path / "b", second)
    frame = load_frame(str(tmp_path / "a"), tmp_path / "b", path)
    assert list(frame.id) == [first.id, second.id]


def test_every_series_of_a_study_is_in_its_frame(study, tmp_path):
    for record in study:
        write_record(tmp_path, record)
    frame = load_frame(tmp_path)
    assert len(frame) == sum(max(1, len(record.series)) for record in study)
    kernels = frame[frame.scenario == "matmul"]
    assert kernels.flops_per_second.notna().all()
    assert kernels.examples_per_second.isna().all()
    fields = {*msgspec.structs.asdict(study[0].configuration)}
    assert fields <= set(frame.columns)


def test_an_empty_folder_is_an_error_for_people(tmp_path):
    with pytest.raises(RecordError, match="No record"):
        load_frame(tmp_path)
