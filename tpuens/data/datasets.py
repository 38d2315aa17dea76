"""The table of data sets, and the one way to load them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import ConfigurationError, MissingSplitError
from ..registry import Row, Table
from .locations import find_data_dir
from .remote import DataPath

if TYPE_CHECKING:  # NumPy takes 200 ms to import, which a listing of this table need not wait for
    from .examples import Examples

SPLITS = ("train", "test")


@dataclass(frozen=True, kw_only=True)
class Dataset(Row):
    """One data set. Its factory takes a split and a data folder (or None) and returns `Examples`.

    The folder is a `pathlib.Path`, or a `RemotePath`, which reads alike.

    Attributes:
        classes: How many classes, or where they come from.
        image_shape: Height × width × channels of the images as they come, in words.
        source: Where the images come from.
        needs_data_dir: Whether it can be loaded from a folder only.
        default_image_size: Height and width that its images are resized to unless told otherwise.
        splits: What it can be asked for.
        folder_names: What its folder is called in the places where `find_data_dir` looks; none: it is read
            from a folder only if the user names one.
        kaggle_names: What Kaggle calls it: the name of the competition, its input folder and its bucket.
        marker: A file or folder, ``*`` allowed, that lies in a folder which holds the data set.
    """

    classes: str
    image_shape: str
    source: str
    needs_data_dir: bool
    default_image_size: int
    splits: tuple[str, ...] = SPLITS
    folder_names: tuple[str, ...] = ()
    kaggle_names: tuple[str, ...] = ()
    marker: str = "*"


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
            folder_names=("cifar-10-batches-py", "cifar10"),
            marker="batches.meta",
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
            name="plant_pathology",
            factory="tpuens.data.plant_pathology:load_plant_pathology",
            summary="photographs of apple leaves, healthy and diseased (Plant Pathology 2020)",
            classes="the columns of train.csv",
            image_shape="any; 1365×2048×3 in the competition",
            source="train.csv, test.csv, sample_submission.csv and images/IMAGE_ID.jpg in the data folder",
            needs_data_dir=True,
            default_image_size=224,
            folder_names=("plant_pathology",),
            kaggle_names=("plant-pathology-2020-fgvc7",),
            marker="train.csv",
        ),
        Dataset(
            name="flowers",
            factory="tpuens.data.flowers:load_flowers",
            summary="photographs of flowers in TFRecords (Flower Classification with TPUs)",
            classes="those of classes.txt, else numbered as the train part has them",
            image_shape="192, 224, 331 or 512 square, ×3",
            source="tfrecords-jpeg-SIZExSIZE/{train,val,test}/*.tfrec in the data folder",
            needs_data_dir=True,
            default_image_size=192,
            splits=("train", "validation", "test"),
            folder_names=("flowers",),
            kaggle_names=("flower-classification-with-tpus", "tpu-getting-started"),
            marker="tfrecords-*",
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


def load_examples(dataset: str, split: str, data_dir: str | DataPath | None = None) -> "Examples":
    """Returns one split of a data set, ready for the pipeline; no image file is decoded yet.

    Args:
        dataset: A name in `DATASETS`.
        split: One of the data set's `splits`.
        data_dir: The folder that holds the data, or its URL (``gs://…``); None to look where `find_data_dir`
            does. Data sets that bring their own images do not look at it.

    Raises:
        ConfigurationError: No such data set or split, or a data folder is needed and none was given.
        DataError: The folder is missing, or what is in it cannot be used.
    """
    row = DATASETS[dataset]
    if split not in row.splits:
        expected = " or ".join(map(repr, row.splits))
        raise ConfigurationError(
            f"Expected split {expected} of the data set {dataset!r}. Received: split={split!r}"
        )
    folder = find_data_dir(row, data_dir)
    examples: Examples = row.load()(split, folder)
    return examples


def load_splits(dataset: str, data_dir: str | DataPath | None = None) -> "dict[str, Examples]":
    """Returns every split of a data set; that for validation only where its folder holds one.

    Args:
        dataset: A name in `DATASETS`.
        data_dir: As for `load_examples`.

    Raises:
        ConfigurationError: As `load_examples`.
        DataError: As `load_examples`.
    """
    splits = {}
    for split in DATASETS[dataset].splits:
        try:
            splits[split] = load_examples(dataset, split, data_dir)
        except MissingSplitError:
            if split != "validation":
                raise
    return splits
