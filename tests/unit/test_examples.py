"""Examples: their labels, images, fingerprint and digests."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tpuens.data.examples import ArrayImages, EncodedImages, Examples, FileImages, Images
from tpuens.errors import DataError


def make_examples(labels: list[int], class_names: tuple[str, ...] = ("cat", "dog")) -> Examples:
    pixels = np.arange(len(labels) * 12, dtype=np.uint8).reshape(-1, 2, 2, 3)
    return Examples(
        dataset="pets",
        split="train",
        ids=np.array([f"pets-{index}" for index in range(len(labels))]),
        labels=np.array(labels, dtype=np.int64),
        class_names=class_names,
        images=ArrayImages(pixels=pixels),
    )


def make_file_examples(folder: Path) -> Examples:
    folder.mkdir()
    paths = []
    for index in range(3):
        path = folder / f"{index}.png"
        Image.fromarray(np.full((4, 6 + index, 3), 50 * index, dtype=np.uint8)).save(path)
        paths.append(str(path))
    return Examples(
        dataset="pets",
        split="train",
        ids=np.array(["0.png", "1.png", "2.png"]),
        labels=np.array([0, 1, 1]),
        class_names=("cat", "dog"),
        images=FileImages(paths=tuple(paths)),
    )


def test_a_subset_takes_ids_labels_and_pixels_together() -> None:
    examples = make_examples([0, 1, 1, 0])
    chosen = examples.subset([3, 1])
    assert chosen.ids.tolist() == ["pets-3", "pets-1"]
    assert chosen.known_labels.tolist() == [0, 1]
    assert np.array_equal(chosen.images.read(0), examples.images.read(3))
    assert chosen.class_names == examples.class_names


def test_a_subset_of_files_keeps_each_file_with_its_id(tmp_path: Path) -> None:
    chosen = make_file_examples(tmp_path / "pets").subset(np.array([2, 0]))
    assert chosen.ids.tolist() == ["2.png", "0.png"]
    assert chosen.images.shape(0) == (4, 8, 3)
    assert chosen.images.read(0).mean() == 100


@pytest.mark.parametrize("labels", [[0, 2], [-1, 0]])
def test_labels_outside_the_class_names_are_refused(labels: list[int]) -> None:
    with pytest.raises(DataError, match=r"Labels must lie in 0\.\.1"):
        make_examples(labels)


def test_the_same_id_twice_is_refused() -> None:
    examples = make_examples([0, 1])
    with pytest.raises(DataError, match="unique"):
        examples.subset([1, 1])


def test_as_many_labels_as_images_are_asked_for() -> None:
    with pytest.raises(DataError, match="2 ids, 1 images, 2 labels"):
        Examples(
            dataset="pets",
            split="train",
            ids=np.array(["a", "b"]),
            labels=np.array([0, 0]),
            class_names=("cat",),
            images=ArrayImages(pixels=np.zeros((1, 2, 2, 3), np.uint8)),
        )


def test_pixels_must_be_uint8_with_one_or_three_channels() -> None:
    with pytest.raises(DataError, match="float64"):
        ArrayImages(pixels=np.zeros((1, 2, 2, 3)))  # type: ignore[arg-type]
    with pytest.raises(DataError, match="1 or 3"):
        ArrayImages(pixels=np.zeros((1, 2, 2, 4), np.uint8))


def test_unlabelled_examples_say_so_when_labels_are_needed() -> None:
    labelled = make_examples([0, 1])
    unlabelled = Examples(
        dataset="pets",
        split="test",
        ids=labelled.ids,
        labels=None,
        class_names=labelled.class_names,
        images=labelled.images,
    )
    with pytest.raises(DataError, match="no labels"):
        _ = unlabelled.known_labels
    assert unlabelled.fingerprint() != labelled.fingerprint()


def test_the_fingerprint_of_files_does_not_depend_on_their_folder(tmp_path: Path) -> None:
    here, there = make_file_examples(tmp_path / "here"), make_file_examples(tmp_path / "there")
    assert here.fingerprint() == there.fingerprint()
    assert len(here.fingerprint()) == 16


def test_the_fingerprint_changes_with_a_pixel_a_label_a_class_or_the_order() -> None:
    examples = make_examples([0, 1, 1])
    repainted = make_examples([0, 1, 1])
    repainted.images.read(2)[0, 0, 0] += 1
    others = [
        repainted,
        make_examples([0, 1, 0]),
        make_examples([0, 1, 1], class_names=("cat", "cow")),
        examples.subset([1, 0, 2]),
    ]
    assert len({examples.fingerprint(), *(other.fingerprint() for other in others)}) == 5


def test_the_fingerprint_of_files_changes_with_a_file_and_names_a_missing_one(tmp_path: Path) -> None:
    examples = make_file_examples(tmp_path / "pets")
    before = examples.fingerprint()
    with (tmp_path / "pets" / "1.png").open("ab") as file:
        file.write(b"\0")
    assert examples.fingerprint() != before
    (tmp_path / "pets" / "2.png").unlink()
    with pytest.raises(DataError, match=r"2\.png"):
        examples.fingerprint()


# --- Several classes an example -----------------------------------------------------------------------------


def make_multi_label_examples(rows: list[list[int]]) -> Examples:
    return Examples(
        dataset="leaves",
        split="train",
        ids=np.array([f"leaf-{index}" for index in range(len(rows))]),
        labels=np.array(rows, dtype=np.int64),
        class_names=("rust", "scab"),
        images=ArrayImages(pixels=np.zeros((len(rows), 2, 2, 3), np.uint8)),
    )


def test_an_example_may_be_of_several_classes_or_of_none() -> None:
    examples = make_multi_label_examples([[1, 1], [0, 1], [0, 0]])
    assert examples.is_multi_label
    assert not make_examples([0, 1]).is_multi_label
    assert examples.class_counts.tolist() == [1, 2]
    assert examples.subset([2, 0]).known_labels.tolist() == [[0, 0], [1, 1]]
    assert examples.fingerprint() != make_multi_label_examples([[1, 1], [0, 1], [1, 0]]).fingerprint()


def test_classes_are_counted_even_without_an_example() -> None:
    assert make_examples([0, 0, 2], class_names=("cat", "dog", "cow")).class_counts.tolist() == [2, 0, 1]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([[0, 2]], r"2 here, must be 0 or 1.*'leaves' with labels from 0 to 2"),
        ([[0, 1, 0]], r"2 here.*labels of \(1, 3\)"),
    ],
)
def test_multi_label_rows_hold_a_nought_or_a_one_for_each_class(rows: list[list[int]], message: str) -> None:
    with pytest.raises(DataError, match=message):
        make_multi_label_examples(rows)


# --- Image files in memory, and exact duplicates ------------------------------------------------------------


def read_into_memory(examples: Examples) -> EncodedImages:
    assert isinstance(examples.images, FileImages)
    contents = [Path(path).read_bytes() for path in examples.images.paths]
    return EncodedImages(contents=np.array(contents, dtype=object))


def test_image_files_in_memory_read_as_those_on_disk(tmp_path: Path) -> None:
    files = make_file_examples(tmp_path / "pets")
    in_memory = read_into_memory(files)
    assert len(in_memory) == 3
    assert in_memory.shape(2) == files.images.shape(2) == (4, 8, 3)
    assert np.array_equal(in_memory.read(1), files.images.read(1))
    assert in_memory.subset([2, 0]).contents[1] == in_memory.contents[0]
    assert in_memory.content_digests() == files.content_digests()


def test_the_fingerprint_of_files_in_memory_knows_every_byte(tmp_path: Path) -> None:
    examples = make_file_examples(tmp_path / "pets")
    contents = read_into_memory(examples).contents
    changed = contents.copy()
    changed[0] = bytes([contents[0][0] ^ 1]) + contents[0][1:]

    def fingerprint(contents: np.ndarray) -> str:
        return replace(examples, images=EncodedImages(contents=contents)).fingerprint()

    assert fingerprint(contents) == fingerprint(contents.copy()) != fingerprint(changed)


def test_files_in_memory_are_bytes_in_an_array_of_objects() -> None:
    with pytest.raises(DataError, match=r"Received: \|S2 of shape \(1,\)"):
        EncodedImages(contents=np.array([b"ab"]))


def test_duplicates_and_only_they_have_the_same_digest(tmp_path: Path) -> None:
    pixels = np.zeros((4, 2, 2, 3), np.uint8)
    pixels[1, 1, 1, 1] = 1
    contents = np.array([b"one", b"two", b"one", b"one"], dtype=object)
    for index, content in enumerate(contents):
        (tmp_path / str(index)).write_bytes(content)
    kinds: list[tuple[Images, list[int]]] = [
        (ArrayImages(pixels=pixels), [0, 1, 0, 0]),
        (EncodedImages(contents=contents), [0, 1, 0, 0]),
        (FileImages(paths=tuple(str(tmp_path / str(index)) for index in range(4))), [0, 1, 0, 0]),
    ]
    for images, expected in kinds:
        digests = images.content_digests()
        assert [digests.index(digest) for digest in digests] == expected


def test_the_digest_of_a_file_follows_its_content(tmp_path: Path) -> None:
    examples = make_file_examples(tmp_path / "pets")
    before = examples.content_digests()
    (tmp_path / "pets" / "1.png").write_bytes(b"another")
    after = examples.content_digests()
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, False, True]
    (tmp_path / "pets" / "2.png").unlink()
    with pytest.raises(DataError, match=r"2\.png"):
        examples.content_digests()
