"""A recipe under way: members over folds, the ensemble of them, and what it hands in."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import msgspec

from ..data.datasets import DATASETS
from ..data.locations import find_data_dir
from ..data.remote import DataPath
from ..ensembling.combine import combine_predictions
from ..ensembling.describe import describe_evaluation
from ..ensembling.ensemble import EnsembleConfig
from ..ensembling.honesty import Evaluation, evaluate_ensemble
from ..errors import ConfigurationError, InterruptedRunError
from ..evaluation.pictures import draw_confusion_matrix
from ..evaluation.predictions import Predictions, join_predictions, load_predictions, save_predictions
from ..evaluation.submissions import write_submission
from ..hardware.strategies import is_chief, open_strategy
from ..training.workers import check_shared, passed_by_all
from .config import SplitConfig, TrainConfig, check_config
from .finish import RunSeries
from .phases import Observer
from .report import RunLine, write_report
from .run_folder import RunFolder


@dataclass(frozen=True, kw_only=True)
class RecipeConfig:
    """What a recipe does; kept in its folder as recipe.json.

    Attributes:
        name: The recipe's name.
        preset: Which of its sizes.
        members: The networks by name; their `split` is that of the recipe.
        spare_members: Others that may take their place.
        split: What is held out. With kind ``"fold"`` every member is trained once for each of `run_folds`.
        run_folds: Which folds to train; all of them give out-of-fold predictions of every labelled example.
        ensemble: How the members are combined.
        metric: The competition's: a field of `Scores`.
        submission: What a submission holds; None where the test part is labelled.
    """

    name: str
    preset: str
    members: dict[str, TrainConfig]
    spare_members: dict[str, TrainConfig] = field(default_factory=dict)
    split: SplitConfig
    run_folds: tuple[int, ...] = (0,)
    ensemble: EnsembleConfig = field(default_factory=EnsembleConfig)
    metric: str = "top_1_accuracy"
    submission: Literal["probabilities", "label"] | None = None


@dataclass(frozen=True, kw_only=True)
class RecipeSummary:
    """What a recipe came to.

    Attributes:
        folder: Where everything lies.
        scores: Of members and ensemble, as `describe_evaluation` gives them, by the part of the data: the
            labelled examples that the members were not trained on, and the test part where it is labelled.
        submission: The file to hand in; None where there is none.
    """

    folder: Path
    scores: dict[str, dict[str, dict[str, Any]]]
    submission: Path | None


def run_recipe(config: RecipeConfig, output: Path, *, observer: Observer | None = None) -> RecipeSummary:
    """Trains the members, combines them, and writes scores, report and submission.

    What is finished is not done again: the same call, or `resume_recipe`, goes on where one was stopped.

    Args:
        config: What to do.
        output: A new folder, or that of the same recipe.
        observer: Told of progress.

    Raises:
        TpuensError: A name, file, device or number cannot be used, or the folder holds something else.
        InterruptedRunError: Ctrl-C or SIGTERM; everything up to the last step is kept.
    """
    observer = observer or Observer()
    if is_recipe(output):
        config = _stay(config, read_recipe(output))
    strategy_name = _check(config)
    strategy = open_strategy(strategy_name)
    with passed_by_all(strategy):
        if is_chief(strategy):
            _claim(config, output)
    check_shared(strategy, output)
    series = RunSeries(strategy=strategy, observer=observer, features=output / "features")
    for name, fold, run_config in _list_runs(config):
        observer.on_status(
            f"{name}"
            + (
                f", fold {fold} (of {config.split.folds}, counted from 0)"
                if len(config.run_folds) > 1
                else ""
            )
        )
        try:
            series.finish(run_config, _run_path(output, name, fold))
        except InterruptedRunError as error:
            raise InterruptedRunError(
                f"Stopped while {name} was trained (fold {fold}); everything so far is kept. "
                f"Go on with: tpuens train --resume {output}"
            ) from error
    observer.on_status("combining the members")
    return _combine(config, output, may_write=is_chief(strategy))


def resume_recipe(
    output: Path, *, observer: Observer | None = None, data_dir: str | None = None
) -> RecipeSummary:
    """Goes on with the recipe in a folder; `data_dir` is where its data lies now, None where it lay."""
    config = read_recipe(output)
    return run_recipe(config if data_dir is None else _move(config, data_dir), output, observer=observer)


def read_recipe(output: Path) -> RecipeConfig:
    """Returns the configuration that a recipe's folder holds.

    Raises:
        ConfigurationError: It is of another version of tpuens.
    """
    try:
        return msgspec.json.decode(RunFolder(output).read_text("recipe.json"), type=RecipeConfig)
    except msgspec.MsgspecError as error:
        raise ConfigurationError(
            f"recipe.json is not of this version of tpuens: start anew. Received: {output} ({error})"
        ) from error


def is_recipe(output: Path) -> bool:
    """Returns whether a folder holds a recipe, rather than a run."""
    return (output / "recipe.json").exists()


def _check(config: RecipeConfig) -> str:
    """Returns the strategy of all members, once they are known to go together."""
    if len(config.members) < 2:
        raise ConfigurationError(
            "A recipe makes an ensemble of at least two members; `tpuens train --data …` trains one network. "
            f"Received: {', '.join(config.members) or 'none'}"
        )
    for fold in config.run_folds:
        if not 0 <= fold < config.split.folds:
            raise ConfigurationError(
                f"Folds are numbered from 0 to {config.split.folds - 1}. Received: fold {fold}"
            )
    if len(set(config.run_folds)) < len(config.run_folds):
        raise ConfigurationError(
            "A fold is trained once. Received: folds " + ", ".join(map(str, config.run_folds))
        )
    if config.ensemble.search == "alpha" and len(config.members) != 2:
        raise ConfigurationError(
            "The search 'alpha' weighs two members; for more, search by macro_f1. "
            f"Received: {len(config.members)} members"
        )
    for member in config.members.values():
        check_config(replace(member, split=config.split))
    strategies = sorted({member.strategy for member in config.members.values()})
    if len(strategies) > 1:
        raise ConfigurationError(
            f"The members of a recipe train under one strategy. Received: {', '.join(strategies)}"
        )
    return strategies[0]


def _claim(config: RecipeConfig, output: Path) -> None:
    """Makes the recipe's folder, or sees that it is this recipe's, or one that never got to a run."""
    folder = RunFolder(output)
    text = json.dumps(asdict(config), indent=1) + "\n"
    if not is_recipe(output):
        folder.create()
        folder.write_text("recipe.json", text)
    elif not any(output.glob("members/*/fold-*/config.json")) or _is_same(read_recipe(output), config):
        folder.write_text("recipe.json", text)
    else:
        raise ConfigurationError(
            "A recipe goes on as it was configured, by `tpuens train --resume FOLDER`; other settings want "
            f"another --output. Received: {output}, which holds a recipe with other settings"
        )


def _move(config: RecipeConfig, data_dir: str | None) -> RecipeConfig:
    """Returns the recipe with its data in another place."""
    members = {name: replace(member, data_dir=data_dir) for name, member in config.members.items()}
    return replace(config, members=members)


def _stay(config: RecipeConfig, before: RecipeConfig) -> RecipeConfig:
    """Returns the recipe with its data where it lay, unless it says where that lies now."""
    places = {member.data_dir for member in before.members.values()}
    says = any(member.data_dir for member in config.members.values())
    return config if says or len(places) != 1 else _move(config, places.pop())


def _is_same(before: RecipeConfig, now: RecipeConfig) -> bool:
    """Returns whether two recipes are the same, wherever the data lies."""
    return _move(before, None) == _move(now, None)


def _list_runs(config: RecipeConfig) -> Iterator[tuple[str, int, TrainConfig]]:
    """Yields the runs of a recipe: member, fold, what to do."""
    # Fold by fold, so that a recipe that is stopped has whole ensembles of some folds.
    for fold in config.run_folds:
        for name, member in config.members.items():
            yield name, fold, replace(member, split=replace(config.split, fold=fold))


def _run_path(output: Path, name: str, fold: int) -> Path:
    return output / "members" / name / f"fold-{fold}"


def _combine(config: RecipeConfig, output: Path, *, may_write: bool) -> RecipeSummary:
    held_out, tests = [], []
    for name in config.members:
        folders = [RunFolder(_run_path(output, name, fold)) for fold in config.run_folds]
        held_out.append(_gather(folders, "validation", name))
        tests.append(_gather(folders, "test", name))
        if may_write:
            save_predictions(output / "members" / name / "held-out.npz", held_out[-1])
            save_predictions(output / "members" / name / "test.npz", tests[-1])
    here = evaluate_ensemble(held_out, config.ensemble, part="held-out labelled")
    there = evaluate_ensemble(
        tests,
        config.ensemble,
        fit_members=held_out if config.ensemble.is_fitted else None,
        part="test",
        fit_part="held-out labelled",
    )
    evaluations = {"held-out": here} | (
        {"test": there} if there.scored is not None and there.predictions.labels is not None else {}
    )
    scores = {
        part: describe_evaluation(evaluation, list(config.members))
        for part, evaluation in evaluations.items()
    }
    if any(phase.patience is not None for member in config.members.values() for phase in member.phases):
        scores["held-out"]["ensemble"]["scored_on"] += (
            "; early stopping has chosen each member's epoch by them, which flatters all scores"
        )
    summary = RecipeSummary(
        folder=output,
        scores=scores,
        submission=None if config.submission is None else output / "submission.csv",
    )
    if may_write:
        save_predictions(output / "ensemble" / "held-out.npz", here.predictions)
        save_predictions(output / "ensemble" / "test.npz", there.predictions)
        if summary.submission is not None:
            files = {output / "members" / one.source / "submission.csv": one for one in tests}
            for path, predictions in (files | {summary.submission: there.predictions}).items():
                write_submission(predictions, _find_sample(config), path, config.submission or "label")
        _report(config, summary, evaluations)
    return summary


def _report(config: RecipeConfig, summary: RecipeSummary, evaluations: Mapping[str, Evaluation]) -> None:
    pictures = {}
    for part, evaluation in evaluations.items():
        scored = evaluation.scored
        if scored is not None and scored.labels is not None and not scored.is_multi_label:
            picture = f"confusion-{part}.png"
            draw_confusion_matrix(
                scored.labels, scored.probabilities, scored.class_names, summary.folder / picture
            )
            pictures[picture] = f"What the ensemble takes for what: {part} examples"
    runs = []
    for name, fold, _ in _list_runs(config):
        folder = RunFolder(_run_path(summary.folder, name, fold))
        seconds = folder.read_json("environment.json")["seconds"]
        runs.append(RunLine(member=name, fold=fold, epochs=len(folder.read_history()), seconds=seconds))
    write_report(
        RunFolder(summary.folder),
        title=f"{config.name}, preset {config.preset}",
        metric=config.metric,
        scores=summary.scores,
        runs=runs,
        pictures=pictures,
        submission=summary.submission,
    )


def _gather(folders: list[RunFolder], part: str, name: str) -> Predictions:
    """Returns a member's predictions over its folds: validation parts joined, of the test part the mean."""
    parts = [load_predictions(folder.predictions(part)) for folder in folders]
    if len(parts) == 1:
        return replace(parts[0], source=name)
    return replace(
        join_predictions(parts) if part == "validation" else combine_predictions(parts), source=name
    )


def _find_sample(config: RecipeConfig) -> DataPath | None:
    """Returns the competition's sample submission, where its folder holds one."""
    member = next(iter(config.members.values()))
    folder = find_data_dir(DATASETS[member.dataset], member.data_dir)
    sample = None if folder is None else folder / "sample_submission.csv"
    return sample if sample is not None and sample.exists() else None
