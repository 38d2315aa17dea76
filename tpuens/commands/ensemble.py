"""`tpuens ensemble`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from ..errors import ConfigurationError
from .options import Json, list_given, parse_numbers


def ensemble(
    context: typer.Context,
    members: Annotated[list[Path], typer.Argument(help="Prediction files, or folders of runs.")],
    method: Annotated[
        str | None,
        typer.Option(help="mean, weighted, geometric, rank or stack (default mean; weighted with weights)."),
    ] = None,
    weights: Annotated[str | None, typer.Option(help="One a member, separated by commas.")] = None,
    search: Annotated[
        str | None,
        typer.Option(
            help="Fit the weights: log_loss, accuracy, macro_f1, roc_auc, or alpha for two members."
        ),
    ] = None,
    temperature: Annotated[
        bool, typer.Option("--temperature", help="Fit and scale each member's confidence first.")
    ] = False,
    fit: Annotated[
        str | None,
        typer.Option(help="What is fitted is fitted to this part of the runs (default validation)."),
    ] = None,
    split: Annotated[str, typer.Option(help="Which predictions of the runs are combined.")] = "test",
    output: Annotated[Path | None, typer.Option(help="Write the ensemble's predictions here.")] = None,
    submission: Annotated[
        Path | None, typer.Option(help="Write a competition's CSV of the ensemble's predictions here.")
    ] = None,
    sample_submission: Annotated[
        Path | None, typer.Option(help="The competition's own, whose columns and order that CSV takes.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Combine predictions, and score every member and the ensemble on examples that no fit has seen.

    Weights, temperatures and stacks are fitted to the validation part of runs and scored on their test part;
    for prediction files, and where both parts are one, the fit is cross-fitted in five folds.
    """
    from ..ensembling.describe import describe_evaluation
    from ..ensembling.ensemble import EnsembleConfig
    from ..ensembling.honesty import evaluate_ensemble
    from ..evaluation.predictions import load_predictions, save_predictions
    from ..evaluation.submissions import write_submission
    from ..tables import print_described

    if sample_submission is not None and submission is None:
        raise ConfigurationError(
            "--sample-submission says what --submission is to look like: name the file to write. "
            f"Received: sample_submission={str(sample_submission)!r} alone"
        )
    if "--split" in list_given(context) and not any(path.is_dir() for path in members):
        raise ConfigurationError(
            "--split names a part of runs, and these members are prediction files, each of one part. "
            f"Received: split={split!r}"
        )
    default = "mean" if weights is None and search is None else "weighted"
    config = EnsembleConfig(
        method=method or default,
        weights=None if weights is None else parse_numbers(weights, "Weights"),
        search=search,
        temperature=temperature,
    )
    fit_files = _find_fit_files(members, fit, split, config.is_fitted)
    predictions = [load_predictions(file) for file in _find_files(members, split)]
    evaluation = evaluate_ensemble(
        predictions,
        config,
        fit_members=None if fit_files is None else [load_predictions(file) for file in fit_files],
        part=split if all(path.is_dir() for path in members) else "given",
        fit_part=fit or "validation",
    )
    if submission is not None:
        write_submission(evaluation.predictions, sample_submission, submission)
    if output is not None:
        save_predictions(output, evaluation.predictions)
    report = describe_evaluation(
        evaluation, [f"{number}: {one.source}" for number, one in enumerate(predictions, 1)]
    )
    if as_json:
        typer.echo(json.dumps(report, indent=1))
    else:
        print_described(report)
    if output is not None:
        typer.echo(f"predictions of {len(evaluation.predictions)} examples: {output}", err=as_json)
    if submission is not None:
        typer.echo(f"submission: {submission}", err=as_json)


def _find_files(members: Sequence[Path], split: str) -> list[Path]:
    from ..recipes.run_folder import RunFolder

    return [RunFolder(path).predictions(split) if path.is_dir() else path for path in members]


def _find_fit_files(
    members: Sequence[Path], fit: str | None, split: str, is_fitted: bool
) -> list[Path] | None:
    """Returns the files to fit to; None where nothing is fitted, or the members are cross-fitted."""
    folders = [path for path in members if path.is_dir()]
    if fit is not None and not is_fitted:
        raise ConfigurationError(
            "--fit names what weights are fitted to, but nothing is to be fitted: add --search, "
            f"--temperature or --method stack. Received: fit={fit!r}"
        )
    if fit is not None and not folders:
        raise ConfigurationError(
            "--fit names a part of runs, but the members are prediction files: their fit is cross-fitted on "
            f"themselves. Received: fit={fit!r}"
        )
    if not is_fitted or not folders or (fit or "validation") == split:
        return None
    if len(folders) < len(members):
        other = next(path for path in members if not path.is_dir())
        raise ConfigurationError(
            "Where something is fitted, members are all folders of runs or all prediction files. "
            f"Received: {folders[0]}, a folder, and {other}, a file"
        )
    return _find_files(members, fit or "validation")
