"""The commands as a shell sees them: what they import, what they print, how they end."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = "from tpuens.bench_command import main; main()"
CORE = "from tpuens.cli import main; main()"
HEAVY = "tensorflow", "keras", "pandas"


def call(start: str, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    code = (
        "import atexit, sys\n"
        f"found = lambda: [name for name in {HEAVY} if name in sys.modules]\n"
        "atexit.register(lambda: print('IMPORTED', found(), file=sys.stderr))\n"
        f"{start}"
    )
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False, cwd=cwd
    )


@pytest.mark.parametrize(
    ("start", "arguments"),
    [(BENCH, ["--help"]), (BENCH, ["list"]), (CORE, ["--help"]), (CORE, ["data", "list"])],
    ids=["tpuens-bench --help", "tpuens-bench list", "tpuens --help", "tpuens data list"],
)
def test_what_must_answer_at_once_imports_nothing_heavy(start: str, arguments: list[str]) -> None:
    answer = call(start, *arguments)
    assert answer.returncode == 0
    assert answer.stdout
    assert "IMPORTED []" in answer.stderr


def test_an_unknown_suite_ends_with_one_message_and_exit_code_2() -> None:
    answer = call(BENCH, "run", "quik")
    assert answer.returncode == 2
    assert "Did you mean 'quick'" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_a_dry_run_prints_the_matrix_and_the_time_and_writes_nothing(tmp_path: Path) -> None:
    answer = call(BENCH, "run", "--dry-run", "--strategy", "cpu", cwd=tmp_path)
    assert answer.returncode == 0
    assert "train-step cifar_cnn@32 on cpu" in answer.stdout
    assert "minutes" in answer.stdout
    assert not list(tmp_path.iterdir())


def test_overrides_that_make_two_scenarios_the_same_run_it_once(tmp_path: Path) -> None:
    answer = call(
        BENCH,
        "run",
        "train-step",
        "--backbone",
        "vgg16",
        "--batch-size",
        "2",
        "--dry-run",
        "--strategy",
        "cpu",
    )
    assert answer.stdout.count("train-step vgg16@224 on cpu") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--strategy", "gpus"], "Did you mean 'gpu'"),
        (["run", "--dtype-policy", "int8", "--strategy", "cpu"], "mixed_bfloat16"),
        (["run", "--repeats", "0", "--strategy", "cpu"], "at least once"),
        (["run", "--env", "XLA_FLAGS", "--strategy", "cpu"], "NAME=VALUE"),
        (["run", "--backbone", "vgg99", "--strategy", "cpu"], "Did you mean 'vgg19'"),
        (["run", "--resume", "--results", "nowhere"], "can be resumed"),
        (["report", "nowhere"], "nowhere"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_call_that_cannot_be_used_says_so(arguments: list[str], message: str, tmp_path: Path) -> None:
    answer = call(BENCH, *arguments, cwd=tmp_path)
    assert answer.returncode == 2
    assert message in answer.stderr
    assert "Traceback" not in answer.stderr


def test_another_package_called_bench_is_named_and_refused(tmp_path: Path) -> None:
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench" / "__init__.py").write_text("")
    start = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); {BENCH}"
    answer = call(start, "list")
    assert answer.returncode == 2
    assert "another package named 'bench'" in answer.stderr
    assert str(tmp_path) in answer.stderr


def test_ensemble_scores_every_member_and_the_ensemble(tmp_path: Path) -> None:
    import numpy as np

    from tpuens.evaluation.predictions import Predictions, save_predictions

    for number, rows in enumerate(([[0.9, 0.1], [0.6, 0.4]], [[0.4, 0.6], [0.1, 0.9]])):
        save_predictions(
            tmp_path / f"{number}.npz",
            Predictions(
                ids=np.array(["a", "b"]),
                probabilities=np.array(rows, np.float32),
                labels=np.array([0, 1]),
                class_names=("cat", "dog"),
                source=f"run {number}",
            ),
        )
    answer = call(CORE, "ensemble", str(tmp_path / "0.npz"), str(tmp_path / "1.npz"), "--json")
    scores = json.loads(answer.stdout)
    assert [scores[name]["top_1_accuracy"] for name in scores] == [0.5, 0.5, 1.0]


def test_options_reach_the_scenarios_that_have_them() -> None:
    answer = call(BENCH, "run", "quick", "--option", "membrs=5", "--strategy", "cpu", "--dry-run")
    assert answer.returncode == 2
    assert "Did you mean 'members'" in answer.stderr
    answer = call(BENCH, "run", "quick", "--option", "members=five", "--strategy", "cpu", "--dry-run")
    assert answer.returncode == 2
    assert "is a number such as 3" in answer.stderr
    answer = call(BENCH, "run", "quick", "--option", "members=5", "--strategy", "cpu", "--dry-run")
    assert answer.returncode == 0
