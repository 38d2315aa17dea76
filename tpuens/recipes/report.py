"""What a recipe came to, for people: report.md, and the same in metrics.json."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..ensembling.describe import format_basis
from .run_folder import RunFolder

_COLUMNS = {
    "top_1_accuracy": "accuracy (95 %)",
    "log_loss": "log loss",
    "macro_f1": "macro F1",
    "macro_roc_auc": "mean ROC AUC",
    "expected_calibration_error": "calibration error",
}


@dataclass(frozen=True, kw_only=True)
class RunLine:
    """One finished run of a recipe."""

    member: str
    fold: int
    epochs: int
    seconds: float


def write_report(
    folder: RunFolder,
    *,
    title: str,
    metric: str,
    scores: Mapping[str, Mapping[str, Mapping[str, Any]]],
    runs: Sequence[RunLine],
    pictures: Mapping[str, str],
    submission: Path | None,
) -> None:
    """Writes report.md and metrics.json.

    Args:
        folder: The recipe's.
        title: The report's.
        metric: The score that the recipe is about.
        scores: By part of the data: what `describe_evaluation` said of it.
        runs: What was trained.
        pictures: Captions, by the name of the file in the folder.
        submission: The file to hand in, where there is one.
    """
    reached = ", ".join(
        f"{rows['ensemble'][metric]:.4f} on {part} examples"
        for part, rows in scores.items()
        if rows["ensemble"].get(metric) is not None
    )
    lines = [f"# {title}", "", f"{_COLUMNS[metric].removesuffix(' (95 %)')}: {reached or 'not defined'}.", ""]
    for part, rows in scores.items():
        lines += [
            f"## {part.capitalize()} examples",
            "",
            *_format_scores(rows),
            "",
            *(f"- {line}" for line in format_basis(rows["ensemble"])),
            "",
        ]
    if submission is not None:
        lines += [
            "## Submission",
            "",
            f"[{submission.name}]({submission.name}): the ensemble's; each "
            "member's lies in its folder under members/.",
            "",
        ]
    lines += ["## Runs", "", "| member | fold | epochs | seconds |", "| --- | ---: | ---: | ---: |"]
    lines += [f"| {run.member} | {run.fold} | {run.epochs} | {run.seconds:.0f} |" for run in runs]
    lines += [
        "",
        "Seconds are of the process that ended a run: data, model, training and predictions. Features of a "
        "frozen backbone are computed once, by the first run that wants them.",
        "",
    ]
    for name, caption in pictures.items():
        lines += [f"![{caption}]({name})", "", caption, ""]
    folder.write_text("report.md", "\n".join(lines))
    folder.write_json("metrics.json", scores)


def _format_scores(rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    weighted = any("weight" in row for row in rows.values())
    columns = [name for name in _COLUMNS if any(name in row for row in rows.values())]
    heads = ["", *(["weight"] if weighted else []), *(_COLUMNS[name] for name in columns)]
    lines = ["| " + " | ".join(heads) + " |", "| --- " + "| ---: " * (len(heads) - 1) + "|"]
    for name, row in rows.items():
        cells = [name]
        if weighted:
            cells.append(f"{row['weight']:.3f}" if "weight" in row else "")
        for column in columns:
            value = row.get(column)
            cells.append("not defined" if value is None else f"{value:.4f}")
            if column == "top_1_accuracy" and value is not None:
                low, high = row["accuracy_interval"]
                cells[-1] += f" ({low:.4f} to {high:.4f})"
        lines.append("| " + " | ".join(cells) + " |")
    return lines
