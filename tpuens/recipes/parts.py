"""The parts of a run's data: what it trains on, what it holds out, what it predicts at the end."""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from ..data.datasets import load_splits
from ..data.decode import drop_corrupt
from ..data.examples import Examples, join_examples
from ..data.pipeline import Pipeline, PipelineConfig
from ..data.splits import split_fold, split_holdout, split_shuffle
from ..errors import ConfigurationError
from ..hardware.host import collect_host
from ..training.losses import LossConfig, activation_of, balanced_class_weights, targets_of
from .config import SplitConfig, TrainConfig

# From a data set's name and where it lies to its splits.
Loader = Callable[[str, str | None], Mapping[str, Examples]]


def load_parts(config: TrainConfig, load: Loader = load_splits) -> tuple[dict[str, Examples], list[str]]:
    """Returns the train, validation and test parts, and the ids of corrupt images that were left out.

    The test part may be unlabelled.

    Args:
        config: Which data, and how they are split.
        load: In the place of `load_splits`, such as one that keeps what it has read.

    Raises:
        TpuensError: The data is missing or broken, or cannot be split that way.
    """
    loaded = dict(load(config.dataset, config.data_dir))
    skipped: list[str] = []
    if config.on_corrupt == "skip":
        for split, examples in loaded.items():
            loaded[split], corrupt = drop_corrupt(examples)
            skipped += corrupt
    _check_labels(loaded["train"], config.loss)
    rest, held_out = _hold_out(loaded, config.split)
    return {"train": rest, "validation": held_out, "test": loaded["test"]}, skipped


def make_pipelines(config: TrainConfig, parts: Mapping[str, Examples]) -> dict[str, Pipeline]:
    """Returns pipelines over parts of the data that are held at one time, by name.

    In memory they keep images only where half of it holds those of all of them; of a test part, which is read
    once, only where several views are predicted.
    """
    kept = {name: part for name, part in parts.items() if name != "test" or len(config.views) > 1}
    size = sum(map(len, kept.values())) * math.prod(config.image_shape)
    fits = size < collect_host().usable_memory_bytes / 2

    def make(name: str) -> Pipeline:
        useless = config.cache == "memory" and not (fits and name in kept)
        return Pipeline(
            parts[name],
            PipelineConfig(
                image_shape=config.image_shape,
                augment=config.augment,
                targets=targets_of(config.loss.name),
                cache="none" if useless else config.cache,
                seed=config.seed,
            ),
        )

    return {name: make(name) for name in parts}


def weigh_classes(config: TrainConfig, train_part: Examples) -> LossConfig:
    """Returns the run's loss, weighted by class where the configuration asks for that."""
    if config.class_weights != "balanced":
        return config.loss
    weights = balanced_class_weights(train_part.known_labels, len(train_part.class_names))
    return replace(config.loss, class_weights=weights)


def _check_labels(examples: Examples, loss: LossConfig) -> None:
    """Refuses labels that tell nothing, and a loss that is not for labels of this kind."""
    is_sigmoid = activation_of(loss.name) == "sigmoid"
    if len(examples.class_names) < 2 and not is_sigmoid:
        raise ConfigurationError(
            "Classes that exclude each other are two at least: add examples of another one. "
            f"Received: {examples.dataset!r}, whose only class is {', '.join(examples.class_names)}"
        )
    if examples.is_multi_label and not is_sigmoid:
        other = int((examples.known_labels.sum(axis=1) != 1).argmax())  # the first, if any is so
        names = [examples.class_names[one] for one in np.flatnonzero(examples.known_labels[other])]
        raise ConfigurationError(
            "Examples of several classes, or of none, want --loss binary_crossentropy; if each is of one "
            f"class, mend the label. Received: loss={loss.name!r}, and {examples.ids[other]} of "
            f"{examples.dataset!r}, which is of {' and '.join(names) or 'no class'}"
        )
    if is_sigmoid and not examples.is_multi_label:
        raise ConfigurationError(
            "Examples of one class each want a loss in which the classes exclude each other, such as "
            f"categorical_crossentropy. Received: loss={loss.name!r} for {examples.dataset!r}"
        )


def _hold_out(loaded: dict[str, Examples], split: SplitConfig) -> tuple[Examples, Examples]:
    if split.kind == "given":
        if "validation" not in loaded:
            raise ConfigurationError(
                f"{loaded['train'].dataset!r} comes without a validation part: hold one out with holdout, "
                "fold or shuffle. Received: split='given'"
            )
        return loaded["train"], loaded["validation"]
    labelled = [loaded[name] for name in ("train", "validation") if name in loaded]
    examples = join_examples(labelled) if len(labelled) > 1 else labelled[0]
    if split.kind == "fold":
        return split_fold(examples, folds=split.folds, fold=split.fold, seed=split.seed)
    if split.kind == "shuffle":
        return split_shuffle(
            examples, splits=split.folds, index=split.fold, fraction=split.fraction, seed=split.seed
        )
    return split_holdout(examples, fraction=split.fraction, seed=split.seed)
