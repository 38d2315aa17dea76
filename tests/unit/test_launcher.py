"""The launcher against programs that behave as badly as workers can, in the worker's place."""

import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest

from bench.execution import live_worker
from bench.execution.launcher import launch_run
from bench.execution.limits import Limits, default_limits
from bench.execution.messages import Progress
from bench.execution.start import open_log
from bench.records.record import RunRecord
from bench.suites import Request, Scenario
from tpuens.errors import RunError

REQUEST = Request(
    suite="quick",
    scenario=Scenario(name="train-step", backbone="cifar_cnn", image_size=32, batch_size=8),
    strategy="cpu",
    variables={"TPUENS_TEST": "42"},
)


@pytest.fixture(autouse=True)
def _looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_worker, "CHECK_SECONDS", 0.05)
    monkeypatch.setattr(live_worker, "POLL_SECONDS", 0.05)


def launch(
    tmp_path: Path,
    program: str,
    *,
    seconds: float = 20.0,
    memory: int = 2**33,
    told: list[Progress] | None = None,
) -> RunRecord:
    return launch_run(
        REQUEST,
        log=tmp_path / "run.log",
        limits=Limits(seconds=seconds, memory_bytes=memory),
        on_progress=(lambda progress: None) if told is None else told.append,
        command=[sys.executable, "-c", textwrap.dedent(program)],
    )


def test_a_crash_becomes_a_failed_record_with_the_end_of_the_log(tmp_path: Path) -> None:
    record = launch(tmp_path, "import sys; sys.stdin.readline(); raise ValueError('the disk is purple')")
    assert record.status == "failed"
    assert "exit code 1" in (record.reason or "")
    assert "ValueError: the disk is purple" in record.log_tail[-1]
    assert record.workload.scenario == "train-step"
    assert record.configuration.strategy == "cpu"


def test_a_kill_names_memory_as_the_likely_cause(tmp_path: Path) -> None:
    record = launch(tmp_path, "import os; os.kill(os.getpid(), 9)")
    assert record.status == "failed"
    assert "SIGKILL" in (record.reason or "")


@pytest.mark.skipif(sys.platform != "linux", reason="a child's end with its parent is Linux's")
def test_a_held_worker_ends_with_a_launcher_that_is_killed(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent("""
            import os, pathlib, signal, subprocess, sys, time
            from bench.execution.start import WITH_PARENT
            place = pathlib.Path(sys.argv[1])
            child = WITH_PARENT + "import pathlib, time; pathlib.Path(sys.argv[2]).touch(); time.sleep(60)"
            command = [sys.executable, "-c", child, ".", str(place / "started")]
            process = subprocess.Popen(command, start_new_session=True)
            while not (place / "started").exists():
                time.sleep(0.01)
            os.killpg(process.pid, signal.SIGSTOP)
            (place / "pid").write_text(str(process.pid))
            time.sleep(60)
        """), str(tmp_path)]
    )  # fmt: skip
    written = tmp_path / "pid"
    deadline = time.monotonic() + 30
    while not (written.exists() and written.read_text()) and time.monotonic() < deadline:
        time.sleep(0.02)
    child = psutil.Process(int(written.read_text()))
    assert child.status() == psutil.STATUS_STOPPED
    parent.kill()
    parent.wait()
    gone, _ = psutil.wait_procs([child], timeout=10)
    assert gone


def test_a_hang_is_stopped_at_the_time_limit_and_names_the_phase(tmp_path: Path) -> None:
    start = time.monotonic()
    record = launch(
        tmp_path,
        """
        import time
        print('{"type":"progress","phase":"trace","done":0,"of":0}', flush=True)
        time.sleep(60)
        """,
        seconds=1.0,
    )
    assert time.monotonic() - start < 15
    assert record.status == "failed"
    assert "while trace" in (record.reason or "")


def test_a_worker_that_takes_too_much_memory_is_stopped(tmp_path: Path) -> None:
    record = launch(
        tmp_path, "import time; block = bytearray(300 * 2**20); time.sleep(60)", memory=200 * 2**20
    )
    assert record.status == "failed"
    assert "more than the limit of 0.2 GiB" in (record.reason or "")


def test_a_device_that_is_not_here_skips_the_run(tmp_path: Path) -> None:
    record = launch(tmp_path, """print('{"type":"refused","reason":"no such GPU","skipped":true}')""")
    assert (record.status, record.reason, record.log_tail) == ("skipped", "no such GPU", ())


def test_progress_is_passed_on(tmp_path: Path) -> None:
    told: list[Progress] = []
    launch(tmp_path, """print('{"type":"progress","phase":"build","done":1,"of":3}')""", told=told)
    assert told == [Progress(phase="build", done=1, of=3)]


def test_the_worker_gets_the_request_and_the_variables_before_it_starts(tmp_path: Path) -> None:
    record = launch(
        tmp_path,
        """
        import json, os, sys
        request = json.loads(sys.stdin.readline())
        reason = f"{request['scenario']['name']} {os.environ['TPUENS_TEST']}"
        print(json.dumps({"type": "refused", "reason": reason, "skipped": False}))
        """,
    )
    assert record.reason == "train-step 42"


def test_a_line_that_is_no_message_is_an_error_of_the_worker(tmp_path: Path) -> None:
    record = launch(tmp_path, "print('hello')")
    assert record.status == "failed"
    assert "hello" in (record.reason or "")


def test_an_interrupt_stops_the_worker_and_is_passed_on(tmp_path: Path) -> None:
    def interrupt(progress: Progress) -> None:
        raise KeyboardInterrupt

    pid_file = tmp_path / "pid"
    program = f"""
        import os, time
        open({str(pid_file)!r}, "w").write(str(os.getpid()))
        print('{{"type":"progress","phase":"build"}}', flush=True)
        time.sleep(60)
        """
    with pytest.raises(KeyboardInterrupt):
        launch_run(
            REQUEST,
            log=tmp_path / "run.log",
            limits=default_limits(),
            on_progress=interrupt,
            command=[sys.executable, "-c", textwrap.dedent(program)],
        )
    assert not psutil.pid_exists(int(pid_file.read_text()))


def test_the_log_of_a_failure_tells_neither_home_nor_working_folder(tmp_path: Path) -> None:
    record = launch(
        tmp_path, "import os, pathlib; raise RuntimeError(f'{pathlib.Path.home()}/x and {os.getcwd()}/y')"
    )
    text = "\n".join([*record.log_tail, record.reason or ""])
    assert "RuntimeError" in text
    assert str(Path.cwd()) not in text
    assert str(Path.home()) + "/" not in text


def test_a_log_that_cannot_be_written_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file where the folder is to be")
    with pytest.raises(RunError, match=r"log of a run cannot be written: make room.*001\.log"):
        open_log(tmp_path / "logs" / "001.log")


def test_packages_are_hidden_from_what_is_imported_within_alone() -> None:
    program = """
        from bench.execution.worker import hide_packages
        with hide_packages(("colorsys", "json", "nowhere")):
            import json
            try:
                import colorsys
            except ImportError:
                print("hidden")
        import colorsys
        print(colorsys.rgb_to_hsv(0, 0, 1)[2], json.dumps([]))
    """
    answer = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True
    )
    assert answer.stdout.split() == ["hidden", "1", "[]"]
