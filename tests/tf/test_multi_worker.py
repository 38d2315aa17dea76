"""Two processes on loopback train one model on digits: they stop, refuse and end together."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

WORKER = """
import hashlib, sys
from pathlib import Path
from tpuens.errors import TpuensError
from tpuens.recipes.config import PhaseConfig, TrainConfig
from tpuens.recipes.run import resume, train
from tpuens.training.schedules import ScheduleConfig
action, folder = sys.argv[1], Path(sys.argv[2])
config = TrainConfig(dataset="digits", image_size=8, colour="grey", strategy="multi-worker", batch_size=32,
                     phases=(PhaseConfig(epochs=200, schedule=ScheduleConfig(learning_rate=0.003)),))
try:
    summary = train(config, folder) if action == "train" else resume(folder, epochs=int(action))
except TpuensError as error:
    print(type(error).__name__, error)
    sys.exit(error.exit_code)
weights = b"".join(weight.numpy().tobytes() for weight in summary.model.weights)
print(hashlib.sha256(weights).hexdigest(), summary.scores["test"].top_1_accuracy)
"""


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def run_workers(
    action: str,
    folders: tuple[Path, Path],
    meanwhile: Callable[[list["subprocess.Popen[str]"]], None] = lambda processes: None,
) -> list[tuple[int, str, str]]:
    """Returns the exit code, the last line of output and the errors of the chief and of the other worker."""
    workers = [f"127.0.0.1:{port}" for port in free_ports(2)]
    processes = []
    for index, folder in enumerate(folders):
        config = {"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}}
        processes.append(
            subprocess.Popen(
                [sys.executable, "-c", WORKER, action, str(folder)],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=os.environ | {"CUDA_VISIBLE_DEVICES": "-1", "TF_CONFIG": json.dumps(config)},
            )
        )
    try:
        meanwhile(processes)
        outputs = [process.communicate(timeout=120) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [
        (process.returncode, output.strip().rpartition("\n")[2], errors[-3000:])
        for process, (output, errors) in zip(processes, outputs, strict=True)
    ]


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[tuple[int, str, str]]]:
    """A run whose second worker alone was told to stop, and how the workers ended."""
    folder = tmp_path_factory.mktemp("cluster") / "run"

    def stop_the_second(processes: list["subprocess.Popen[str]"]) -> None:
        deadline = time.monotonic() + 120
        while not (folder / "history.csv").exists():
            assert all(process.poll() is None for process in processes)
            assert time.monotonic() < deadline
            time.sleep(0.02)
        processes[1].send_signal(signal.SIGTERM)

    return folder, run_workers("train", (folder, folder), stop_the_second)


def test_a_signal_to_one_worker_stops_both_at_one_step(
    stopped: tuple[Path, list[tuple[int, str, str]]],
) -> None:
    (code, text, errors), other = stopped[1]
    assert code == 130, errors
    assert text.startswith("InterruptedRunError Stopped in epoch")
    assert other[:2] == (code, text)


def test_both_workers_refuse_a_folder_that_holds_a_run(
    stopped: tuple[Path, list[tuple[int, str, str]]],
) -> None:
    chief, other = run_workers("train", (stopped[0], stopped[0]))
    assert chief[0] == 2, chief
    assert "--resume" in chief[1]
    assert other[0] == 1, other
    assert "on worker 0" in other[1]


def test_workers_whose_folder_is_not_shared_refuse_to_begin(tmp_path: Path) -> None:
    chief, other = run_workers("train", (tmp_path / "one", tmp_path / "two"))
    assert other[0] == 2, other
    assert "on a file system that they share" in other[1]
    assert chief[0] == 1, chief
    assert "on worker 1" in chief[1]


def test_workers_whose_folder_is_not_shared_refuse_to_resume(
    stopped: tuple[Path, list[tuple[int, str, str]]], tmp_path: Path
) -> None:
    for name in ("config.json", "split.json"):
        shutil.copy(stopped[0] / name, tmp_path / name)
    for code, text, errors in run_workers("200", (stopped[0], tmp_path)):
        assert code == 2, errors
        assert "on a file system that they share" in text
        assert text.endswith("epoch 0, step 0")


def test_a_resumed_run_ends_with_the_same_weights_on_both_workers(
    stopped: tuple[Path, list[tuple[int, str, str]]],
) -> None:
    folder = stopped[0]
    epochs = len((folder / "history.csv").read_text().splitlines()) + 1
    chief, other = run_workers(str(epochs), (folder, folder))
    assert chief[0] == other[0] == 0, chief[2] + other[2]
    assert chief[1] == other[1]
    assert float(chief[1].split()[1]) > 0.3
    assert (folder / "model.keras").exists()
    assert len((folder / "history.csv").read_text().splitlines()) == epochs + 1
