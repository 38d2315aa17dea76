"""Folders and files on a bucket, read as `pathlib` reads local ones, through `tf.io.gfile`."""

import errno
import io
import posixpath
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class RemoteStat:
    """What is known of a file on a bucket.

    Attributes:
        st_size: Its length in bytes, under the name that `os.stat` has for it.
    """

    st_size: int


@dataclass(frozen=True, order=True)
class RemotePath:
    """A URL such as ``gs://bucket/folder``, with as much of `pathlib.Path` as reading a data set takes.

    TensorFlow is imported only when something is looked up. What it raises comes out as an `OSError`, as
    from a local file: a missing file is a `FileNotFoundError`.

    Attributes:
        url: Without a slash at its end.
    """

    url: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "url", self.url.rstrip("/"))

    def __str__(self) -> str:
        return self.url

    def __truediv__(self, name: str) -> "RemotePath":
        return RemotePath(f"{self.url}/{name}")

    @property
    def name(self) -> str:
        """What stands after the last slash."""
        return posixpath.basename(self.url)

    @property
    def stem(self) -> str:
        """The name without its suffix."""
        return posixpath.splitext(self.name)[0]

    @property
    def suffix(self) -> str:
        """The name from its last dot on, or nothing."""
        return posixpath.splitext(self.name)[1]

    @property
    def parent(self) -> "RemotePath":
        """The folder that this lies in."""
        return RemotePath(posixpath.dirname(self.url))

    def exists(self) -> bool:
        """Returns whether there is a file or a folder of this name."""
        return bool(self._ask(lambda gfile: gfile.exists(self.url)))

    def is_dir(self) -> bool:
        """Returns whether there is a folder of this name; a bucket out of reach is an error."""
        try:  # `isdir` of gfile says no to anything that goes wrong
            return bool(self._ask(lambda gfile: gfile.stat(self.url).is_directory))
        except FileNotFoundError:
            return False

    def is_file(self) -> bool:
        """Returns whether there is a file of this name."""
        return self.exists() and not self.is_dir()

    def iterdir(self) -> Iterator["RemotePath"]:
        """Yields what lies in the folder."""
        for name in self._ask(lambda gfile: gfile.listdir(self.url)):
            yield self / name.rstrip("/")

    def glob(self, pattern: str) -> Iterator["RemotePath"]:
        """Yields what fits a pattern with ``*`` and ``?``."""
        for url in self._ask(lambda gfile: gfile.glob(f"{self.url}/{pattern}")):
            yield RemotePath(url)

    def stat(self) -> RemoteStat:
        """Returns the size of a file."""
        return RemoteStat(st_size=int(self._ask(lambda gfile: gfile.stat(self.url)).length))

    def read_bytes(self) -> bytes:
        """Returns a file's whole content."""

        def read(gfile: Any) -> bytes:
            with gfile.GFile(self.url, "rb") as file:
                content: bytes = file.read()
            return content

        return self._ask(read)

    def read_text(self, encoding: str = "utf-8") -> str:
        """Returns a file's whole content as text."""
        return self.read_bytes().decode(encoding)

    def open(self, mode: str = "rb") -> io.BytesIO:
        """Returns a file's whole content as a stream of bytes."""
        if mode != "rb":
            raise ValueError(f"A file on a bucket is opened to read bytes. Received: mode={mode!r}")
        return io.BytesIO(self.read_bytes())

    def _ask(self, question: Callable[[Any], T]) -> T:
        """Returns what the question finds out from `tf.io.gfile`."""
        import tensorflow as tf

        try:
            return question(tf.io.gfile)
        except tf.errors.NotFoundError as error:
            raise FileNotFoundError(errno.ENOENT, "no such file or folder", self.url) from error
        except tf.errors.OpError as error:
            raise OSError(errno.EIO, error.message, self.url) from error


DataPath: TypeAlias = Path | RemotePath


def is_remote(path: object) -> bool:
    """Returns whether a path is a URL."""
    return "://" in str(path)


def make_path(path: str | DataPath) -> DataPath:
    """Returns the path that a text names: a URL stays one, any other becomes absolute, ``~`` expanded."""
    if isinstance(path, RemotePath):
        return path
    return RemotePath(str(path)) if is_remote(path) else Path(path).expanduser().absolute()
