"""A JPEG file by Pillow, shrunk while it is decoded, for workers without TensorFlow and PyTorch."""

from typing import Any

import numpy as np
from PIL import Image


def read_image(path: str, size: tuple[int, int]) -> Any:
    """Returns a file as uint8 pixels (h, w, 3).

    `draft` has libjpeg scale by 2, 4 or 8, never below the size; then Pillow's bilinear filter, which widens
    with the shrinking.
    """
    height, width = size
    with Image.open(path) as image:
        image.draft("RGB", (width, height))
        return np.array(image.convert("RGB").resize((width, height), Image.Resampling.BILINEAR))
