"""`run --tune`: requests with the settings that short trials on this machine have chosen for them."""

import hashlib
import itertools
import math
import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

import msgspec

from tpuens.hardware.host import collect_host
from tpuens.training.interrupts import catch_stop_signals

from ..records.record import Tuning
from ..records.tunings import KeptTuning, load_tuning, save_tuning, tuning_state
from ..scenarios.table import SCENARIOS
from ..suites import Request, Timing
from .limits import Limits
from .messages import Progress
from .racing import Settings, TrialError
from .search import BATCH, Axis, search
from .trials import AUTO, THREADS, THREADS_VARIABLE, LiveArm, apply_settings


@dataclass(frozen=True, kw_only=True)
class TuningObserver:
    """Who is told how it goes: the request, the settings that are tried and what they are at; and at last
    what came of the request, in words."""

    on_progress: Callable[[Request, Settings, Progress], None] = lambda request, settings, progress: None
    on_end: Callable[[Request, str], None] = lambda request, what: None


@dataclass(frozen=True, kw_only=True)
class Tuner:
    """Chooses settings for requests on one machine, and keeps what it has found.

    Attributes:
        fingerprint: Of the machine's hardware, as `tpuens devices` tells it.
        versions: Likewise, of what runs in a step.
        logs: Folder for what the workers of trials print.
        make_limits: Tells when to stop a worker that is about to start.
        typed: Settings that were given by hand, by their fields' names: they stay.
        retune: Whether to choose anew what is known.
        observer: Who is told how it goes.
        kept_in: Where tunings lie; None for the user's cache folder.
        command: Another program in the workers' place, for tests.
    """

    fingerprint: str
    versions: dict[str, str]
    logs: Path
    make_limits: Callable[[], Limits]
    typed: Collection[str] = ()
    retune: bool = False
    observer: TuningObserver = field(default_factory=TuningObserver)
    kept_in: Path | None = None
    command: list[str] | None = None

    def tune(self, requests: Sequence[Request]) -> list[Request]:
        """Returns the requests with the settings chosen for them; as they are where nothing can be chosen.

        Repeats share their settings. What was found before is used again unless it is stale. Where the
        settings to begin with do not work, the request stays as it is, for its run to tell why.

        Raises:
            InterruptedRunError: Ctrl-C; what was found for the requests before is kept.
        """
        found: dict[str, Tuning | None] = {}
        tuned = []
        with catch_stop_signals() as stop:
            for request in requests:
                axes = list_axes(request, self.typed, collect_host().cpu.usable_cores)
                key = _key_of(request, axes)
                if axes and key not in found:
                    found[key] = self._find(request, axes, key, lambda: stop.requested)
                tuned.append(_with_tuning(request, found.get(key)))
        return tuned

    def _find(
        self, request: Request, axes: Sequence[Axis], key: str, should_stop: Callable[[], bool]
    ) -> Tuning | None:
        """Returns what is kept for a request, else what a search finds, which is kept then."""
        kept = None if self.retune else load_tuning(self.fingerprint, key, self.kept_in)
        now = datetime.now(timezone.utc)
        state = tuning_state(kept, self.versions, now)
        if kept is not None and state == "fresh":
            self.observer.on_end(request, f"settings as kept. {kept.tuning.why}")
            return kept.tuning
        numbers = itertools.count(1)

        def start(settings: Settings) -> LiveArm:
            return LiveArm(
                apply_settings(request, settings),
                log=self.logs / f"tuning-{request.scenario.name}-{key}-{next(numbers):02d}.log",
                limits=self.make_limits(),
                on_progress=lambda progress: self.observer.on_progress(request, settings, progress),
                should_stop=should_stop,
                command=self.command,
            )

        try:
            # A TPU takes one process.
            tuning = search(start, axes, side_by_side=not request.strategy.startswith("tpu"))
        except TrialError as error:
            self.observer.on_end(request, f"nothing chosen. {error}")
            return None
        tuning = msgspec.structs.replace(tuning, why=f"Chosen on {now:%Y-%m-%d}: {tuning.why}")
        kept = KeptTuning(
            fingerprint=self.fingerprint,
            key=key,
            created=f"{now:%Y-%m-%dT%H:%M:%SZ}",
            versions=self.versions,
            tuning=tuning,
        )
        save_tuning(kept, self.kept_in)
        self.observer.on_end(request, tuning.why + (f" ({state})" if state.startswith("stale") else ""))
        return tuning


def list_axes(request: Request, typed: Collection[str], cores: float) -> tuple[Axis, ...]:
    """Returns what there is to choose for a request, in the order of the search.

    Args:
        request: What is to be measured.
        typed: Settings that stay, since somebody has given them.
        cores: That this process may use.
    """
    scenario, strategy = request.scenario, request.strategy
    on_cpu, whole = strategy.startswith("cpu"), math.ceil(cores)
    has_threads = THREADS_VARIABLE in request.variables or THREADS_VARIABLE in os.environ
    # A TPU compiles in any case, and PyTorch's loop has no XLA here.
    has_jit = not strategy.startswith("tpu") and not scenario.loop.startswith("timm")
    calls = scenario.num_parallel_calls or max(1, int(cores))
    steps = scenario.steps_per_execution
    offered = (
        (scenario.batch_size is not None, Axis(setting=BATCH, present=scenario.batch_size or 0)),
        (has_jit, Axis(setting="jit", present=scenario.jit, others=(not scenario.jit,))),
        # TensorFlow itself takes a thread for each core; elsewhere those of the host do not compute the step.
        (
            on_cpu and not has_threads,
            Axis(setting=THREADS, present=AUTO, others=_others(whole, 1, 2 * whole)),
        ),
        (
            scenario.loader == "tpuens",
            Axis(setting="num_parallel_calls", present=calls, others=_others(calls, 1, whole, 2 * whole)),
        ),
        (
            scenario.loop == "tpuens",
            Axis(
                setting="steps_per_execution",
                present=steps,
                others=_others(steps, 1, 8, *(() if on_cpu else (32,))),
            ),
        ),
    )
    tunes = SCENARIOS[scenario.name].tunes
    return tuple(axis for can, axis in offered if can and axis.setting in tunes and axis.setting not in typed)


def _others(present: int, *values: int) -> tuple[int, ...]:
    return tuple(value for value in dict.fromkeys(values) if value != present)


def _key_of(request: Request, axes: Sequence[Axis]) -> str:
    """Returns a name that requests share for which the same would be found, however long they are timed."""
    scenario = msgspec.structs.replace(request.scenario, timing=Timing())
    same = msgspec.structs.replace(request, scenario=scenario).key
    text = f"{same} {[(axis.setting, axis.present, axis.others) for axis in axes]}"
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _with_tuning(request: Request, tuning: Tuning | None) -> Request:
    if tuning is None:
        return request
    return msgspec.structs.replace(apply_settings(request, tuning.chosen), tuning=tuning)
