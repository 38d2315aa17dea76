"""The parent: one fresh worker process a run, watched, and a record whatever becomes of it."""

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import IO

import msgspec
import psutil

from tpuens.hardware.host import collect_host

from ..measuring.scrubbing import publishable
from ..records.record import Configuration, RunRecord, WorkloadKey
from ..suites import Request
from .messages import Described, Finished, Progress, Refused, decode_message
from .worker import SPAWNED_AT

LOG_TAIL_LINES = 30
POLL_SECONDS = 0.25
CHECK_SECONDS = 1.0
STOP_SECONDS = 5.0
# The parent of this package's folder: put first on the worker's path, so that no folder of the name
# `bench` in the user's working directory can stand in for ours.
_ROOT = Path(__file__).resolve().parents[2]
_START = "import sys; sys.path[0] = sys.argv[1]; from bench.execution.worker import main; main()"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """When a worker is stopped.

    Attributes:
        seconds: Wall time of one run.
        memory_bytes: Resident memory of the worker and its children.
    """

    seconds: float
    memory_bytes: int


def default_limits() -> Limits:
    """Returns an hour, and nine tenths of the memory that is free now and that a container leaves us."""
    usable = min(psutil.virtual_memory().available, collect_host().usable_memory_bytes)
    return Limits(seconds=3600.0, memory_bytes=int(usable * 0.9))


@dataclass
class _Outcome:
    """What is known of a run so far."""

    described: Described = field(default_factory=Described)
    finished: Finished | None = None
    refused: Refused | None = None
    stopped: str | None = None  # why the launcher stopped the worker
    phase: str = "starting"
    return_code: int | None = None


def launch_run(
    request: Request,
    *,
    log: Path,
    limits: Limits,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    should_stop: Callable[[], bool] = lambda: False,
    command: list[str] | None = None,
) -> RunRecord:
    """Runs one request in a worker process and returns its record, whatever becomes of the worker.

    A crash, a kill, a hang, too much memory or an error in Python gives a failed record with the last
    lines of the worker's log. KeyboardInterrupt stops the worker and is passed on.

    Args:
        request: What to run.
        log: File for everything that the worker prints.
        limits: When to stop it.
        on_progress: Told what the worker is at.
        should_stop: Asked a few times a second whether to stop the worker.
        command: Another program in the worker's place, for tests.
    """
    created = datetime.now(timezone.utc)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as log_file, _spawn(request, log_file, command) as process:
        outcome = _watch(process, limits, on_progress, should_stop)
    return _make_record(request, outcome, created, log)


@contextlib.contextmanager
def _spawn(
    request: Request, log_file: IO[bytes], command: list[str] | None
) -> Iterator["subprocess.Popen[bytes]"]:
    """Yields the worker with its request sent; it is gone when the block is left."""
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "1"}
    environment = quiet | os.environ | request.variables
    process = subprocess.Popen(
        command or [sys.executable, "-c", _START, str(_ROOT)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log_file,
        env=environment | {SPAWNED_AT: repr(time.time())},
        start_new_session=True,  # Ctrl-C reaches the launcher alone, which then decides
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        with contextlib.suppress(BrokenPipeError):  # it died at once; its log says why
            process.stdin.write(msgspec.json.encode(request) + b"\n")
            process.stdin.flush()
        yield process
    finally:
        _stop(process)
        for stream in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):
                stream.close()


def _watch(
    process: "subprocess.Popen[bytes]",
    limits: Limits,
    on_progress: Callable[[Progress], None],
    should_stop: Callable[[], bool],
) -> _Outcome:
    lines: queue.Queue[bytes | None] = queue.Queue()

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            lines.put(line)
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    outcome = _Outcome()
    deadline = time.monotonic() + limits.seconds
    checked = time.monotonic()
    while True:
        try:
            line = lines.get(timeout=POLL_SECONDS)
        except queue.Empty:
            line = b""
        if line is None:
            break
        if outcome.stopped is not None:
            continue  # only waiting for its end
        outcome.stopped = _note(line, outcome, on_progress) if line else None
        if time.monotonic() - checked > CHECK_SECONDS:  # looking costs time on the cores being measured
            checked = time.monotonic()
            outcome.stopped = outcome.stopped or _exceeded(process, limits, deadline, outcome.phase)
        if should_stop():
            outcome.stopped = outcome.stopped or "It was stopped by the user."
        if outcome.stopped is not None:
            _kill(process)
    outcome.return_code = process.wait()
    return outcome


def _note(line: bytes, outcome: _Outcome, on_progress: Callable[[Progress], None]) -> str | None:
    """Takes in a line from the worker; returns why the worker must be stopped if it makes no sense."""
    try:
        message = decode_message(line)
    except msgspec.DecodeError as error:
        return (
            f"The worker said what is no message ({error}): {line[:200].decode(errors='replace').strip()!r}"
        )
    if isinstance(message, Progress):
        outcome.phase = message.phase
        on_progress(message)
    elif isinstance(message, Described):
        old = outcome.described
        outcome.described = Described(
            environment=message.environment or old.environment,
            workload=message.workload or old.workload,
            configuration=message.configuration or old.configuration,
        )
    elif isinstance(message, Finished):
        outcome.finished = message
    else:
        outcome.refused = message
    return None


def _exceeded(process: "subprocess.Popen[bytes]", limits: Limits, deadline: float, phase: str) -> str | None:
    """Returns why the worker must be stopped, or None."""
    if time.monotonic() > deadline:
        return (
            f"It took longer than the limit of {limits.seconds:.0f} s and was stopped while {phase}. "
            "Raise --time-limit, or take a smaller network, image or batch."
        )
    try:
        worker = psutil.Process(process.pid)
        resident = sum(p.memory_info().rss for p in [worker, *worker.children(recursive=True)])
    except psutil.Error:  # it ended this moment
        return None
    if resident > limits.memory_bytes:
        return (
            f"It held {resident / 2**30:.1f} GiB, more than the limit of "
            f"{limits.memory_bytes / 2**30:.1f} GiB, and was stopped while {phase}. "
            "Take a smaller batch or image, or raise --memory-limit."
        )
    return None


def _stop(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        _kill(process)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=STOP_SECONDS)


def _kill(process: "subprocess.Popen[bytes]") -> None:
    with contextlib.suppress(psutil.Error):
        worker = psutil.Process(process.pid)
        for member in [*worker.children(recursive=True), worker]:
            with contextlib.suppress(psutil.Error):
                member.kill()


def _make_record(request: Request, outcome: _Outcome, created: datetime, log: Path) -> RunRecord:
    scenario, described = request.scenario, outcome.described
    record = RunRecord(
        id=uuid.uuid4().hex[:12],
        request_key=request.key,
        repeat=request.repeat,
        suite=request.suite,
        created=created.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        status="failed",
        workload=described.workload or WorkloadKey(scenario=scenario.name, backbone=scenario.backbone),
        configuration=described.configuration
        or Configuration(
            strategy=request.public_strategy,
            per_replica_batch_size=scenario.batch_size,
            dtype_policy=scenario.dtype_policy,
            jit_compile=scenario.jit,
            planted=scenario.planted,
        ),
        environment=described.environment,
    )
    finished, refused = outcome.finished, outcome.refused
    if finished is not None:
        facts = {name: getattr(finished, name) for name in finished.__struct_fields__}
        return msgspec.structs.replace(record, status="ok", **facts)
    if refused is not None and refused.skipped and outcome.stopped is None:
        return msgspec.structs.replace(record, status="skipped", reason=publishable(refused.reason))
    reason = outcome.stopped or (refused.reason if refused else _explain_end(outcome))
    return msgspec.structs.replace(record, reason=publishable(reason), log_tail=_read_tail(log))


def _explain_end(outcome: _Outcome) -> str:
    code = outcome.return_code or 0
    if code == -getattr(signal, "SIGKILL", 9):
        return (
            f"The worker was killed (SIGKILL) while {outcome.phase}; on a full machine the system does so. "
            "Take a smaller batch or image, or free memory."
        )
    if code < 0:
        return f"The worker crashed ({signal.Signals(-code).name}) while {outcome.phase}; its log says more."
    return f"The worker stopped with exit code {code} while {outcome.phase}; its log says more."


def _read_tail(log: Path) -> tuple[str, ...]:
    """Returns the last lines of the log, fit to be published."""
    return tuple(publishable(log.read_text(errors="replace")).splitlines()[-LOG_TAIL_LINES:])
