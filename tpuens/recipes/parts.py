"""The parts of a run's data: what it trains on, what it holds out, what it predicts at the end."""

import math
from dataclasses import replace

from ..data.datasets import DATASETS, load_examples
from ..data.decode import drop_corrupt
from ..data.examples import Examples, join_examples
from ..data.pipeline import Pipeline, PipelineConfig
from ..data.splits import split_fold, split_holdout, split_shuffle
from ..errors import ConfigurationError
from ..hardware.host import collect_host
from ..training.losses import LossConfig, balanced_class_weights, targets_of
from .config import SplitConfig, TrainConfig


def load_parts(config: TrainConfig) -> tuple[dict[str, Examples], list[str]]:
    """Returns the train, validation and test parts, and the ids of corrupt images that were left out.

    The test part may be unlabelled.

    Raises:
        TpuensError: The data is missing or broken, or cannot be split that way.
    """
    loaded: dict[str, Examples] = {}
    skipped: list[str] = []
    for split in DATASETS[config.dataset].splits:
        examples = load_examples(config.dataset, split, config.data_dir)
        if config.on_corrupt == "skip":
            examples, corrupt = drop_corrupt(examples)
            skipped += corrupt
        loaded[split] = examples
    rest, held_out = _hold_out(loaded, config.split)
    return {"train": rest, "validation": held_out, "test": loaded["test"]}, skipped


def make_pipeline(config: TrainConfig, examples: Examples) -> Pipeline:
    """Returns the pipeline over some part of the data; in memory it caches only what half of that holds."""
    size = len(examples) * math.prod(config.image_shape)
    too_large = config.cache == "memory" and size >= collect_host().usable_memory_bytes / 2
    return Pipeline(
        examples,
        PipelineConfig(
            image_shape=config.image_shape,
            augment=config.augment,
            targets=targets_of(config.loss.name),
            cache="none" if too_large else config.cache,
            seed=config.seed,
        ),
    )


def weigh_classes(config: TrainConfig, train_part: Examples) -> LossConfig:
    """Returns the run's loss, weighted by class where the configuration asks for that."""
    if config.class_weights != "balanced":
        return config.loss
    weights = balanced_class_weights(train_part.known_labels, len(train_part.class_names))
    return replace(config.loss, class_weights=weights)


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
