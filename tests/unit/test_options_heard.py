"""`compare` and `check` take no option in silence that would mean nothing, and refuse a bad one at once."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest
from typer.testing import CliRunner

import bench.commands.check
import bench.commands.compare
from bench.cli import app
from bench.records.record import Turns
from bench.records.store import write_record
from tpuens.errors import TpuensError

Call = Callable[..., str]


@pytest.fixture
def refusal(records: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Returns what calls a command that is to be refused, and returns the message: no device is looked for.

    There are two results folders, `old` and `new`, and the comparison `live`.
    """

    def look(*_: object) -> NoReturn:
        raise AssertionError("devices were looked for")

    def call(command: str, *arguments: str) -> str:
        answer = CliRunner().invoke(app, [command, *arguments])
        assert isinstance(answer.exception, TpuensError), answer.output
        assert answer.exception.exit_code == 2
        return str(answer.exception)

    monkeypatch.chdir(tmp_path)
    for module in (bench.commands.check, bench.commands.compare):
        monkeypatch.setattr(module, "find_strategies", look)
    for name in ("old", "new"):
        write_record(Path(name), records.record(series=(records.series(),)))
    for arm in ("A", "B"):
        turns = Turns(comparison="c", pair=0, arm=arm)  # type: ignore[arg-type]
        write_record(Path("live"), records.record(series=(records.series(),), turns=turns))
    return call


SETTINGS = [
    ("--batch-size", "8"),
    ("--backbone", "vgg16"),
    ("--image-size", "64"),
    ("--no-jit",),
    ("--option", "members=4"),
    ("--strategy", "cpu"),
    ("--env", "A=1"),
    ("--data-dir", "there"),
]
TO_RUN = [("--budget", "5m"), ("--time-limit", "3600"), ("--memory-limit", "8"), ("--results", "there")]


@pytest.mark.parametrize("given", SETTINGS + TO_RUN, ids=" ".join)
@pytest.mark.parametrize("arms", [("old", "new"), ("live",)], ids=" ".join)
def test_results_that_are_there_are_compared_without_options(
    refusal: Call, arms: tuple[str, ...], given: tuple[str, ...]
) -> None:
    message = refusal("compare", *arms, *given)
    assert f"Received: {given[0].replace('--no-', '--')}, for {arms[0]}" in message
    assert "leave the options out" in message


@pytest.mark.parametrize("given", [*SETTINGS, ("old",), ("--vary", "jit=off,on")], ids=" ".join)
def test_a_comparison_is_gone_on_with_as_it_was_asked_for(refusal: Call, given: tuple[str, ...]) -> None:
    message = refusal("compare", "--resume", "--results", "live", *given)
    assert f"Received: {given[0].replace('--no-', '--')}; results=live" in message
    assert "Leave out" in message


@pytest.mark.parametrize(
    ("vary", "given"),
    [
        ("batch-size=8,16", ("--batch-size", "4")),
        ("batch_size=8,16", ("--batch-size", "4")),
        ("jit=off,on", ("--no-jit",)),
        ("strategy=cpu,gpu", ("--strategy", "cpu")),
        ("env.A=1,2", ("--env", "A=3")),
    ],
    ids=str,
)
def test_what_is_varied_is_not_set_for_both_arms(refusal: Call, vary: str, given: tuple[str, ...]) -> None:
    assert "no value for both" in refusal("compare", "train-step", "--vary", vary, *given)


@pytest.mark.parametrize(
    "given", [*SETTINGS, ("--seeds", "3"), ("--repeats", "3"), ("--budget", "5m")], ids=" ".join
)
def test_records_that_are_there_are_checked_without_options_of_runs(
    refusal: Call, given: tuple[str, ...]
) -> None:
    message = refusal("check", "--results", "new", "--baseline", "old", *given)
    assert "checked as they are" in message
    assert message.endswith(given[0].replace("--no-", "--"))


@pytest.mark.parametrize(
    ("side", "given"),
    [(("--against", "HEAD"), ("--repeats", "2")), (("--baseline", "old"), ("--budget", "5m"))],
    ids=str,
)
def test_a_check_refuses_what_belongs_to_the_other_kind_of_baseline(
    refusal: Call, side: tuple[str, ...], given: tuple[str, ...]
) -> None:
    message = refusal("check", *side, *given)
    assert f"Leave out {given[0]}" in message


@pytest.mark.parametrize(
    "call",
    [
        ("compare", "train-step", "--vary", "jit=off,on", "--budget", "soon"),
        ("compare", "--resume", "--results", "nowhere", "--budget", "soon"),
        ("check", "--against", "HEAD", "--budget", "soon"),
        ("check", "--against", "HEAD", "--env", "soon"),
        ("check", "--baseline", "old", "--env", "soon"),
    ],
    ids=" ".join,
)
def test_what_cannot_be_read_is_refused_before_devices_are_looked_for(
    refusal: Call, call: tuple[str, ...]
) -> None:
    assert "soon" in refusal(*call)
