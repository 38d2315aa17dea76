"""Interpolation that XLA compiles for a usual size: the pixels of TensorFlow's own, and when it is taken."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tpuens.data import resize as resize_module
from tpuens.data.decode import decode_image, make_reader
from tpuens.data.examples import FileImages
from tpuens.data.resize import make_resize

SHAPE = (224, 224, 3)


def draw(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Returns noise in colours: uint8 (height, width, 3)."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("source", "size"),
    [
        ((34, 52), (23, 23)),
        ((35, 50), (25, 25)),  # every second column
        ((41, 63), (20, 21)),  # every third
        ((30, 20), (17, 20)),  # as wide as it was
        ((20, 30), (20, 17)),  # as high
        ((9, 7), (20, 31)),  # enlarged
        ((1, 1), (3, 2)),
    ],
)
def test_compiled_pixels_are_those_of_the_kernel(source: tuple[int, int], size: tuple[int, int]) -> None:
    pixels = tf.constant(draw(*source))
    compiled = make_resize(size, source)(pixels)
    assert compiled.dtype == tf.uint8
    exact = tf.image.resize(pixels, size).numpy()
    assert compiled.shape == exact.shape
    assert np.abs(compiled.numpy() - exact).max() < 0.63, "not the nearest value, or nearly"


def test_an_image_of_another_size_takes_the_kernel() -> None:
    resize = make_resize((11, 13), (30, 40))
    other = tf.constant(draw(25, 31))
    assert np.array_equal(resize(other), make_resize((11, 13))(other))


def test_what_is_compiled_does_not_antialias() -> None:
    image = tf.constant(draw(90, 80))
    usual, none = (make_resize((30, 20), size, antialias=True) for size in ((90, 80), None))
    assert np.array_equal(usual(image), none(image))


def test_where_xla_cannot_compile_the_kernel_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    def compile_nothing(*_: Any, **__: Any) -> Any:
        def fail(_: Any) -> None:
            raise tf.errors.UnimplementedError(None, None, "no XLA")

        return fail

    monkeypatch.setattr(resize_module.tf, "function", compile_nothing)
    image = tf.constant(draw(46, 38))
    assert np.array_equal(make_resize((19, 17), (46, 38))(image), make_resize((19, 17))(image))


@pytest.fixture
def usual_sizes(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Collects the sizes for which a reader has a function compiled."""
    found: list[Any] = []
    compile_ = resize_module._compile

    def note(source: Any, size: Any) -> Any:
        found.append((source, size))
        return compile_(source, size)

    monkeypatch.setattr(resize_module, "_compile", note)
    return found


def write_images(folder: Path, sizes: list[tuple[int, int]], kind: str = "JPEG") -> FileImages:
    """Writes images of these heights and widths."""
    paths = [folder / f"{number:02d}.jpg" for number in range(len(sizes))]
    for seed, (path, size) in enumerate(zip(paths, sizes, strict=True)):
        Image.fromarray(draw(*size, seed)).save(path, kind)
    return FileImages(paths=tuple(map(str, paths)))


def test_a_reader_compiles_for_the_size_that_most_images_are_decoded_to(
    tmp_path: Path, usual_sizes: list[Any]
) -> None:
    images = write_images(tmp_path, [(470, 490), (241, 491), (470, 490), (233, 220), (470, 490), (470, 490)])
    Path(images.paths[3]).write_bytes(b"no image")  # it has no say, and does not stop the others
    read = make_reader(images, SHAPE)
    assert usual_sizes == [((235, 245), (224, 224))]  # decoded at a half
    rows = tf.data.Dataset.from_tensor_slices([0, 1, 2, 4, 5]).map(read, num_parallel_calls=2)
    for path, pixels in zip(np.delete(images.paths, 3), rows, strict=True):
        kernel = decode_image(tf.io.read_file(path), SHAPE)
        assert np.abs(pixels.numpy().astype(int) - kernel.numpy()).max() <= 1


@pytest.mark.parametrize(
    ("sizes", "kind"),
    [
        ([(470, 490), (470, 494), (470, 498)], "JPEG"),  # none prevails
        ([(224, 224)] * 3, "JPEG"),  # nothing to do
        ([(470, 490)] * 3, "PNG"),  # decoded whole, and antialiased
    ],
)
def test_a_reader_compiles_nothing_where_nothing_comes_of_it(
    tmp_path: Path, usual_sizes: list[Any], sizes: list[tuple[int, int]], kind: str
) -> None:
    read = make_reader(write_images(tmp_path, sizes, kind), SHAPE)
    assert read(tf.constant(0)).shape == SHAPE
    assert usual_sizes == []


def test_a_reader_of_small_images_compiles_nothing(tmp_path: Path, usual_sizes: list[Any]) -> None:
    make_reader(write_images(tmp_path, [(470, 490)] * 3), (192, 192, 3))
    assert usual_sizes == []
