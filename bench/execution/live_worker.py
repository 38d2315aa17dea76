"""One worker process, watched from its start to its record."""

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType

import msgspec
import psutil

from ..measuring.scrubbing import publishable
from ..records.record import Configuration, RunRecord, Turns, WorkloadKey
from ..suites import Request
from .limits import Limits
from .messages import (
    Described,
    Finished,
    Message,
    Order,
    Progress,
    Ready,
    Refused,
    Taken,
    Warmed,
    decode_message,
    encode_message,
)
from .start import ROOT, WITH_PARENT, open_log
from .worker import BOTH_ARMS, OUT_OF_MEMORY, SPAWNED_AT, TAKES_TURNS

LOG_TAIL_LINES = 30
POLL_SECONDS = 0.25
CHECK_SECONDS = 1.0
STOP_SECONDS = 5.0
_START = f"{WITH_PARENT}\nfrom bench.execution.worker import main; main()"
_SIGKILL = getattr(signal, "SIGKILL", 9)

Answer = Ready | Warmed | Taken


@dataclass
class _Outcome:
    """What is known of a run so far."""

    described: dict[int, Described] = field(default_factory=dict)  # by arm of the process
    finished: list[Finished] = field(default_factory=list)
    refused: Refused | None = None
    stopped: str | None = None  # why the launcher stopped the worker
    holds_too_much: bool = False  # that is why
    phase: str = "starting"
    return_code: int | None = None


class LiveWorker:
    """A worker that lives within a ``with`` block; its request is sent, and it is gone when that is left.

    Args:
        request: What to run.
        log: File for everything that the worker prints.
        limits: When to stop it.
        root: The source tree that it runs; None for this one.
        takes_turns: Whether it waits for orders once it is prepared.
        partner: The other arm of a comparison, where this process has both.
        variables: Environment variables that yield to those that are set.
        command: Another program in the worker's place, for tests.
    """

    def __init__(
        self,
        request: Request,
        *,
        log: Path,
        limits: Limits,
        root: Path | None = None,
        takes_turns: bool = False,
        partner: Request | None = None,
        variables: dict[str, str] | None = None,
        command: list[str] | None = None,
    ) -> None:
        self._requests = (request,) if partner is None else (request, partner)
        self._log, self._limits = log, limits
        flags = {TAKES_TURNS: takes_turns, BOTH_ARMS: partner is not None}
        arguments = [str(root or ROOT), *(flag for flag, set_ in flags.items() if set_)]
        self._command = command or [sys.executable, "-c", _START, *arguments]
        self._variables = {"TF_CPP_MIN_LOG_LEVEL": "1"} | (variables or {}) | os.environ | request.variables
        self._outcome = _Outcome()
        self._lines: queue.Queue[bytes | None] = queue.Queue()

    def __enter__(self) -> "LiveWorker":
        self._created = datetime.now(timezone.utc)
        self._checked = time.monotonic()
        self._deadline = self._checked + self._limits.seconds
        with open_log(self._log) as log_file:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log_file,
                env=self._variables | {SPAWNED_AT: repr(time.time())},
                start_new_session=True,  # Ctrl-C reaches the launcher alone, which then decides
            )
        for request in self._requests:
            self._send(msgspec.json.encode(request) + b"\n")
        threading.Thread(target=self._read, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=STOP_SECONDS)
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()

    def give(self, order: Order) -> None:
        """Sends an order; what becomes of it, `follow` tells."""
        self._send(encode_message(order))

    def follow(
        self,
        *,
        on_progress: Callable[[Progress], None] = lambda progress: None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> Answer | None:
        """Returns the worker's next answer to an order; None once it has ended, for whatever reason.

        Args:
            on_progress: Told what the worker is at.
            should_stop: Asked a few times a second whether to stop the worker.
        """
        outcome = self._outcome
        while outcome.return_code is None:
            try:
                line = self._lines.get(timeout=POLL_SECONDS)
            except queue.Empty:
                line = b""
            if line is None:
                outcome.return_code = self._process.wait()
            if line is None or outcome.stopped is not None:
                continue  # only waiting for its end
            message = self._note(line, on_progress) if line else None
            now = time.monotonic()
            if now - self._checked > CHECK_SECONDS:  # looking costs time on the cores being measured
                self._checked = now
                outcome.stopped = outcome.stopped or self._exceeded()
            if should_stop():
                outcome.stopped = outcome.stopped or "It was stopped by the user."
            if outcome.stopped is not None:
                self._kill()
            elif isinstance(message, Answer):
                return message
        return None

    def stop(self, reason: str) -> None:
        """Ends the worker where it still lives; its record then says why."""
        if self._process.poll() is None and self._outcome.refused is None:
            self._outcome.stopped = self._outcome.stopped or reason
            self._kill()
        while self.follow() is not None:
            continue

    def hold(self, held: bool) -> None:
        """Stops it and its children where they are, or lets them go on; Windows cannot."""
        if hasattr(os, "killpg"):
            with contextlib.suppress(ProcessLookupError):  # it leads a group of its own, and may have ended
                os.killpg(self._process.pid, signal.SIGSTOP if held else signal.SIGCONT)

    @property
    def finished(self) -> bool:
        """Returns whether it has told what it measured, of each of its arms."""
        return len(self._outcome.finished) == len(self._requests)

    @property
    def ran_out_of_memory(self) -> bool:
        """Returns whether too little memory seems to have ended the run."""
        outcome = self._outcome
        killed = outcome.return_code == -_SIGKILL and outcome.stopped is None
        refused = outcome.refused is not None and outcome.refused.reason.startswith(OUT_OF_MEMORY)
        return outcome.holds_too_much or killed or refused

    def make_record(self, turns: Turns | None = None, arm: int = 0) -> RunRecord:
        """Returns the run's record, whatever became of the worker; call it once the worker has ended.

        Args:
            turns: Which part of a comparison the run was.
            arm: Of the process, where it has two.
        """
        request, outcome = self._requests[arm], self._outcome
        scenario, described = request.scenario, outcome.described.get(arm, Described())
        record = RunRecord(
            id=uuid.uuid4().hex[:12],
            request_key=request.key,
            repeat=request.repeat,
            suite=request.suite,
            created=self._created.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            status="failed",
            workload=described.workload or WorkloadKey(scenario=scenario.name, backbone=scenario.backbone),
            configuration=described.configuration
            or Configuration(
                strategy=request.public_strategy,
                per_replica_batch_size=scenario.batch_size,
                dtype_policy=scenario.dtype_policy,
                jit_compile=scenario.jit,
                steps_per_execution=scenario.steps_per_execution,
                planted=scenario.planted,
            ),
            environment=described.environment,
            turns=turns,
            tuning=request.tuning,
        )
        refused = outcome.refused
        if self.finished:
            finished = outcome.finished[arm]
            facts = {name: getattr(finished, name) for name in finished.__struct_fields__}
            return msgspec.structs.replace(record, status="ok", **facts)
        if refused is not None and refused.skipped and outcome.stopped is None:
            return msgspec.structs.replace(record, status="skipped", reason=publishable(refused.reason))
        reason = outcome.stopped or (refused.reason if refused else _explain_end(outcome))
        return msgspec.structs.replace(record, reason=publishable(reason), log_tail=self._read_log_tail())

    def _send(self, line: bytes) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has ended; its log says why
            self._process.stdin.write(line)
            self._process.stdin.flush()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def _note(self, line: bytes, on_progress: Callable[[Progress], None]) -> Message | None:
        """Takes in a line and returns its message; stops a worker whose lines make no sense."""
        outcome = self._outcome
        try:
            message = decode_message(line)
        except msgspec.DecodeError as error:
            said = line[:200].decode(errors="replace").strip()
            outcome.stopped = f"The worker said what is no message ({error}): {said!r}"
            return None
        if isinstance(message, Progress):
            outcome.phase = message.phase
            on_progress(message)
        elif isinstance(message, Described):
            old = outcome.described.get(message.arm, Described())
            outcome.described[message.arm] = Described(
                environment=message.environment or old.environment,
                workload=message.workload or old.workload,
                configuration=message.configuration or old.configuration,
            )
        elif isinstance(message, Finished):
            outcome.finished.append(message)
        elif isinstance(message, Refused):
            outcome.refused = message
        return message

    def _exceeded(self) -> str | None:
        """Returns why the worker must be stopped, or None."""
        limits, phase = self._limits, self._outcome.phase
        if time.monotonic() > self._deadline:
            return (
                f"It took longer than the limit of {limits.seconds:.0f} s and was stopped while {phase}. "
                "Raise --time-limit, or take a smaller network, image or batch."
            )
        try:
            worker = psutil.Process(self._process.pid)
            resident = sum(p.memory_info().rss for p in [worker, *worker.children(recursive=True)])
        except psutil.Error:  # it ended this moment
            return None
        if resident > limits.memory_bytes:
            self._outcome.holds_too_much = True
            return (
                f"It held {resident / 2**30:.1f} GiB, more than the limit of "
                f"{limits.memory_bytes / 2**30:.1f} GiB, and was stopped while {phase}. "
                "Take a smaller batch or image, or raise --memory-limit."
            )
        return None

    def _kill(self) -> None:
        with contextlib.suppress(psutil.Error):
            worker = psutil.Process(self._process.pid)
            for member in [*worker.children(recursive=True), worker]:
                with contextlib.suppress(psutil.Error):
                    member.kill()

    def _read_log_tail(self) -> tuple[str, ...]:
        """Returns the last lines of the log, fit to be published."""
        return tuple(publishable(self._log.read_text(errors="replace")).splitlines()[-LOG_TAIL_LINES:])


def _explain_end(outcome: _Outcome) -> str:
    code = outcome.return_code or 0
    if code == -_SIGKILL:
        return (
            f"The worker was killed (SIGKILL) while {outcome.phase}; on a full machine the system does so. "
            "Take a smaller batch or image, or free memory."
        )
    if code < 0:
        return f"The worker crashed ({signal.Signals(-code).name}) while {outcome.phase}; its log says more."
    return f"The worker stopped with exit code {code} while {outcome.phase}; its log says more."
