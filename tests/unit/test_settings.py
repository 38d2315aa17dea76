"""What is typed for the settings of a scenario, and what becomes of it."""

import pytest

from bench.scenarios.table import SCENARIOS
from bench.settings import change_scenario, read_settings
from bench.suites import Scenario
from tpuens.errors import ConfigurationError


def test_texts_become_changes_of_a_scenario() -> None:
    texts = {
        "batch-size": "8",
        "jit": "on",
        "augment": "shift+mixup",
        "colour": "grey",
        "cache": "none",
        "prefetch": "3",
        "num-parallel-calls": "4",
        "steps-per-execution": "8",
        "loop": "keras-fit",
        "optimizer": "fused",
    }
    changed = change_scenario(Scenario(name="train-epoch"), read_settings(texts))
    assert changed == Scenario(
        name="train-epoch",
        batch_size=8,
        jit=True,
        augment=("shift", "mixup"),
        colour="grey",
        cache="none",
        prefetch=3,
        num_parallel_calls=4,
        steps_per_execution=8,
        loop="keras-fit",
        optimizer="fused",
    )


def test_none_takes_a_scenario_s_augmentations_away() -> None:
    changed = change_scenario(
        Scenario(name="train-epoch", augment=("shift",)), read_settings({"augment": "none"})
    )
    assert changed.augment == ()


def test_another_backbone_comes_at_its_own_size_unless_another_is_asked_for() -> None:
    assert read_settings({"backbone": "vgg16"}) == {"backbone": "vgg16", "image_size": 224}
    assert read_settings({"backbone": "vgg16", "image-size": "64"})["image_size"] == 64


def test_what_means_nothing_to_a_scenario_leaves_it_as_it_is() -> None:
    scenario = Scenario(name="train-step")
    assert change_scenario(scenario, read_settings({"augment": "shift", "prefetch": "3"})) == scenario


def test_what_scenarios_ignore_and_tune_are_settings() -> None:
    for row in SCENARIOS.values():
        assert set(row.ignores) <= set(Scenario.__struct_fields__), row.name
        assert set(row.tunes) <= {*Scenario.__struct_fields__, "intra_op_threads"} - set(row.ignores), (
            row.name
        )
        assert row.compares or not row.tunes, row.name


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("loop", "keras", "Did you mean 'keras-fit'"),
        ("optimizer", "adam", "fused, keras"),
        ("colour", "gray", "Did you mean 'grey'"),
        ("cache", "dsik", "Did you mean 'disk'"),
        ("augment", "shift+mixpu", "Did you mean 'mixup'"),
        ("prefetch", "0", "1 or more"),
        ("batch-size", "many", "1 or more"),
        ("jit", "yes", "on or off"),
        ("dataset", "digit", "Did you mean 'digits'"),
        ("dtype-policy", "float16", "mixed_float16"),
        ("prefetsch", "1", "Did you mean 'prefetch'"),
    ],
)
def test_a_setting_that_cannot_be_says_what_would_do(name: str, text: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        read_settings({name: text})
    assert text in str(caught.value) or name in str(caught.value)
