"""From an image of a data set to the bytes of an image file: as it was, or resized, as JPEG or PNG."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal

from ..errors import ConfigurationError, DataError
from .examples import ArrayImages, EncodedImages, Examples
from .remote import RemotePath, is_remote

if TYPE_CHECKING:
    from PIL import Image

ImageFormat = Literal["jpeg", "png"]
_READ_FORMATS = ("JPEG", "PNG", "GIF", "BMP")  # those that the pipeline decodes
_GREY_MODES = ("1", "L", "LA")


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """How images are stored.

    Attributes:
        image_size: Height and width to resize to. None: as they are; image files then keep their bytes.
        image_format: What is encoded anew, images in memory and resized ones, becomes this. None: PNG, which
            keeps every pixel, where the size stays, and JPEG where images are resized.
        quality: Of JPEG, 1 to 100.
    """

    image_size: int | None = None
    image_format: ImageFormat | None = None
    quality: int = 95

    def __post_init__(self) -> None:
        if self.image_size is not None and self.image_size < 1:
            raise ConfigurationError(f"An image size is at least 1. Received: image_size={self.image_size}")
        if self.image_format not in ("jpeg", "png", None):
            raise ConfigurationError(f"Expected one of: jpeg, png. Received: format={self.image_format!r}")
        if not 1 <= self.quality <= 100:
            raise ConfigurationError(f"JPEG quality lies in 1..100. Received: quality={self.quality}")

    @property
    def chosen_format(self) -> ImageFormat:
        """The format of what is encoded anew."""
        return self.image_format or ("png" if self.image_size is None else "jpeg")

    def describe(self) -> str:
        """Returns the encoding in words, different for encodings that differ."""
        size = "as they were" if self.image_size is None else f"{self.image_size}x{self.image_size}"
        quality = f" of quality {self.quality}" if self.chosen_format == "jpeg" else ""
        return f"{size}, {self.chosen_format}{quality}"


def encode_image(examples: Examples, index: int, encoding: Encoding) -> bytes:
    """Returns an image as the bytes of a file, once all of it could be decoded.

    An image file whose size stays is returned as it is. Otherwise grey images stay grey and all others become
    RGB; as in the pipeline, proportions are not kept, transparency and the camera's orientation not heeded.
    Resizing is bilinear with a filter as wide as the shrinking asks for, after libjpeg's own shrinking.

    Raises:
        DataError: The image is missing, truncated or no image.
    """
    size = None if encoding.image_size is None else (encoding.image_size, encoding.image_size)
    images = examples.images
    if isinstance(images, ArrayImages):
        from PIL import Image

        pixels = images.read(index)
        return _encode(Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels), size, encoding)
    with _named_if_broken(examples, index), _open_stream(examples, index) as stream:
        contents = stream.read()
        with _open_image(io.BytesIO(contents)) as image:
            if size is None:
                image.load()
                return contents
            image.draft(image.mode, size)
            return _encode(image.convert("L" if image.mode in _GREY_MODES else "RGB"), size, encoding)


def read_kind(examples: Examples, index: int, encoding: Encoding) -> tuple[str, int, int]:
    """Returns the format, height and width that an image will be stored in, from its header.

    Raises:
        DataError: The image is missing, or is no image.
    """
    if isinstance(examples.images, ArrayImages):
        height, width, _ = examples.images.shape(index)
        return encoding.chosen_format, height, width
    with (
        _named_if_broken(examples, index),
        _open_stream(examples, index) as stream,
        _open_image(stream) as image,
    ):
        # A photograph with a preview in the same file (MPO) is a JPEG to every other reader.
        kind = "jpeg" if image.format == "MPO" else str(image.format).lower()
        return kind, image.height, image.width


def _encode(image: "Image.Image", size: tuple[int, int] | None, encoding: Encoding) -> bytes:
    from PIL import Image

    if size is not None:
        image = image.resize(size, Image.Resampling.BILINEAR)
    stream = io.BytesIO()
    options = {"quality": encoding.quality} if encoding.chosen_format == "jpeg" else {}
    image.save(stream, encoding.chosen_format, **options)
    return stream.getvalue()


def _open_image(stream: IO[bytes]) -> "Image.Image":
    from PIL import Image

    return Image.open(stream, formats=_READ_FORMATS)


def _open_stream(examples: Examples, index: int) -> IO[bytes]:
    images = examples.images
    assert not isinstance(images, ArrayImages)
    if isinstance(images, EncodedImages):
        return io.BytesIO(images.contents[index])
    path = images.paths[index]
    return RemotePath(path).open() if is_remote(path) else Path(path).open("rb")


@contextmanager
def _named_if_broken(examples: Examples, index: int) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # a broken image can raise nearly anything
        raise DataError(
            "Every image must be a whole JPEG, PNG, GIF or BMP file: mend or remove those that are not. "
            f"Received: {examples.ids[index]} of {examples.dataset!r}: {error}"
        ) from error
