"""Large JPEG files to measure an input pipeline with, made from photographs that scikit-learn carries."""

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from ..errors import DataError
from .examples import Examples, FileImages
from .splits import take_fixed_split

WIDTH, HEIGHT = 2048, 1365  # a common size of photographs in competitions, Plant Pathology 2020 among them
_CROPS = 40  # of each photograph: 64 files to train on and 16 to test on
_CROP_WIDTH, _CROP_HEIGHT = 540, 360  # of 640×427
# The JPEG quality that makes a file of about 280 KB: china.jpg is full of detail, flower.jpg is smooth.
_QUALITIES = {"china": 74, "flower": 91}


def load_photographs(split: str, data_dir: Path | None = None) -> Examples:
    """Returns 2048×1365 JPEG files of about 280 KB each, labelled with the photograph they were cut from.

    They are written to the cache folder once; a file that is missing there is made again. One version of
    Pillow writes the same bytes on every machine, so its version stands in the folder's name.

    Args:
        split: ``"train"`` (64 files) or ``"test"`` (16).
        data_dir: Not looked at.

    Raises:
        DataError: The cache folder cannot be written.
    """
    import PIL

    folder = cache_folder() / f"photographs-pillow-{PIL.__version__}"
    names = [f"{photograph}-{crop:02d}.jpg" for photograph in _QUALITIES for crop in range(_CROPS)]
    try:
        _make_photographs(folder)
    except OSError as error:
        raise DataError(
            "The photographs need a folder to lie in: set TPUENS_CACHE_DIR to one with 30 MB to spare. "
            f"Received: {error}"
        ) from error
    examples = Examples(
        dataset="photographs",
        split=split,
        ids=np.array(names),
        labels=np.repeat(np.arange(len(_QUALITIES), dtype=np.int64), _CROPS),
        class_names=tuple(_QUALITIES),
        images=FileImages(paths=tuple(str(folder / name) for name in names)),
    )
    return take_fixed_split(examples, split)


def cache_folder() -> Path:
    """Returns where to keep what can be made again: $TPUENS_CACHE_DIR, else the user's cache folder."""
    chosen = os.environ.get("TPUENS_CACHE_DIR")
    if chosen:
        return Path(chosen).expanduser().absolute()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "tpuens"
    variable, fallback = (
        ("LOCALAPPDATA", Path("AppData") / "Local")
        if sys.platform == "win32"
        else ("XDG_CACHE_HOME", Path(".cache"))
    )
    return Path(os.environ.get(variable) or Path.home() / fallback).absolute() / "tpuens"


def _make_photographs(folder: Path) -> None:
    """Writes the files that are not there yet."""
    from PIL import Image
    from sklearn.datasets import load_sample_images

    missing = [
        (photograph, crop)
        for photograph in _QUALITIES
        for crop in range(_CROPS)
        if not (folder / f"{photograph}-{crop:02d}.jpg").exists()
    ]
    if not missing:
        return
    folder.mkdir(parents=True, exist_ok=True)
    sample = load_sample_images()
    originals = {
        Path(file).stem: Image.fromarray(pixels)
        for file, pixels in zip(sample.filenames, sample.images, strict=True)
    }

    def make(wanted: tuple[str, int]) -> None:
        photograph, crop = wanted
        original = originals[photograph]
        # A grid of 8 by 5 positions over what a crop leaves free.
        left = (original.width - _CROP_WIDTH) * (crop % 8) // 7
        top = (original.height - _CROP_HEIGHT) * (crop // 8) // 4
        image = original.resize(
            (WIDTH, HEIGHT),
            Image.Resampling.LANCZOS,
            box=(left, top, left + _CROP_WIDTH, top + _CROP_HEIGHT),
        )
        # Another process may be making the same file: only a whole one ever gets its name.
        part = folder / f"{photograph}-{crop:02d}.{os.getpid()}.part"
        image.save(part, "JPEG", quality=_QUALITIES[photograph])
        part.replace(part.with_name(f"{photograph}-{crop:02d}.jpg"))

    with ThreadPoolExecutor() as pool:  # Pillow lets other threads run while it resizes and encodes
        list(pool.map(make, missing))
