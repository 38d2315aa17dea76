"""The commands as a shell sees them: what they import, what they print, how they end."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from bench.commands import options
from tpuens.bench_command import main as bench_main
from tpuens.cli import main, run_app
from tpuens.errors import DeviceError
from tpuens.hardware.strategies import NO_TPU

BENCH = "from tpuens.bench_command import main; main()"
CORE = "from tpuens.cli import main; main()"
HEAVY = "tensorflow", "keras", "pandas"


class Answer(NamedTuple):
    code: int | str | None
    out: str
    err: str


Command = Callable[..., Answer]


@pytest.fixture
def tpuens(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Calls `tpuens` in this process: a start of Python costs more than most of what commands do."""
    return lambda *arguments: call_here(main, arguments, monkeypatch, capsys)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Calls `tpuens-bench` in this process."""
    return lambda *arguments: call_here(bench_main, arguments, monkeypatch, capsys)


def call_here(
    start: Callable[[], None],
    arguments: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Answer:
    monkeypatch.setattr(sys, "argv", ["command", *arguments])
    with pytest.raises(SystemExit) as ended:
        start()
    return Answer(ended.value.code, *capsys.readouterr())


def call_shell(start: str, *arguments: str) -> Answer:
    """Calls a command in a process of its own, which tells on leaving what heavy modules it imported."""
    code = (
        "import atexit, sys\n"
        f"found = lambda: [name for name in {HEAVY} if name in sys.modules]\n"
        "atexit.register(lambda: print('IMPORTED', found(), file=sys.stderr))\n"
        f"{start}"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )
    return Answer(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize(
    ("start", "arguments"),
    [(BENCH, ["--help"]), (BENCH, ["list"]), (CORE, ["--help"]), (CORE, ["data", "list"])],
    ids=["tpuens-bench --help", "tpuens-bench list", "tpuens --help", "tpuens data list"],
)
def test_what_must_answer_at_once_imports_nothing_heavy(start: str, arguments: list[str]) -> None:
    answer = call_shell(start, *arguments)
    assert answer.code == 0
    assert answer.out
    assert "IMPORTED []" in answer.err


def test_an_error_ends_with_one_message_and_exit_code_2() -> None:
    answer = call_shell(BENCH, "run", "quik")
    assert answer.code == 2
    assert "Did you mean 'quick'" in answer.err
    assert "Traceback" not in answer.err


@pytest.mark.parametrize(
    ("able", "chosen"),
    [
        (["cpu", "cpu-mirrored:2", "gpu:0", "gpu:1", "gpu-mirrored", "tpu"], "tpu"),
        (["cpu", "cpu-mirrored:2", "gpu:0", "gpu:1", "gpu-mirrored"], "gpu-mirrored"),
        (["cpu", "cpu-mirrored:2", "gpu:0"], "gpu:0"),
        (["cpu", "cpu-mirrored:2"], "cpu"),
    ],
)
def test_auto_is_measured_under_the_name_of_what_it_takes(
    able: list[str], chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    reasons = {"tpu": NO_TPU} | dict.fromkeys(able)
    monkeypatch.setattr(options, "look_at_machine", lambda: {"strategies": reasons})
    assert options.check_strategies(["auto", "cpu"]) == [chosen, "cpu"]
    reasons["tpu"] = "TPU chips show, but TensorFlow lists none: end it"
    with pytest.raises(DeviceError, match=r"end it\. To go without the TPU"):
        options.check_strategies(["auto"])


def test_a_dry_run_prints_the_matrix_and_the_time_and_writes_nothing(
    bench: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = bench("run", "--dry-run", "--strategy", "cpu")
    assert answer.code == 0
    assert "train-step cifar_cnn@32 on cpu" in answer.out
    assert "minutes" in answer.out
    assert not list(tmp_path.iterdir())


def test_overrides_that_make_two_scenarios_the_same_run_it_once(bench: Command) -> None:
    given = ("--backbone", "vgg16", "--batch-size", "2")
    answer = bench("run", "train-step", *given, "--dry-run", "--strategy", "cpu")
    assert answer.out.count("train-step vgg16@224 on cpu") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--strategy", "gpus"], "Did you mean 'gpu'"),
        (["run", "--dtype-policy", "int8", "--strategy", "cpu"], "mixed_bfloat16"),
        (["run", "--loop", "keras", "--strategy", "cpu"], "Did you mean 'keras-fit'"),
        (["run", "--repeats", "0", "--strategy", "cpu"], "at least once"),
        (["run", "--env", "XLA_FLAGS", "--strategy", "cpu"], "NAME=VALUE"),
        (["run", "--backbone", "vgg99", "--strategy", "cpu"], "Did you mean 'vgg19'"),
        (["run", "--resume", "--results", "nowhere"], "can be resumed"),
        (["run", "--resume", "--env", "A=B"], "as they were asked for"),
        (["run", "--resume", "--repeats", "2"], "as they were asked for"),
        (["run", "--resume", "--data-dir", "d"], "Received: --data-dir"),
        (["run", "--time-limit", "0"], "Received: time_limit=0"),
        (["run", "--memory-limit", "nan"], "Received: memory_limit=nan"),
        (["report", "nowhere"], "nowhere"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_call_that_cannot_be_used_says_so(
    arguments: list[str],
    message: str,
    bench: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = bench(*arguments)
    assert answer.code == 2
    assert message in answer.err
    assert not list(tmp_path.iterdir())


def test_a_device_without_memory_ends_with_a_message(capsys: pytest.CaptureFixture[str]) -> None:
    class ResourceExhaustedError(Exception):
        """As TensorFlow calls its own."""

    def fail() -> None:
        raise ResourceExhaustedError("OOM when allocating tensor\nand much more")

    with pytest.raises(SystemExit) as end:
        run_app(fail)
    assert end.value.code == 1
    said = capsys.readouterr().err
    assert "--batch-size" in said
    assert said.rstrip().endswith("OOM when allocating tensor")


def test_another_package_called_bench_is_named_and_refused(tmp_path: Path) -> None:
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench" / "__init__.py").write_text("")
    start = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); {BENCH}"
    answer = call_shell(start, "list")
    assert answer.code == 2
    assert "another package named 'bench'" in answer.err
    assert str(tmp_path) in answer.err


def test_ensemble_scores_every_member_and_the_ensemble(tpuens: Command, tmp_path: Path) -> None:
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
    answer = tpuens("ensemble", str(tmp_path / "0.npz"), str(tmp_path / "1.npz"), "--json")
    scores = json.loads(answer.out)
    assert [scores[name]["top_1_accuracy"] for name in scores] == [0.5, 0.5, 1.0]


def test_options_reach_the_scenarios_that_have_them(bench: Command) -> None:
    answer = bench("run", "quick", "--option", "membrs=5", "--strategy", "cpu", "--dry-run")
    assert answer.code == 2
    assert "Did you mean 'members'" in answer.err
    answer = bench("run", "quick", "--option", "members=five", "--strategy", "cpu", "--dry-run")
    assert answer.code == 2
    assert "is a number such as 3" in answer.err
    answer = bench("run", "quick", "--option", "members=5", "--strategy", "cpu", "--dry-run")
    assert answer.code == 0
