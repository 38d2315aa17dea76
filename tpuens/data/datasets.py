"""The table of data sets, and the one way to load them."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ConfigurationError, DataError
from ..registry import Row, Table

if TYPE_CHECKING:  # NumPy takes 200 ms to import, which a listing of this table need not wait for
    from .examples import Examples

SPLITS = ("train", "test")


@dataclass(frozen=True, kw_only=True)
class Dataset(Row):
    """One data set. Its factory takes a split and a data folder (or None) and returns `Examples`.

    Attributes:
        classes: How many classes, or where they come from.
        image_shape: Height × width × channels of the images as they come, in words.
        source: Where the images come from.
        needs_data_dir: Whether it can be loaded from the user's folder only.
        default_image_size: Height and width that its images are resized to unless told otherwise.
    """

    classes: str
    image_shape: str
    source: str
    needs_data_dir: bool
    default_image_size: int


DATASETS: Table[Dataset] = Table(
    "dataset",
    (
        Dataset(
            name="digits",
            factory="tpuens.data.digits:load_digits",
            summary="1,797 handwritten digits; at hand on every machine",
            classes="10",
            image_shape="8×8×1",
            source="part of scikit-learn",
            needs_data_dir=False,
            default_image_size=32,
        ),
        Dataset(
            name="cifar10",
            factory="tpuens.data.cifar10:load_cifar10",
            summary="60,000 small photographs of animals and vehicles",
            classes="10",
            image_shape="32×32×3",
            source="python-version batches in the data folder; without one, downloaded by Keras",
            needs_data_dir=False,
            default_image_size=32,
        ),
        Dataset(
            name="fashion_mnist",
            factory="tpuens.data.fashion_mnist:load_fashion_mnist",
            summary="70,000 small grey pictures of clothes",
            classes="10",
            image_shape="28×28×1",
            source="the four IDX files (.gz) in the data folder; without one, downloaded by Keras",
            needs_data_dir=False,
            default_image_size=28,
        ),
        Dataset(
            name="image_folder",
            factory="tpuens.data.image_folder:load_image_folder",
            summary="your own images, one folder a class",
            classes="one for each folder",
            image_shape="any",
            source="CLASS/*.jpg, or train/CLASS/*.jpg and test/CLASS/*.jpg, in the data folder",
            needs_data_dir=True,
            default_image_size=224,
        ),
        Dataset(
            name="photographs",
            factory="tpuens.data.photographs:load_photographs",
            summary="80 large JPEG files to measure the input pipeline with",
            classes="2",
            image_shape="1365×2048×3",
            source="made from scikit-learn's two sample photographs, once, in a cache folder",
            needs_data_dir=False,
            default_image_size=224,
        ),
    ),
)


def load_examples(dataset: str, split: str, data_dir: str | Path | None = None) -> "Examples":
    """Returns one split of a data set, ready for the pipeline; no image file is decoded yet.

    Args:
        dataset: A name in `DATASETS`.
        split: ``"train"`` or ``"test"``.
        data_dir: The folder that holds the data. Data sets that bring their own images do not look at it.

    Raises:
        ConfigurationError: No such data set or split, or a data folder is needed and none was given.
        DataError: The folder is missing, or what is in it cannot be used.
    """
    row = DATASETS[dataset]
    if split not in SPLITS:
        raise ConfigurationError(f"Expected split 'train' or 'test'. Received: split={split!r}")
    folder = None if data_dir is None else Path(data_dir).expanduser().absolute()
    if folder is None and row.needs_data_dir:
        raise ConfigurationError(
            f"The data set {dataset!r} is read from a folder: pass --data-dir ({row.source}). "
            "Received: no data folder"
        )
    if folder is not None and not folder.is_dir():
        raise DataError(f"The data folder must be a folder that exists. Received: data_dir={str(data_dir)!r}")
    examples: Examples = row.load()(split, folder)
    return examples
