"""The user's own images, one folder a class."""

import numpy as np

from ..errors import DataError
from .examples import Examples, FileImages
from .remote import DataPath
from .splits import take_fixed_split

EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".gif", ".bmp"})


def load_image_folder(split: str, data_dir: DataPath) -> Examples:
    """Returns one split of a folder of images; a class is a folder, and the classes are sorted by name.

    Two layouts are read: ``train/CLASS/*.jpg`` with ``test/CLASS/*.jpg`` beside it, and ``CLASS/*.jpg``.
    Without a test folder a fixed, stratified fifth of the images is the test split.

    Args:
        split: ``"train"`` or ``"test"``.
        data_dir: The folder.

    Raises:
        DataError: There are no class folders, one holds no image, or those of train and test differ.
    """
    if not _class_folders(data_dir / "train"):
        return take_fixed_split(_read_classes(split, data_dir), split)
    if not (data_dir / "test").is_dir():
        return take_fixed_split(_read_classes(split, data_dir / "train", "train/"), split)
    names = {part: [folder.name for folder in _class_folders(data_dir / part)] for part in ("train", "test")}
    if names["train"] != names["test"]:
        missing = sorted(set(names["train"]) - set(names["test"]))
        unknown = sorted(set(names["test"]) - set(names["train"]))
        raise DataError(
            f"The folders train and test must hold the same classes. Received: {str(data_dir)!r}, where test "
            f"lacks {', '.join(missing) or 'none'} and has besides {', '.join(unknown) or 'none'}"
        )
    return _read_classes(split, data_dir / split, f"{split}/")


def _class_folders(folder: DataPath) -> list[DataPath]:
    if not folder.is_dir():
        return []
    children = (child for child in folder.iterdir() if not child.name.startswith("."))
    return sorted((child for child in children if child.is_dir()), key=lambda child: child.name)


def _read_classes(split: str, folder: DataPath, prefix: str = "") -> Examples:
    """Returns every image in the class folders of one folder; an id is the prefix, the class and the name."""
    classes = _class_folders(folder)
    if not classes:
        raise DataError(
            "A folder of images holds one folder for each class. "
            f"Received: {str(folder)!r}, which has no folder in it"
        )
    files: list[DataPath] = []
    ids: list[str] = []
    labels: list[int] = []
    for label, class_folder in enumerate(classes):
        images = sorted(file for file in class_folder.iterdir() if file.suffix.lower() in EXTENSIONS)
        if not images:
            raise DataError(
                f"A class needs an image ({', '.join(sorted(EXTENSIONS))}): add one or remove the folder. "
                f"Received: class {class_folder.name!r} in {str(folder)!r}, without any"
            )
        files += images
        ids += [f"{prefix}{class_folder.name}/{file.name}" for file in images]
        labels += [label] * len(images)
    return Examples(
        dataset="image_folder",
        split=split,
        ids=np.array(ids),
        labels=np.array(labels, dtype=np.int64),
        class_names=tuple(class_folder.name for class_folder in classes),
        images=FileImages(paths=tuple(str(file) for file in files)),
    )
