"""Two processes on loopback train one model on digits, and end with the same weights."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

WORKER = """
import hashlib, sys
from pathlib import Path
from tpuens.recipes.run import TrainConfig, train
config = TrainConfig(dataset="digits", image_size=8, colour="grey", strategy="multi-worker", epochs=1,
                     batch_size=32, learning_rate=0.003)
summary = train(config, Path(sys.argv[1]))
weights = b"".join(weight.numpy().tobytes() for weight in summary.model.weights)
print("RESULT", hashlib.sha256(weights).hexdigest(), summary.scores["test"].top_1_accuracy)
"""


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def test_two_workers_end_with_the_same_weights_and_the_chief_writes_the_run(tmp_path: Path) -> None:
    workers = [f"127.0.0.1:{port}" for port in free_ports(2)]
    processes = []
    for index in range(2):
        config = {"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}}
        processes.append(
            subprocess.Popen(
                [sys.executable, "-c", WORKER, str(tmp_path / "run")],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=os.environ | {"CUDA_VISIBLE_DEVICES": "-1", "TF_CONFIG": json.dumps(config)},
            )
        )
    try:
        outputs = [process.communicate(timeout=240) for process in processes]
    finally:
        for process in processes:
            process.kill()
    results = []
    for process, (output, errors) in zip(processes, outputs, strict=True):
        assert process.returncode == 0, errors[-3000:]
        results.append([line for line in output.splitlines() if line.startswith("RESULT")])
    assert results[0] == results[1]
    assert float(results[0][0].split()[2]) > 0.3
    assert (tmp_path / "run" / "model.keras").exists()
