"""One field of a run swept over values: a run for each value and seed, a table and a chart."""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import ConfigurationError, InterruptedRunError, unknown_name_error
from ..evaluation.metrics import Scores
from ..evaluation.pictures import draw_sweep
from ..hardware.strategies import is_chief, open_strategy
from ..training.losses import LossConfig
from .config import TrainConfig, read_config
from .finish import RunSeries
from .phases import Observer
from .run_folder import RunFolder

_METRICS = tuple(Scores.__dataclass_fields__)


def _in_loss(
    change: Callable[[LossConfig, float], LossConfig],
) -> Callable[[TrainConfig, float], TrainConfig]:
    return lambda config, value: replace(config, loss=change(config.loss, value))


def _in_last_phase(change: Callable[[Any, float], Any]) -> Callable[[TrainConfig, float], TrainConfig]:
    return lambda config, value: replace(
        config, phases=(*config.phases[:-1], change(config.phases[-1], value))
    )


FIELDS: dict[str, Callable[[TrainConfig, float], TrainConfig]] = {
    "label_smoothing": _in_loss(lambda loss, value: replace(loss, label_smoothing=value)),
    "focal_gamma": _in_loss(lambda loss, value: replace(loss, focal_gamma=value)),
    "dropout": lambda config, value: replace(config, dropout=value),
    "learning_rate": _in_last_phase(
        lambda phase, value: replace(phase, schedule=replace(phase.schedule, learning_rate=value))
    ),
    "weight_decay": _in_last_phase(lambda phase, value: replace(phase, weight_decay=value)),
}


def sweep_field(
    base: Path,
    field: str,
    values: Sequence[float],
    output: Path,
    *,
    metric: str = "log_loss",
    seeds: int = 3,
    observer: Observer | None = None,
) -> list[dict[str, float]]:
    """Trains a run again with other values of one field; returns a row a value, and draws them.

    A row holds the value under the field's name, the mean of the metric on the validation part over the
    seeds, and, with two seeds or more, Student's 95 % interval of it as ``METRIC_low`` and ``METRIC_high``.
    The interval is about other seeds, not about other data. sweep.csv and sweep.png hold the same. Runs that
    are finished are not trained again.

    Args:
        base: The folder of a run, finished or not, whose configuration is taken for the rest.
        field: A name in `FIELDS`; of the loss, the model, or the last phase.
        values: What it takes.
        output: A folder, with a run in it for each value and seed.
        metric: A field of `Scores`.
        seeds: Runs of each value.
        observer: Told of progress.

    Raises:
        ConfigurationError: There is no such field or metric, or a value cannot be used.
        InterruptedRunError: Ctrl-C or SIGTERM; everything up to the last step is kept.
    """
    if field not in FIELDS:
        raise unknown_name_error("field", "field", field, FIELDS)
    if metric not in _METRICS:
        raise unknown_name_error("metric", "metric", metric, _METRICS)
    if not values or seeds < 1:
        raise ConfigurationError(
            f"A sweep has at least one value and one seed. Received: {len(values)} values, seeds={seeds}"
        )
    observer = observer or Observer()
    config = read_config(RunFolder(base))
    if field == "focal_gamma" and config.loss.name != "categorical_focal":
        raise ConfigurationError(
            "Only the loss categorical_focal heeds focal_gamma: take a run with it, or another field. "
            f"Received: {base}, which has loss={config.loss.name!r}"
        )
    runs = {
        (value, seed): replace(FIELDS[field](config, value), seed=config.seed + seed)
        for value in values
        for seed in range(seeds)
    }
    strategy = open_strategy(config.strategy)
    series = RunSeries(strategy=strategy, observer=observer, features=output / "features")
    for (value, seed), run_config in runs.items():
        name = f"{field} {value:g}, seed {run_config.seed}"
        observer.on_status(name)
        try:
            series.finish(run_config, _path(output, field, value, seed))
        except InterruptedRunError as error:
            raise InterruptedRunError(
                f"Stopped at {name}; everything so far is kept in {output}. The same call goes on."
            ) from error
    rows = []
    for value in values:
        found = [_read_metric(_path(output, field, value, seed), metric) for seed in range(seeds)]
        rows.append({field: value, metric: statistics.mean(found)} | _interval(metric, found))
    if is_chief(strategy):
        RunFolder(output).write_table("sweep.csv", rows)
        draw_sweep(rows, output / "sweep.png", x=field, metric=metric)
    return rows


def _path(output: Path, field: str, value: float, seed: int) -> Path:
    return output / f"{field}-{value:g}" / f"seed-{seed}"


def _read_metric(path: Path, metric: str) -> float:
    scores = RunFolder(path).read_json("metrics.json")["validation"]
    if metric not in scores:
        raise ConfigurationError(
            f"The metric is not defined on this validation part: take another. Received: metric={metric!r}"
        )
    return float(scores[metric])


def _interval(metric: str, found: Sequence[float]) -> dict[str, float]:
    from scipy import stats

    if len(found) < 2:
        return {}
    half = float(stats.t.ppf(0.975, len(found) - 1)) * statistics.stdev(found) / math.sqrt(len(found))
    mean = statistics.mean(found)
    return {f"{metric}_low": mean - half, f"{metric}_high": mean + half}
