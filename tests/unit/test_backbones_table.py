import subprocess
import sys

import pytest

from tpuens.errors import ConfigurationError
from tpuens.models.backbones import BACKBONES


def test_the_table_and_the_reader_of_weights_import_no_tensorflow():
    code = (
        "import sys, tpuens.models.backbones, tpuens.models.lite_weights; "
        "print([name for name in ('tensorflow', 'keras', 'torch') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_names_are_lower_case_and_those_of_keras_are_its_classes():
    for name, row in BACKBONES.items():
        module, _, function = row.factory.partition(":")
        assert name == name.lower()
        if module == "keras.applications":
            assert name == function.lower()


@pytest.mark.parametrize("row", BACKBONES.values(), ids=BACKBONES)
def test_a_backbone_takes_images_of_its_own_size(row):
    assert row.min_image_size <= row.image_size


def test_only_networks_of_keras_and_efficientnet_lite_have_imagenet_weights():
    assert [name for name, row in BACKBONES.items() if not row.imagenet_weights] == ["cifar_cnn"]


def test_an_unknown_backbone_is_answered_with_the_nearest_name():
    with pytest.raises(ConfigurationError, match="Did you mean 'resnet152v2'"):
        BACKBONES["resnet152v"]
