import itertools
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tpuens.data.examples import EncodedImages, Examples
from tpuens.errors import DataError
from tpuens.evaluation.predictions import (
    label_predictions,
    load_predictions,
    save_predictions,
    stream_predictions,
)


def unlabelled(count: int, classes: int) -> Examples:
    return Examples(
        dataset="none",
        split="test",
        images=EncodedImages(contents=np.full(count, b"", object)),
        ids=np.arange(count).astype(str),
        labels=None,
        class_names=tuple(str(number) for number in range(classes)),
    )


def test_predictions_stream_to_disk_and_memory_holds_a_batch(tmp_path: Path) -> None:
    batch = np.full((64, 1000), 1e-3, np.float32)
    peaks = []
    for batches in (20, 200):
        tracemalloc.start()
        stream_predictions(
            tmp_path / "p.npz", unlabelled(64 * batches, 1000), itertools.repeat(batch, batches), "one"
        )
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert (tmp_path / "p.npz").stat().st_size > 200 * batch.nbytes
    # Ids and what examples themselves take grow; the 46 MB more of probabilities must not show.
    assert peaks[1] - peaks[0] < 10e6
    assert (load_predictions(tmp_path / "p.npz").probabilities == batch[0]).all()


def test_predictions_can_be_read_by_whom_other_files_can(tmp_path: Path) -> None:
    rows = np.array([[0.5, 0.5]], np.float32)
    save_predictions(tmp_path / "new" / "p.npz", label_predictions(unlabelled(1, 2), rows, "one"))
    (tmp_path / "other").touch()
    assert (tmp_path / "new" / "p.npz").stat().st_mode == (tmp_path / "other").stat().st_mode


@pytest.mark.parametrize("ending", [DataError("corrupt"), KeyboardInterrupt()], ids=["error", "Ctrl-C"])
def test_predictions_that_end_early_leave_what_was_there(ending: BaseException, tmp_path: Path) -> None:
    rows = np.array([[0.5, 0.5]], np.float32)
    save_predictions(tmp_path / "p.npz", label_predictions(unlabelled(1, 2), rows, "before"))

    def stop() -> Iterator[np.ndarray]:
        yield rows
        raise ending

    with pytest.raises(type(ending)):
        stream_predictions(tmp_path / "p.npz", unlabelled(2, 2), stop(), "one")
    assert [file.name for file in tmp_path.iterdir()] == ["p.npz"]
    assert load_predictions(tmp_path / "p.npz").source == "before"


def test_a_model_that_diverged_is_refused_at_its_first_bad_batch(tmp_path: Path) -> None:
    made = []

    def rows() -> Iterator[np.ndarray]:
        for value in (0.5, np.nan, 0.5):
            made.append(value)
            yield np.full((1, 2), value, np.float32)

    with pytest.raises(DataError, match=r"lower learning rate.*first ids 1"):
        stream_predictions(tmp_path / "p.npz", unlabelled(3, 2), rows(), "one")
    assert len(made) == 2
