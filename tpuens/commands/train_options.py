"""The options of `tpuens train` for one network: their types and what their help says."""

from pathlib import Path
from typing import Annotated

import typer

from ..data.augment import AUGMENTATIONS

Data = Annotated[str | None, typer.Option(help="A name from `tpuens data list`.")]
Backbone = Annotated[
    str,
    typer.Option(
        help="cifar_cnn, efficientnet_lite0 to 2, or a network of keras.applications in lower case, such as "
        "mobilenetv2 or efficientnetb7."
    ),
]
Weights = Annotated[str | None, typer.Option(help="'imagenet', or a weights file; none for a random start.")]
HeadBlocks = Annotated[int, typer.Option(help="Blocks of the backbone that the head sees besides its end.")]
Dropout = Annotated[float, typer.Option(help="Rate ahead of the head.")]
ImageSize = Annotated[int | None, typer.Option(help="Height and width shown to the network.")]
Colour = Annotated[str, typer.Option(help="rgb or grey.")]
GlobalBatchSize = Annotated[int | None, typer.Option(help="The whole batch instead.")]

Epochs = Annotated[int | None, typer.Option(help="Passes over the training part (default 10).")]
FreezeEpochs = Annotated[int, typer.Option(help="Epochs before those, in which only the head trains.")]
HeadLearningRate = Annotated[float, typer.Option(help="Constant, of those epochs.")]
Trainable = Annotated[
    str, typer.Option(help="all, head, or top:N: the head and the last N blocks of the backbone.")
]
FreezeBatchNorm = Annotated[
    bool, typer.Option("--freeze-batch-norm", help="Keep the backbone's batch normalisation as it came.")
]
Optimizer = Annotated[str, typer.Option(help="adam, adamw or sgd.")]
WeightDecay = Annotated[float | None, typer.Option(help="Of adamw.")]
Schedule = Annotated[str, typer.Option(help="constant, warmup-linear, cosine or kaggle.")]
LearningRate = Annotated[float, typer.Option(help="The schedule's peak.")]
WarmupEpochs = Annotated[float, typer.Option(help="Over which the rate rises to its peak.")]
Scale = Annotated[str, typer.Option(help="Multiply the peak: none, replicas, batch (over 256).")]
Patience = Annotated[
    int | None,
    typer.Option(help="Stop after so many epochs without a better validation loss; keep the best."),
]

Loss = Annotated[
    str,
    typer.Option(
        help="sparse_categorical_crossentropy, categorical_crossentropy, categorical_focal or "
        "binary_crossentropy."
    ),
]
LabelSmoothing = Annotated[float, typer.Option(help="The share of a target that is spread.")]
FocalGamma = Annotated[float, typer.Option(help="Of the focal loss.")]
FocalAlpha = Annotated[float | None, typer.Option(help="Of the focal loss.")]
ClassWeights = Annotated[str, typer.Option(help="none or balanced.")]
Jit = Annotated[bool, typer.Option("--jit/--no-jit", help="Compile the steps with XLA.")]
StepsPerExecution = Annotated[
    int, typer.Option(help="Steps in a call: less work for the host, and a stop takes a call.")
]

Augment = Annotated[
    str, typer.Option(help=f"Augmentations, separated by commas: {', '.join(AUGMENTATIONS)}.")
]
Cache = Annotated[
    str, typer.Option(help="Where decoded images are kept: memory, if half of it holds them; disk; none.")
]
Split = Annotated[str, typer.Option(help="holdout, fold, shuffle, or given by the data set.")]
ValidationFraction = Annotated[float, typer.Option(help="Share held out, by holdout and shuffle.")]
Folds = Annotated[int, typer.Option(help="How many folds, or shuffles.")]
Fold = Annotated[int, typer.Option(help="Which of them is held out, from 0.")]
SplitSeed = Annotated[int, typer.Option(help="Seed of the split; ensemble members share it.")]
OnCorrupt = Annotated[str, typer.Option(help="error, or skip and count.")]
Resume = Annotated[
    Path | None,
    typer.Option(help="Go on with the run, or the recipe, in this folder, as it was configured."),
]
Output = Annotated[Path | None, typer.Option(help="The folder to write (default runs/…).")]
BatchSize = Annotated[int | None, typer.Option(help="Examples on each replica (default 32).")]
Seed = Annotated[int, typer.Option(help="Seed of weights, shuffling and augmentation.")]
Deterministic = Annotated[
    bool, typer.Option("--deterministic", help="The same result on the same machine, at some cost in speed.")
]
