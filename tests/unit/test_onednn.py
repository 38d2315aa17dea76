"""Whether TensorFlow is told to use oneDNN."""

import os
import platform

import pytest

from tpuens.hardware.onednn import prefer_onednn

NAME = "TF_ENABLE_ONEDNN_OPTS"


@pytest.mark.parametrize(
    ("machine", "chosen", "found"),
    [("x86_64", None, "1"), ("AMD64", None, "1"), ("aarch64", None, None), ("x86_64", "0", "0")],
)
def test_onednn_is_on_for_x86_processors_unless_the_user_decides(
    monkeypatch: pytest.MonkeyPatch, machine: str, chosen: str | None, found: str | None
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(os, "environ", {} if chosen is None else {NAME: chosen})
    prefer_onednn()
    assert os.environ.get(NAME) == found
