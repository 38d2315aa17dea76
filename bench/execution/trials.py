"""Settings at work in a live worker, for the search that chooses among them."""

import contextlib
import statistics
from collections.abc import Callable
from pathlib import Path

import msgspec

from tpuens.errors import InterruptedRunError

from ..scenarios.table import SCENARIOS
from ..suites import Request
from .comparison_plan import TURN_SECONDS
from .limits import Limits
from .live_worker import Answer, LiveWorker
from .messages import Order, Progress, Ready, Taken, TakeTurn, Warmed, WarmUp
from .racing import Settings, TrialError
from .turns import SHARED_DEVICE

WARMUP_STEPS = 4  # after the first, which is taken when the worker gets ready
THREADS, THREADS_VARIABLE = "intra_op_threads", "TF_NUM_INTRAOP_THREADS"
AUTO = "auto"  # as many threads as TensorFlow itself takes


def apply_settings(request: Request, settings: Settings) -> Request:
    """Returns the request with the settings: threads are a variable, the others fields of the scenario."""
    fields = {name: value for name, value in settings.items() if name != THREADS}
    threads = settings.get(THREADS, AUTO)
    variables = {} if threads == AUTO else {THREADS_VARIABLE: str(threads)}
    scenario = msgspec.structs.replace(request.scenario, **fields)
    return msgspec.structs.replace(request, scenario=scenario, variables={**request.variables, **variables})


class LiveArm:
    """A worker with its settings, warmed up; see `bench.execution.racing.Arm`.

    Args:
        request: What it runs.
        log: File for everything that it prints.
        limits: When to stop it.
        on_progress: Told what it is at.
        should_stop: Asked a few times a second whether to stop it.
        command: Another program in its place, for tests.

    Raises:
        TrialError: The settings do not work.
        InterruptedRunError: It was told to stop.
    """

    def __init__(
        self,
        request: Request,
        *,
        log: Path,
        limits: Limits,
        on_progress: Callable[[Progress], None] = lambda progress: None,
        should_stop: Callable[[], bool] = lambda: False,
        command: list[str] | None = None,
    ) -> None:
        self._on_progress, self._should_stop = on_progress, should_stop
        self._stack = contextlib.ExitStack()
        self._worker = self._stack.enter_context(
            LiveWorker(
                request, log=log, limits=limits, takes_turns=True, variables=SHARED_DEVICE, command=command
            )
        )
        try:
            self._warm_up(SCENARIOS[request.scenario.name].compares[-1])
        except BaseException:
            self.close()
            raise

    def take_turn(self) -> float:
        """Takes a turn and returns its seconds."""
        taken = self._ask(TakeTurn(probe=self._probe, steps=self._steps))
        assert isinstance(taken, Taken)
        return taken.seconds

    def close(self) -> None:
        """Ends the worker; again and again if need be."""
        self._stack.close()

    def _warm_up(self, probe: str) -> None:
        ready = self._wait()
        assert isinstance(ready, Ready)
        self._probe, outline = next(
            (place, one) for place, one in enumerate(ready.probes) if one.name == probe
        )
        warmed = self._ask(WarmUp(probe=self._probe, steps=WARMUP_STEPS))
        assert isinstance(warmed, Warmed)
        self.step_seconds = statistics.median(warmed.step_seconds[WARMUP_STEPS // 2 :])
        self._steps = min(max(1, round(TURN_SECONDS / self.step_seconds)), outline.max_block_steps)
        self.examples = self._steps * outline.examples_per_call

    def _ask(self, order: Order) -> Answer:
        self._worker.give(order)
        return self._wait()

    def _wait(self) -> Answer:
        answer = self._worker.follow(on_progress=self._on_progress, should_stop=self._should_stop)
        if answer is not None:
            return answer
        if self._should_stop():
            raise InterruptedRunError("Stopped while settings were tried; of that search nothing is kept.")
        reason = self._worker.make_record().reason or "The worker has ended."
        raise TrialError(reason, out_of_memory=self._worker.ran_out_of_memory)
