"""Learning rates against the formulas that they come from, written out once more here."""

import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from tpuens.errors import ConfigurationError
from tpuens.training.schedules import ScheduleConfig, draw_schedules, learning_rates

KAGGLE = ScheduleConfig(
    name="kaggle",
    learning_rate=0.0001,
    start_learning_rate=0.00001,
    min_learning_rate=0.00001,
    warmup_epochs=15,
    sustain_epochs=3,
    decay=0.8,
    scale="replicas",
)


def rates_of(
    config: ScheduleConfig,
    *,
    epochs: int = 40,
    steps_per_epoch: int = 10,
    num_replicas: int = 1,
    global_batch_size: int = 256,
) -> npt.NDArray[np.float64]:
    return learning_rates(
        config,
        steps=epochs * steps_per_epoch,
        steps_per_epoch=steps_per_epoch,
        num_replicas=num_replicas,
        global_batch_size=global_batch_size,
    )


def kaggle_notebook_rate(epoch: int, num_replicas: int) -> float:
    start, highest, least = 0.00001, 0.0001 * num_replicas, 0.00001
    if epoch < 15:
        return (highest - start) / 15 * epoch + start
    if epoch < 15 + 3:
        return highest
    return (highest - least) * 0.8 ** (epoch - 15 - 3) + least


@pytest.mark.parametrize("num_replicas", [1, 8])
def test_at_the_start_of_each_epoch_kaggle_is_what_the_notebooks_compute(num_replicas: int) -> None:
    rates = rates_of(KAGGLE, num_replicas=num_replicas)
    assert rates.shape == (400,)
    assert rates.dtype == np.float64
    expected = [kaggle_notebook_rate(epoch, num_replicas) for epoch in range(40)]
    np.testing.assert_allclose(rates[::10], expected, rtol=1e-12)


def test_between_two_epochs_kaggle_goes_on() -> None:
    rates = rates_of(KAGGLE)
    assert rates[0] < rates[5] < rates[10]
    assert rates[5] == pytest.approx((rates[0] + rates[10]) / 2)
    assert rates[185] - 0.00001 == pytest.approx(0.00009 * math.sqrt(0.8))


def test_linear_warm_up_ends_at_the_rate_scaled_by_the_batch_and_stays() -> None:
    config = ScheduleConfig(
        name="warmup-linear", learning_rate=0.1, start_learning_rate=0.1, warmup_epochs=5, scale="batch"
    )
    rates = rates_of(config, epochs=8, global_batch_size=8192)
    assert rates[0] == 0.1
    assert rates[25] == pytest.approx((0.1 + 3.2) / 2)
    assert set(rates[50:]) == {3.2}  # 0.1 · 8192 / 256, as in the paper


def test_cosine_falls_from_the_peak_to_the_minimum_after_the_last_step() -> None:
    config = ScheduleConfig(
        name="cosine", learning_rate=1.0, min_learning_rate=0.2, warmup_epochs=2, sustain_epochs=1
    )
    rates = rates_of(config, epochs=7)
    assert rates[0] == 0
    assert set(rates[20:31]) == {1.0}
    assert rates[50] == pytest.approx((1 + 0.2) / 2)
    expected = [0.2 + 0.4 * (1 + math.cos(math.pi * step / 40)) for step in range(40)]
    np.testing.assert_allclose(rates[30:], expected)


def test_the_constant_rate_scales_too() -> None:
    assert set(rates_of(ScheduleConfig(learning_rate=0.3))) == {0.3}
    assert set(rates_of(ScheduleConfig(learning_rate=0.3, scale="replicas"), num_replicas=4)) == {1.2}


def test_a_run_may_end_within_warm_up() -> None:
    for name in ("kaggle", "cosine", "warmup-linear"):
        rates = rates_of(ScheduleConfig(name=name, learning_rate=1.0, warmup_epochs=4), epochs=2)
        np.testing.assert_allclose(rates, np.arange(20) / 40)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "kagle"}, "Did you mean 'kaggle'"),
        ({"scale": "batches"}, "Did you mean 'batch'"),
        ({"learning_rate": 0.0}, "above 0"),
        ({"learning_rate": float("nan")}, "above 0"),
        ({"name": "cosine", "warmup_epochs": -1.0}, "warmup_epochs must be 0 or more"),
        ({"name": "kaggle", "decay": 0.0}, "decay"),
        ({"warmup_epochs": 5.0}, "choose warmup-linear"),
    ],
)
def test_what_no_schedule_can_use_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        ScheduleConfig(**options)  # type: ignore[arg-type]


def test_a_peak_that_its_scale_pushed_below_the_start_is_refused() -> None:
    config = ScheduleConfig(
        name="warmup-linear", learning_rate=0.1, start_learning_rate=0.05, warmup_epochs=1, scale="batch"
    )
    with pytest.raises(ConfigurationError, match=r"start_learning_rate=0\.05 under a peak of 0\.0125"):
        rates_of(config, global_batch_size=32)


def draw(path: Path) -> None:
    draw_schedules(
        {"kaggle": KAGGLE, "constant": ScheduleConfig(learning_rate=1e-4)},
        path,
        steps=300,
        steps_per_epoch=10,
        num_replicas=1,
        global_batch_size=32,
    )


def test_schedules_are_drawn_with_their_names(tmp_path: Path) -> None:
    draw(tmp_path / "deep" / "rates.png")
    assert (tmp_path / "deep" / "rates.png").read_bytes().startswith(b"\x89PNG")
    draw(tmp_path / "rates.svg")
    text = (tmp_path / "rates.svg").read_text()
    assert all(f"<!-- {name} -->" in text for name in ("kaggle", "constant", "learning rate"))


def test_a_picture_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"rates\.txt"):
        draw(tmp_path / "rates.txt")
