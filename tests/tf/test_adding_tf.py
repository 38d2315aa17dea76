"""One more backbone or augmentation is one row and one module, in a child process with longer tables."""

import json
import os
import subprocess
import sys
from pathlib import Path

PEBBLE = """
import keras

def build_pebble(*, input_shape):
    pixels = keras.Input(input_shape)
    return keras.Model(pixels, keras.layers.Conv2D(5, 3)(pixels))
"""

NEGATIVE = """
import tensorflow as tf

def negative(image, seed):
    return 255 - image

def relabelled(images, targets, seed):
    return images, tf.roll(targets, -1, axis=0)
"""

CODE = """
import json
from tpuens.data import augment
from tpuens.data.augment import Augmentation
from tpuens.models import backbones
from tpuens.registry import Table

backbones.BACKBONES = Table("backbone", (*backbones.BACKBONES.values(), backbones.Backbone(
    name="pebble", factory="pebble:build_pebble", summary="one convolution", image_size=24, min_image_size=8,
    preprocessing="tf", imagenet_weights=False)))
augment.AUGMENTATIONS = Table("augmentation", (*augment.AUGMENTATIONS.values(),
    Augmentation(name="negative", factory="negative:negative", summary="dark and light swapped"),
    Augmentation(name="relabelled", factory="negative:relabelled", summary="labels moved on", level="batch")))

import numpy as np
from tpuens.data.datasets import load_examples
from tpuens.data.pipeline import Pipeline, PipelineConfig
from tpuens.models.classifier import build_classifier

grey = build_classifier(backbone="pebble", num_classes=3, image_shape=(8, 8, 1))
model = build_classifier(backbone="pebble", num_classes=3)
logits = np.asarray(model(np.zeros((2, 24, 24, 3), np.uint8)))
train = load_examples("digits", "train").subset(range(8))
means = []
for names in ((), ("negative",)):
    pipeline = Pipeline(train, PipelineConfig(image_shape=(8, 8, 1), augment=names))
    means.append(sum(float(np.mean(images)) for images, _ in pipeline.train_batches(8, epoch=0)))
layers = [layer.name for layer in grey.layers]
labels = []
for names in ((), ("relabelled",)):
    config = PipelineConfig(image_shape=(8, 8, 1), augment=names, targets="vector")
    ((_, targets),) = Pipeline(train, config).train_batches(8, epoch=0)
    labels.append(np.argmax(targets, axis=1).tolist())
logits = [*logits.shape, str(logits.dtype)]
print(json.dumps({"logits": logits, "layers": layers, "means": means, "labels": labels}))
"""


def test_a_new_backbone_and_a_new_augmentation_are_used_by_name(tmp_path: Path) -> None:
    (tmp_path / "pebble.py").write_text(PEBBLE)
    (tmp_path / "negative.py").write_text(NEGATIVE)
    paths = [str(tmp_path), os.environ.get("PYTHONPATH", "")]
    variables = {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "CUDA_VISIBLE_DEVICES": "-1"}
    done = subprocess.run(
        [sys.executable, "-c", CODE], capture_output=True, text=True, check=False, env=os.environ | variables
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["logits"] == [2, 3, "float32"]
    # What comes around a backbone is there for this one too: grey made RGB, pooling, dropout, the head.
    assert answer["layers"] == [
        "images",
        "grey_to_rgb",
        "preprocessing",
        "backbone",
        "pooling",
        "dropout",
        "head",
    ]
    plain, negative = answer["means"]
    assert abs(plain + negative - 255) < 1e-3
    own, relabelled = answer["labels"]
    assert relabelled == [*own[1:], own[0]] != own
