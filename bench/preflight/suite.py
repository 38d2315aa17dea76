"""The preflight of several networks on several targets: children trace and compile, side by side."""

import os
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import partial
from pathlib import Path

import msgspec

from tpuens.errors import InterruptedRunError, RunError, TpuensError
from tpuens.training.interrupts import StopRequest, catch_stop_signals

from ..execution.limits import Limits
from ..measuring.scrubbing import publishable
from ..records.record import Struct
from .advice import describe_batch, describe_findings, describe_input
from .cache import Cache
from .child import AnswerT, CrowdedError, Room, StoppedError, ask_child
from .fitting import expect, find_largest
from .jobs import Job
from .messages import TEXT, Compiled, CompileOrder, Export, Step
from .results import Attempt, PreflightResult, read_results, save_result
from .stablehlo import read_findings
from .targets import TARGETS, Target

# What is told of one job while the others go on: a full disk and no memory for a process are among it.
_FAILURES = (StoppedError, TpuensError, OSError)


@dataclass
class Preflight:
    """Looks at jobs, each once.

    Attributes:
        limits: Seconds of each child, and the memory of all that run at a time.
        search: Whether to look for the largest batch that fits.
        on_progress: Told in words what is being done.
    """

    cache: Cache
    limits: Limits
    search: bool = True
    on_progress: Callable[[str], None] = lambda words: None
    _room: Room = field(init=False)
    _request: StopRequest = field(default_factory=StopRequest)
    _locks: dict[Step, threading.Lock] = field(default_factory=dict)
    _untraceable: dict[Step, str] = field(default_factory=dict)
    _guard: threading.Lock = field(default_factory=threading.Lock)
    _known: dict[str, PreflightResult] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._room = Room(self.limits.memory_bytes)

    def run(
        self,
        jobs: Sequence[Job],
        folder: Path,
        *,
        workers: int,
        on_result: Callable[[PreflightResult], None] = lambda result: None,
    ) -> list[PreflightResult]:
        """Returns a result for every job, each saved in the folder after every compile.

        What results in the folder tell of the same graphs is not compiled again. A job that has no memory
        beside others waits until they are done.

        Raises:
            InterruptedRunError: Ctrl-C or SIGTERM; what is finished is kept, compiles in the cache included.
            RunError: The folder cannot be written.
        """
        self._known = {one.name: one for one in read_results(folder)}
        self.cache.adopt(self._known.values())
        results: list[PreflightResult] = []
        with ThreadPoolExecutor(max_workers=workers) as pool, catch_stop_signals() as self._request:
            found = self._look_at_all(jobs, pool, partial(self._save, folder))
            try:
                for result in found:
                    if self._request.requested:
                        raise InterruptedRunError(
                            f"Stopped after {len(results)} of {len(jobs)}. What was compiled is kept: the "
                            f"same command goes on from there. Results: {folder}"
                        )
                    self._save(folder, result)
                    results.append(result)
                    on_result(result)
            except BaseException:
                self._request.requested = True  # the pool waits for its threads, and they for their children
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        return results

    def _save(self, folder: Path, result: PreflightResult) -> PreflightResult:
        saved = self._known[result.name] = save_result(folder, result)
        return saved

    def _look_at_all(
        self,
        jobs: Sequence[Job],
        pool: ThreadPoolExecutor,
        on_attempt: Callable[[PreflightResult], PreflightResult],
    ) -> Iterator[PreflightResult]:
        """Yields results as they come, at last those of jobs that had no room beside others."""
        futures = {pool.submit(self.look_at, job, on_attempt=on_attempt): job for job in jobs}
        waiting = []
        for future in as_completed(futures):
            try:
                yield future.result()
            except CrowdedError:
                waiting.append(futures[future])
                self.on_progress(f"{waiting[-1].title}: too little memory beside others, waits for them")
        for job in waiting:
            yield self.look_at(job, on_attempt=on_attempt)

    def look_at(
        self, job: Job, *, on_attempt: Callable[[PreflightResult], PreflightResult] = lambda result: result
    ) -> PreflightResult:
        """Returns what is found out about one job, whatever becomes of its children.

        Args:
            job: What to look at.
            on_attempt: Keeps what is known after each compile that was not stopped, since the next may take
                an hour; returns it with what was kept earlier.
        """
        step, target = job.step, job.target
        attempts: list[Attempt] = []
        exports: list[Export] = []

        def recall(batch_size: int, target: Target) -> None:
            """Adds what the compiler said of a batch in another call, unless the graph is another by now."""
            try:
                export = self.trace(msgspec.structs.replace(step, batch_size=batch_size), job.title)
            except CrowdedError:
                raise
            except _FAILURES:
                return
            if compiled := self.cache.load_compiled(export.graph, target, step.replicas):
                attempts.append(Attempt(batch_size=batch_size, graph=export.graph, compiled=compiled))

        def compile_at(batch_size: int, target: Target) -> Compiled:
            graph = None
            try:
                export = self.trace(msgspec.structs.replace(step, batch_size=batch_size), job.title)
                exports.append(export)
                graph = export.graph
                compiled = self.compile(export, target, step.replicas, f"{job.title}, batch {batch_size}")
            except CrowdedError:
                raise
            except _FAILURES as error:
                compiled = Compiled(status="stopped", message=publishable(str(error)))
            attempts.append(Attempt(batch_size=batch_size, graph=graph, compiled=compiled))
            if compiled.status != "stopped":
                attempts[:] = on_attempt(self._make_result(job, attempts, exports)).attempts
            return compiled

        reason = None
        if target is None:
            try:
                exports.append(self.trace(step, job.title))
            except CrowdedError:
                raise
            except _FAILURES as error:
                reason = publishable(str(error))
        else:
            compile_at(step.batch_size, target)
            if self.search:
                for batch in sorted(self._asked_before(step, target) - {one.batch_size for one in attempts}):
                    recall(batch, target)
                likely = expect(target.memory_bytes, self._said_elsewhere(step, target))
                said = {one.batch_size: one.compiled for one in attempts}
                find_largest(lambda batch: compile_at(batch, target), said, target.memory_bytes, likely)
        return self._make_result(job, attempts, exports, reason)

    def _said_elsewhere(self, step: Step, target: Target) -> list[tuple[dict[int, Compiled], int]]:
        """Returns what the same compiler said of a step for other devices, and what each of them allows."""
        others = [other for other in TARGETS.values() if other.platform == target.platform]
        return [
            (one.said, other.memory_bytes)
            for one in tuple(self._known.values())
            for other in others
            if one.target == other.name != target.name and one.step == step
        ]

    def _asked_before(self, step: Step, target: Target) -> set[int]:
        """Returns the batches that calls for other batches of the same step asked the compiler for."""
        return {
            attempt.batch_size
            for one in tuple(self._known.values())
            if one.target == target.name
            and msgspec.structs.replace(one.step, batch_size=step.batch_size) == step
            for attempt in one.attempts
            if attempt.compiled.status != "stopped"
        }

    def _make_result(
        self,
        job: Job,
        attempts: Sequence[Attempt],
        exports: Sequence[Export],
        reason: str | None = None,
    ) -> PreflightResult:
        step, target = job.step, job.target
        first = attempts[0].compiled if attempts else None
        if first and first.status in ("stopped", "refused"):
            reason = first.message
        export = exports[0] if exports else None
        return PreflightResult(
            created=datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
            target=target.name if target else "static",
            backbone=step.backbone,
            image_size=step.image_size,
            dtype_policy=step.dtype_policy,
            batch_size=step.batch_size,
            replicas=step.replicas,
            status="failed" if reason else "ok",
            reason=reason,
            attempts=tuple(attempts),
            gradient_bytes=export.gradient_bytes if export else None,
            parameters=export.parameters if export else None,
            advice=self._advise(job, export),
            versions={**(export.versions if export else {}), **(first.versions if first else {})},
        )

    def trace(self, order: Step, title: str) -> Export:
        """Returns the traced step, from the cache where it was traced before; each is traced once.

        Raises:
            StoppedError: The child gave none.
        """
        with self._guard:
            lock = self._locks.setdefault(order, threading.Lock())
        with lock:
            if export := self.cache.load_export(order):
                return export
            if order in self._untraceable:
                raise StoppedError(self._untraceable[order])
            self.on_progress(f"{title}, batch {order.batch_size}: tracing")
            with tempfile.TemporaryDirectory() as place:
                variables = {"TF_CPP_MIN_LOG_LEVEL": "2", **os.environ, "CUDA_VISIBLE_DEVICES": "-1"}
                try:
                    export = self._ask("export", order, Export, place, variables)
                except CrowdedError:
                    raise
                except StoppedError as error:
                    self._untraceable[order] = str(error)
                    raise
                self.cache.save_export(order, export, (Path(place) / TEXT).read_text())
            return export

    def compile(self, export: Export, target: Target, replicas: int, title: str) -> Compiled:
        """Returns what the compiler says of a graph, from the cache where it was asked before.

        Raises:
            StoppedError: It was killed, or took too long or too much.
        """
        if compiled := self.cache.load_compiled(export.graph, target, replicas):
            return compiled
        self.on_progress(f"{title}: compiling")
        with tempfile.TemporaryDirectory() as place:
            text = Path(place) / TEXT
            text.write_text(self.cache.read_text(export.graph))
            order = CompileOrder(
                text=str(text),
                topology=target.topology,
                options=target.options,
                replicas=replicas,
                platform=target.platform,
                allowed_bytes=target.memory_bytes if target.platform == "cuda" else None,
            )
            compiled = self._ask("compile", order, Compiled, place, dict(os.environ))
        try:
            self.cache.save_compiled(export.graph, target, replicas, compiled)
        except RunError as error:  # the result still holds it
            self.on_progress(f"{title}: the answer is not in the cache: {error}")
        return compiled

    def _ask(
        self, name: str, order: Struct, answer: type[AnswerT], place: str, variables: dict[str, str]
    ) -> AnswerT:
        return ask_child(
            f"bench.preflight.{name}",
            order,
            answer,
            Path(place),
            seconds=self.limits.seconds,
            room=self._room,
            variables=variables,
            should_stop=lambda: self._request.requested,
        )

    def _advise(self, job: Job, export: Export | None) -> tuple[str, ...]:
        of_tpu = job.target is None or job.target.platform == "tpu"
        advice = list(describe_batch(job.step.batch_size)) if of_tpu else []
        if export:
            advice += describe_findings(read_findings(self.cache.read_text(export.graph)))
            advice += describe_input(export.input_operations) if of_tpu else ()
        return tuple(advice)
