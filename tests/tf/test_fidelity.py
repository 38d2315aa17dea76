"""How near the pixels of large photographs come to a careful reduction."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from sklearn.datasets import load_sample_images

from tpuens.data.decode import decode_image
from tpuens.data.photographs import HEIGHT, WIDTH
from tpuens.data.resize import make_resize

BOXES = [(0, 0, 540, 360), (60, 40, 600, 400), (100, 67, 420, 280)]


@pytest.fixture(scope="module")
def photographs() -> list[bytes]:
    """Parts of two photographs, smooth and full of detail, as JPEG files of a camera's size."""
    files = []
    for pixels in load_sample_images().images:
        for box in BOXES:
            stream = io.BytesIO()
            image = Image.fromarray(pixels).resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS, box=box)
            image.save(stream, "JPEG", quality=80)
            files.append(stream.getvalue())
    return files


def reduce_carefully(contents: bytes, size: int) -> np.ndarray:
    """Returns what Pillow makes of a file: means of boxes as large as fit a pixel, then Lanczos."""
    with Image.open(io.BytesIO(contents)) as image:
        boxes = (image.width // size, image.height // size)
        reduced = image.reduce(boxes).resize((size, size), Image.Resampling.LANCZOS)
    return np.asarray(reduced, dtype=np.float64)


def reduce_as_the_article(contents: bytes, size: int) -> np.ndarray:
    """Returns what decoding whole, casting, dividing by 255 and resizing bilinearly gives, in 0..255."""
    whole = tf.cast(tf.image.decode_jpeg(contents, channels=3), tf.float32) / 255.0
    pixels: np.ndarray = tf.image.resize(whole, (size, size)).numpy()
    return pixels * 255.0


@pytest.mark.parametrize("is_usual", [True, False])
@pytest.mark.parametrize(("size", "scale"), [(512, 2), (224, 4)])
def test_pixels_come_nearer_to_a_careful_reduction_than_the_articles(
    photographs: list[bytes], size: int, scale: int, is_usual: bool
) -> None:
    resize = make_resize((size, size), (-(-HEIGHT // scale), WIDTH // scale) if is_usual else None)
    for contents in photographs:
        careful = reduce_carefully(contents, size)
        ours = decode_image(tf.constant(contents), (size, size, 3), resize).numpy()
        theirs = reduce_as_the_article(contents, size)
        assert np.abs(ours - careful).mean() < 0.8 * np.abs(theirs - careful).mean()
