"""Where a data set is looked for, in which order, and what is said when it is nowhere."""

import importlib
import sys
from pathlib import Path

import pytest

from tpuens.data import locations
from tpuens.data.datasets import DATASETS, load_examples
from tpuens.data.locations import find_data_dir
from tpuens.errors import ConfigurationError, DataError

LEAVES = DATASETS["plant_pathology"]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes an empty folder the current one, with no environment and Kaggle's input folder beside it."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.delenv("TPUENS_DATA_DIR", raising=False)
    monkeypatch.delenv("TPU_NAME", raising=False)
    monkeypatch.setattr(locations, "_KAGGLE_INPUT", tmp_path / "kaggle")


def write_leaves(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "train.csv").write_text("")
    return folder


def test_a_named_folder_wins_over_all_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TPUENS_DATA_DIR", str(write_leaves(tmp_path / "environment")))
    named = write_leaves(tmp_path / "named")
    assert find_data_dir(LEAVES, named) == named
    assert find_data_dir(LEAVES, str(named)) == named
    assert find_data_dir(LEAVES) == tmp_path / "environment"


def test_a_named_folder_may_be_the_one_above(tmp_path: Path) -> None:
    leaves = write_leaves(tmp_path / "all" / "plant_pathology")
    assert find_data_dir(LEAVES, tmp_path / "all") == leaves


def test_a_named_folder_that_holds_something_else_is_left_to_the_loader(tmp_path: Path) -> None:
    assert find_data_dir(LEAVES, tmp_path) == tmp_path
    assert find_data_dir(DATASETS["image_folder"], tmp_path) == tmp_path


def test_a_named_folder_must_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TPUENS_DATA_DIR", str(write_leaves(tmp_path / "environment")))
    with pytest.raises(DataError, match=r"must be a folder that exists.*nowhere"):
        find_data_dir(LEAVES, tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"must be a folder that exists.*file"):
        find_data_dir(LEAVES, tmp_path / "file")


@pytest.mark.parametrize("name", ["plant_pathology", "plant-pathology-2020-fgvc7", "."])
def test_the_environment_names_the_folder_or_the_one_above(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TPUENS_DATA_DIR", str(tmp_path / "data"))
    leaves = write_leaves(tmp_path / "data" / name)
    assert find_data_dir(LEAVES) == leaves


def test_the_environment_wins_over_the_current_folder_and_that_over_kaggle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = [
        write_leaves(tmp_path / "environment" / "plant_pathology"),
        write_leaves(tmp_path / "here" / "data" / "plant_pathology"),
        write_leaves(tmp_path / "kaggle" / "plant-pathology-2020-fgvc7"),
        write_leaves(tmp_path / "kaggle" / "competitions" / "plant-pathology-2020-fgvc7"),
    ]
    monkeypatch.setenv("TPUENS_DATA_DIR", str(tmp_path / "environment"))
    for place in places:
        assert find_data_dir(LEAVES) == place
        (place / "train.csv").unlink()


def test_what_was_looked_at_is_listed_with_how_to_get_the_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DataError, match=r"Looked at: \$TPUENS_DATA_DIR, which is not set"):
        load_examples("plant_pathology", "train")
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("TPUENS_DATA_DIR", str(tmp_path / "data"))
    with pytest.raises(DataError) as failure:
        load_examples("plant_pathology", "train")
    message = str(failure.value)
    assert "pass --data-dir, or set TPUENS_DATA_DIR, with the folder that holds train.csv" in message
    assert "kaggle competitions download -c plant-pathology-2020-fgvc7" in message
    for place in (
        f"{tmp_path / 'data'};",
        f"{tmp_path / 'data' / 'plant_pathology'};",
        f"{tmp_path / 'data' / 'plant-pathology-2020-fgvc7'};",
        f"{tmp_path / 'here' / 'data'}, which is no folder;",
        f"{tmp_path / 'kaggle'}, which is no folder;",
        f"{tmp_path / 'kaggle' / 'competitions'}, which is no folder.",
    ):
        assert place in message


def test_data_sets_that_bring_their_images_look_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TPUENS_DATA_DIR", "nowhere")
    assert find_data_dir(DATASETS["digits"]) is None
    assert find_data_dir(DATASETS["photographs"]) is None
    with pytest.raises(ConfigurationError, match="--data-dir"):
        find_data_dir(DATASETS["image_folder"])


def test_cifar10_is_left_to_keras_where_it_is_not_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find_data_dir(DATASETS["cifar10"]) is None
    monkeypatch.setenv("TPUENS_DATA_DIR", str(tmp_path))
    (tmp_path / "cifar-10-batches-py").mkdir()
    (tmp_path / "cifar-10-batches-py" / "batches.meta").write_text("")
    assert find_data_dir(DATASETS["cifar10"]) == tmp_path / "cifar-10-batches-py"


# --- Kaggle's buckets (that such a URL can be read is tested with TensorFlow) -------------------------------


def plant_kaggle(folder: Path, monkeypatch: pytest.MonkeyPatch, buckets: dict[str, str]) -> list[str]:
    """Writes the module that only Kaggle's machines have; returns the names that it will be asked for."""
    (folder / "kaggle_datasets.py").write_text(
        "asked = []\n"
        "class KaggleDatasets:\n"
        "    def get_gcs_path(self, name):\n"
        "        asked.append(name)\n"
        f"        if name not in {buckets!r}:\n"
        "            raise RuntimeError('no such dataset')\n"
        f"        return {buckets!r}[name]\n"
    )
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "kaggle_datasets", raising=False)
    module = importlib.import_module("kaggle_datasets")
    monkeypatch.setitem(sys.modules, "kaggle_datasets", module)
    asked: list[str] = module.asked
    return asked


@pytest.fixture
def remote_tpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TPU_NAME", "grpc://10.0.0.2:8470")


@pytest.mark.usefixtures("remote_tpu")
def test_a_tpu_over_the_network_reads_kaggles_bucket_before_the_input_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_leaves(tmp_path / "kaggle" / "plant-pathology-2020-fgvc7")
    bucket = write_leaves(tmp_path / "bucket")
    asked = plant_kaggle(tmp_path, monkeypatch, {"plant-pathology-2020-fgvc7": str(bucket)})
    assert find_data_dir(LEAVES) == bucket
    assert asked == ["plant-pathology-2020-fgvc7"]


@pytest.mark.usefixtures("remote_tpu")
def test_every_name_of_the_competition_is_asked_for_and_a_refusal_is_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = plant_kaggle(tmp_path, monkeypatch, {})
    with pytest.raises(DataError, match=r"Kaggle's bucket of tpu-getting-started \(no such dataset\)"):
        load_examples("flowers", "train")
    assert asked == ["flower-classification-with-tpus", "tpu-getting-started"]


@pytest.mark.parametrize("name", [None, "local"])
def test_without_a_tpu_over_the_network_the_input_folder_is_read(
    name: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name:
        monkeypatch.setenv("TPU_NAME", name)
    leaves = write_leaves(tmp_path / "kaggle" / "plant-pathology-2020-fgvc7")
    asked = plant_kaggle(tmp_path, monkeypatch, {"plant-pathology-2020-fgvc7": "gs://bucket"})
    assert find_data_dir(LEAVES) == leaves
    assert asked == []
