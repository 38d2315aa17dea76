"""The progress bar of `tpuens train`."""

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from .evaluation.metrics import Scores
from .recipes.phases import Observer
from .training.loop import EpochReport
from .training.loop import Progress as EpochProgress


class TrainProgress:
    """Draws one bar an epoch, and leaves a line behind when an epoch is done."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:.0f}/{task.total:.0f} {task.fields[unit]}"),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
        )
        self._task = self._bar.add_task("", total=1, rate="", unit="steps", visible=False)
        self.observer = Observer(
            on_status=lambda text: self._console.print(f"[dim]{text}[/dim]", highlight=False),
            on_features=self._show_features,
            on_progress=self._show_progress,
            on_epoch=self._show_epoch,
        )

    def __enter__(self) -> "TrainProgress":
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def _show_features(self, part: str, done: int, total: int) -> None:
        self._bar.update(
            self._task,
            description=f"features of the {part} part",
            completed=done,
            total=total,
            rate="",
            unit="images",
            visible=True,
        )

    def _show_progress(self, progress: EpochProgress) -> None:
        self._bar.update(
            self._task,
            description=f"epoch {progress.epoch + 1}",
            completed=progress.step,
            total=progress.steps,
            unit="steps",
            rate=_format_rate(progress.examples_per_second),
            visible=True,
        )

    def _show_epoch(self, report: EpochReport, scores: Scores) -> None:
        compiling = (
            "" if report.first_step_seconds is None else f", first step {report.first_step_seconds:.1f} s"
        )
        self._console.print(
            f"epoch {report.epoch + 1}: loss {report.loss:.4f}, accuracy {report.accuracy:.4f}, "
            f"validation loss {scores.log_loss:.4f}, accuracy {scores.top_1_accuracy:.4f}; "
            f"{report.seconds:.1f} s{compiling}, {_format_rate(report.examples_per_second)}",
            highlight=False,
            soft_wrap=True,
        )


def _format_rate(rate: float | None) -> str:
    return "" if rate is None else f"{rate:,.1f} examples/s"
