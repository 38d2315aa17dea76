"""Large JPEG files to measure an input pipeline with, made from photographs that scikit-learn carries."""

import os
import sys
from collections.abc import Sequence
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
    return take_fixed_split(make_photographs(WIDTH, _CROPS), split)


def make_photographs(width: int, crops: int) -> Examples:
    """Returns the photographs at another size: JPEG files of the same crops, three wide to two high.

    Args:
        width: In pixels; 256 makes files of about 11 KB, 1024 of 100 KB, 4096 of 730 KB.
        crops: Files of each of the two photographs, 40 at most.

    Raises:
        DataError: The cache folder cannot be written.
    """
    import PIL

    size = (width, round(width * HEIGHT / WIDTH))
    name = "photographs" if width == WIDTH else f"photographs-{width}"
    folder = cache_folder() / f"{name}-pillow-{PIL.__version__}"
    wanted = [(photograph, crop) for photograph in _QUALITIES for crop in range(crops)]
    files = [folder / f"{photograph}-{crop:02d}.jpg" for photograph, crop in wanted]
    try:
        _write_photographs(
            folder, size, [one for one, file in zip(wanted, files, strict=True) if not file.exists()]
        )
    except OSError as error:
        raise DataError(
            "The photographs need a folder to lie in: set TPUENS_CACHE_DIR to one with 30 MB to spare. "
            f"Received: {error}"
        ) from error
    return Examples(
        dataset="photographs",
        split="train",
        ids=np.array([file.name for file in files]),
        labels=np.repeat(np.arange(len(_QUALITIES), dtype=np.int64), crops),
        class_names=tuple(_QUALITIES),
        images=FileImages(paths=tuple(map(str, files))),
    )


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


def _write_photographs(folder: Path, size: tuple[int, int], wanted: Sequence[tuple[str, int]]) -> None:
    """Writes those crops of photographs, at a size in pixels: width and height."""
    from PIL import Image
    from sklearn.datasets import load_sample_images

    if not wanted:
        return
    folder.mkdir(parents=True, exist_ok=True)
    sample = load_sample_images()
    originals = {
        Path(file).stem: Image.fromarray(pixels)
        for file, pixels in zip(sample.filenames, sample.images, strict=True)
    }

    def write(one: tuple[str, int]) -> None:
        photograph, crop = one
        original = originals[photograph]
        # A grid of 8 by 5 positions over what a crop leaves free.
        left = (original.width - _CROP_WIDTH) * (crop % 8) // 7
        top = (original.height - _CROP_HEIGHT) * (crop // 8) // 4
        image = original.resize(
            size,
            Image.Resampling.LANCZOS,
            box=(left, top, left + _CROP_WIDTH, top + _CROP_HEIGHT),
        )
        # Another process may be making the same file: only a whole one ever gets its name.
        part = folder / f"{photograph}-{crop:02d}.{os.getpid()}.part"
        image.save(part, "JPEG", quality=_QUALITIES[photograph])
        part.replace(part.with_name(f"{photograph}-{crop:02d}.jpg"))

    with ThreadPoolExecutor() as pool:  # Pillow lets other threads run while it resizes and encodes
        list(pool.map(write, wanted))
