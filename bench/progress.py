"""The progress displays of runs, comparisons and tuning."""

from collections.abc import Sequence
from types import TracebackType
from typing import TypeVar

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar

from .analysis.compare import compare_records
from .analysis.matching import split_arms
from .execution.compare_run import ComparisonObserver
from .execution.messages import Progress
from .execution.racing import Settings
from .execution.suite_run import SuiteObserver
from .execution.tuning import TuningObserver
from .records.record import RunRecord
from .suites import Request

StatusLine = TypeVar("StatusLine", bound="_StatusLine")
MARKS = {"ok": "[green]done[/green]", "failed": "[red]failed[/red]", "skipped": "[yellow]skipped[/yellow]"}


class SuiteProgress:
    """Names the run, its phase and the time left; leaves a line behind for each run that is over."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._bar = Bar(
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            BarColumn(bar_width=16),
            TextColumn("{task.description}"),
            console=self._console,
            transient=True,
        )
        self._task = self._bar.add_task("", total=1)
        self._title = ""
        self.observer = SuiteObserver(on_start=self._start, on_progress=self._show, on_record=self._finish)

    def __enter__(self) -> "SuiteProgress":
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def _start(self, number: int, of: int, request: Request) -> None:
        self._title = request.title
        self._bar.update(self._task, completed=number - 1, total=of, description=escape(self._title))

    def _show(self, progress: Progress, seconds_left: float) -> None:
        count = f" {progress.done}/{progress.of}" if progress.of else ""
        phase = progress.phase.replace("_", " ")
        text = f"{self._title} · {phase}{count} · about {_format_left(seconds_left)} left"
        self._bar.update(self._task, description=escape(text))

    def _finish(self, record: RunRecord) -> None:
        seconds = sum(record.phases.values())
        end = f"{seconds:.0f} s" if record.status == "ok" else escape(record.reason or "")
        self._console.print(
            f"{MARKS[record.status]} {escape(self._title)}: {end}", highlight=False, soft_wrap=True
        )


class _StatusLine:
    """One line that says what goes on."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._status = self._console.status("starting")

    def __enter__(self: StatusLine) -> StatusLine:
        self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._status.stop()


class TuningProgress(_StatusLine):
    """Names the request and the settings that are tried; leaves a line behind for what was chosen."""

    def __init__(self) -> None:
        super().__init__()
        self.observer = TuningObserver(on_progress=self._show, on_end=self._finish)

    def _show(self, request: Request, settings: Settings, progress: Progress) -> None:
        tried = ", ".join(f"{name} {value}" for name, value in settings.items())
        self._status.update(escape(f"tuning {request.title} · {tried} · {progress.phase.replace('_', ' ')}"))

    def _finish(self, request: Request, what: str) -> None:
        self._console.print(escape(f"{request.title}: {what}"), highlight=False, soft_wrap=True)


def _format_left(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


class ComparisonProgress(_StatusLine):
    """Names the pair and what its arm is at, with the interval so far."""

    def __init__(self) -> None:
        super().__init__()
        self._so_far = ""
        self.observer = ComparisonObserver(
            on_progress=self._show, on_pair=self._count, on_note=self._console.print
        )

    def _show(self, pair: int, arm: str, progress: Progress) -> None:
        count = f" {progress.done}/{progress.of}" if progress.of else ""
        phase = progress.phase.replace("_", " ")
        self._status.update(escape(f"pair {pair} · {arm} {phase}{count}{self._so_far}"))

    def _count(self, records: Sequence[RunRecord]) -> None:
        # How wide, and not what it says: who saw the verdict grow could stop where it pleases.
        readings = compare_records(*split_arms(records)).readings
        widest = max((one.wall.half_width for one in readings if one.wall), default=None)
        self._so_far = f" · so far ± {widest:.1%}" if widest is not None else ""
