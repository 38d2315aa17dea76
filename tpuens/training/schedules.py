"""Learning-rate schedules by name: functions of the step, computed ahead with NumPy for all steps at once."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from ..errors import ConfigurationError, unknown_name_error

Rates = npt.NDArray[np.float64]

# The batch for which rates are stated where they scale with the batch [Goyal et al. 2017].
REFERENCE_BATCH_SIZE = 256

# What follows warm-up and peak: (epochs since then, epochs there are, decay) to the height above the
# minimum, 1 at the peak.


def _stay(elapsed: Rates, duration: float, decay: float) -> Rates:
    return np.ones_like(elapsed)


def _decay_exponentially(elapsed: Rates, duration: float, decay: float) -> Rates:
    return np.power(decay, elapsed)


def _anneal(elapsed: Rates, duration: float, decay: float) -> Rates:
    # Loshchilov & Hutter 2017, "SGDR", eq. 5, without restarts.
    return (1 + np.cos(np.pi * elapsed / duration)) / 2


SCHEDULES: dict[str, Callable[[Rates, float, float], Rates]] = {
    "constant": _stay,
    "warmup-linear": _stay,
    "kaggle": _decay_exponentially,
    "cosine": _anneal,
}


@dataclass(frozen=True, kw_only=True)
class ScheduleConfig:
    """How the learning rate goes. Times are in epochs, and need not be whole.

    Every schedule but the constant one rises in a straight line from `start_learning_rate` to the peak over
    `warmup_epochs`, stays there for `sustain_epochs`, and then goes as its name says.

    Attributes:
        name: A name in `SCHEDULES`.
        learning_rate: The peak, before `scale`.
        start_learning_rate: Where warm-up starts; 0 makes the very first step change nothing.
        min_learning_rate: What "kaggle" and "cosine" fall to.
        warmup_epochs: How long the rate rises; 0 starts at the peak.
        sustain_epochs: How long it stays at the peak.
        decay: What "kaggle" leaves of the distance to `min_learning_rate` with every epoch.
        scale: What the peak is multiplied by: ``"none"``, 1; ``"replicas"``, their number, as LR_MAX in the
            Kaggle notebooks; ``"batch"``, the global batch size over 256 [Goyal et al. 2017, "Accurate,
            Large Minibatch SGD", the linear scaling rule]. The two other rates stay as they are.
    """

    name: str = "constant"
    learning_rate: float = 1e-3
    start_learning_rate: float = 0.0
    min_learning_rate: float = 0.0
    warmup_epochs: float = 0.0
    sustain_epochs: float = 0.0
    decay: float = 0.8
    scale: Literal["none", "replicas", "batch"] = "none"

    def __post_init__(self) -> None:
        if self.name not in SCHEDULES:
            raise unknown_name_error("schedule", "schedule", self.name, SCHEDULES)
        if self.scale not in ("none", "replicas", "batch"):
            raise unknown_name_error("scale", "scale", self.scale, ("none", "replicas", "batch"))
        if not 0 < self.learning_rate < np.inf:
            raise ConfigurationError(f"The learning rate must be above 0. Received: {self.learning_rate}")
        for field in ("start_learning_rate", "min_learning_rate", "warmup_epochs", "sustain_epochs"):
            if not 0 <= getattr(self, field) < np.inf:
                raise ConfigurationError(f"{field} must be 0 or more. Received: {getattr(self, field)}")
        if not 0 < self.decay <= 1:
            raise ConfigurationError(f"decay is above 0 and at most 1. Received: {self.decay}")
        if self.name == "constant" and (self.warmup_epochs or self.sustain_epochs):
            raise ConfigurationError(
                "A constant learning rate has no phases: choose warmup-linear for one that rises and stays. "
                f"Received: warmup_epochs={self.warmup_epochs}, sustain_epochs={self.sustain_epochs}"
            )


def learning_rates(
    config: ScheduleConfig,
    *,
    steps: int,
    steps_per_epoch: int,
    num_replicas: int,
    global_batch_size: int,
) -> Rates:
    """Returns the learning rate of every step, float64 (steps,).

    Step s stands at epoch s / steps_per_epoch: the rate changes with every step, where the Kaggle notebooks
    keep it for a whole epoch; at the start of each epoch both are the same.

    Args:
        config: The schedule.
        steps: How many steps; cosine reaches its minimum after the last.
        steps_per_epoch: How many of them make an epoch.
        num_replicas: For ``scale="replicas"``.
        global_batch_size: For ``scale="batch"``.

    Raises:
        ConfigurationError: The peak, once scaled, lies below the rate to start from or to fall to; or there
            are no steps.
    """
    if steps < 1 or steps_per_epoch < 1:
        raise ConfigurationError(
            "A schedule has one step or more, and so has an epoch. "
            f"Received: steps={steps}, steps_per_epoch={steps_per_epoch}"
        )
    peak = (
        config.learning_rate
        * {
            "none": 1.0,
            "replicas": num_replicas,
            "batch": global_batch_size / REFERENCE_BATCH_SIZE,
        }[config.scale]
    )
    _check_peak(config, peak)
    epochs = np.arange(steps) / steps_per_epoch
    rising = epochs < config.warmup_epochs
    top_until = config.warmup_epochs + config.sustain_epochs
    rates = np.full(steps, peak)
    rates[rising] = config.start_learning_rate + (peak - config.start_learning_rate) * (
        epochs[rising] / config.warmup_epochs
    )
    falling = epochs >= top_until
    elapsed = epochs[falling] - top_until
    height = SCHEDULES[config.name](elapsed, steps / steps_per_epoch - top_until, config.decay)
    rates[falling] = config.min_learning_rate * (1 - height) + peak * height
    return rates


def draw_schedules(
    configs: Mapping[str, ScheduleConfig],
    path: Path,
    *,
    steps: int,
    steps_per_epoch: int,
    num_replicas: int,
    global_batch_size: int,
) -> None:
    """Draws schedules, one line each, over the epochs of a run.

    Args:
        configs: What to draw, by the name that stands beside the line.
        path: An ``.svg`` or ``.png`` file.
        steps: As for `learning_rates`, and so are the others.
        steps_per_epoch: Likewise.
        num_replicas: Likewise.
        global_batch_size: Likewise.

    Raises:
        ConfigurationError: The file is neither, or cannot be written; or as `learning_rates` says.
    """
    from matplotlib.figure import Figure

    if path.suffix not in (".svg", ".png"):
        raise ConfigurationError(f"A picture is an .svg or a .png file. Received: {path}")
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.add_subplot()
    for name, config in configs.items():
        rates = learning_rates(
            config,
            steps=steps,
            steps_per_epoch=steps_per_epoch,
            num_replicas=num_replicas,
            global_batch_size=global_batch_size,
        )
        axes.plot(np.arange(steps) / steps_per_epoch, rates, label=name)
    axes.set(xlabel="epoch", ylabel="learning rate", xlim=(0, steps / steps_per_epoch), ylim=(0, None))
    axes.ticklabel_format(axis="y", style="sci", scilimits=(-2, 2))
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=150)
    except OSError as error:
        raise ConfigurationError(
            f"The picture cannot be written: choose another file. Received: {path} ({error.strerror})"
        ) from error


def _check_peak(config: ScheduleConfig, peak: float) -> None:
    floor = {
        "start_learning_rate": config.start_learning_rate if config.warmup_epochs else 0.0,
        "min_learning_rate": config.min_learning_rate,
    }
    for field, rate in floor.items():
        if rate > peak:
            raise ConfigurationError(
                f"A schedule's peak is not below its {field}: lower that, or raise the learning rate. "
                f"Received: {field}={rate} under a peak of {peak:g} (learning_rate={config.learning_rate}, "
                f"scale={config.scale!r})"
            )
