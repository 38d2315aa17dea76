"""The progress display of `tpuens-bench run`."""

from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar

from .execution.messages import Progress
from .execution.suite_run import SuiteObserver
from .records.record import RunRecord
from .suites import Request

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


def _format_left(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
