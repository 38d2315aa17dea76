"""Fashion-MNIST (Xiao, Rasul and Vollgraf, arXiv:1708.07747, 2017)."""

import gzip
import struct
import zlib

import numpy as np
import numpy.typing as npt

from ..errors import DataError
from .downloads import load_with_keras
from .examples import ArrayImages, Examples
from .remote import DataPath

# The files hold numbers only; these are the paper's names (table 2).
CLASS_NAMES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
_PREFIXES = {"train": "train", "test": "t10k"}
_REMEDY = (
    "Pass --data-dir with the folder that holds train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz, "
    "t10k-images-idx3-ubyte.gz and t10k-labels-idx1-ubyte.gz."
)


def load_fashion_mnist(split: str, data_dir: DataPath | None = None) -> Examples:
    """Returns one split of Fashion-MNIST: 28×28 grey images in 10 classes.

    Args:
        split: ``"train"`` or ``"test"``.
        data_dir: The folder of the four IDX files, as they are distributed. None: Keras downloads them.

    Raises:
        DataError: A file is missing or is not what it should be, or the download failed.
    """
    if data_dir is None:
        pixels, labels = load_with_keras("fashion_mnist", split, _REMEDY)
    else:
        pixels = read_idx(data_dir / f"{_PREFIXES[split]}-images-idx3-ubyte.gz", dimensions=3)
        labels = read_idx(data_dir / f"{_PREFIXES[split]}-labels-idx1-ubyte.gz", dimensions=1).astype(
            np.int64
        )
    return Examples(
        dataset="fashion_mnist",
        split=split,
        ids=np.array([f"{_PREFIXES[split]}-{index:05d}" for index in range(len(pixels))]),
        labels=labels,
        class_names=CLASS_NAMES,
        images=ArrayImages(pixels=pixels[..., np.newaxis]),
    )


def read_idx(file: DataPath, *, dimensions: int) -> npt.NDArray[np.uint8]:
    """Returns the array in a gzipped IDX file of unsigned bytes.

    The format: two zero bytes, the type (8: unsigned byte), the number of dimensions, their sizes as
    big-endian 32-bit integers, then the values (LeCun, Cortes and Burges, The MNIST database).

    Raises:
        DataError: The file is missing, broken, or holds another type or number of dimensions.
    """
    try:
        content = gzip.decompress(file.read_bytes())
    except FileNotFoundError as error:
        raise DataError(f"A file of Fashion-MNIST is missing. {_REMEDY} Received: no {file}") from error
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{file.name} cannot be unpacked: fetch it again. Received: {error}") from error
    header = 4 + 4 * dimensions
    if len(content) < header or content[:4] != bytes([0, 0, 8, dimensions]):
        raise DataError(
            f"{file.name} must be an IDX file of unsigned bytes in {dimensions} dimensions: fetch it again. "
            f"Received: a file that begins with {content[:4]!r}"
        )
    shape = struct.unpack(f">{dimensions}I", content[4:header])
    values = np.frombuffer(content, np.uint8, offset=header)
    if len(values) != np.prod(shape, dtype=np.int64):
        raise DataError(
            f"{file.name} must hold as many values as its header says: fetch it again. "
            f"Received: {len(values)} values for shape {shape}"
        )
    return values.reshape(shape)
