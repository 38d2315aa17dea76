"""Commands called in the tests' own process."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tpuens.cli import main


@pytest.fixture
def refusal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., str]:
    """Calls a command that is refused before it opens a strategy, and returns its message.

    It stays in this process: starting TensorFlow in another one takes seconds.
    """

    def call_here(*arguments: str) -> str:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["tpuens", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 2
        return capsys.readouterr().err

    return call_here
