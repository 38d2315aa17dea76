"""The real runs of a self-test: items that are resumed, and what is read from their folders."""

import random
from pathlib import Path

import msgspec
import pytest

from bench.analysis.rates import Rate
from bench.analysis.selftest_results import DONE_FILE, STOPWATCH_SCENARIOS, Done, read_real_runs
from bench.commands import selftest as command
from bench.execution.items import Item, is_done, run_items
from bench.execution.selftest_items import make_items
from bench.records.record import Metric, Series, Turns
from bench.records.store import write_record
from tpuens.errors import ConfigurationError, InterruptedRunError, RunError


class Folder:
    """Builds the folders that items leave behind."""

    def __init__(self, folder: Path, records) -> None:
        self.path, self._records, self._chance = folder, records, random.Random(5)

    def finish(self, name: str, error: str | None = None) -> None:
        (self.path / name).mkdir(parents=True, exist_ok=True)
        (self.path / name / DONE_FILE).write_bytes(msgspec.json.encode(Done(seconds=1.0, error=error)))

    def compare(self, name: str, *, wall: float = 1.0, cpu: float = 1.0, planted: str | None = None) -> None:
        for pair in range(8):
            for arm, times in (("A", (1.0, 1.0)), ("B", (wall, cpu))):
                seconds = [round(0.25 * one * self._chance.gauss(1, 0.005), 6) for one in times]
                series = Series(
                    name="compute",
                    fence="block",
                    steps=(10,),
                    examples=(160,),
                    seconds=(seconds[0],),
                    cpu_seconds=(seconds[1],),
                )
                record = self._records.record(
                    configuration={"strategy": "cpu", "planted": planted if arm == "B" else None},
                    series=(series,),
                    turns=Turns(comparison=name, pair=pair, arm=arm),
                )
                write_record(self.path / name, record)
        self.finish(name)

    def time(self, scenario: str, stopwatch: float, trace: float = 1.0) -> None:
        folder = self.path / f"stopwatch-{scenario}"
        folder.mkdir(parents=True)
        for process in range(6):
            seconds = 0.25 * self._chance.gauss(1, 0.002)
            factors = {"instrument": 1.0, "stopwatch": stopwatch, "traced": 1.0, "trace": trace}
            all_of_them = {
                name: self._records.series(steps=(1,), examples=(1,), seconds=(seconds * factor,))
                for name, factor in factors.items()
            }
            (folder / f"process-{process}.json").write_bytes(msgspec.json.encode(all_of_them))
        self.finish(folder.name)

    def train(self, name: str, *accuracies: float, seed: int = 0, planted: str | None = None) -> None:
        metrics = [
            Metric(name="top_1_accuracy", value=value + self._chance.gauss(0, 0.002), parameters=where)
            for one in range(seed, seed + 5)
            for value, where in zip(
                accuracies,
                (
                    {"seed": one, "of": "member", "member": 0},
                    {"seed": one, "of": "member", "member": 1},
                    {"seed": one, "of": "ensemble"},
                ),
                strict=True,
            )
        ]
        record = self._records.record(
            "ensemble-accuracy", configuration={"planted": planted}, metrics=tuple(metrics)
        )
        write_record(self.path / name, record)
        self.finish(name)


@pytest.fixture
def folder(tmp_path, records) -> Folder:
    return Folder(tmp_path, records)


def rate(rates: tuple[Rate, ...], title: str) -> Rate:
    return next(one for one in rates if one.title.startswith(title))


def test_real_comparisons_become_rates_of_alarms_and_finds(folder):
    folder.compare("calibration")
    for number in range(3):
        folder.compare(f"equal-work-{number}")
    folder.compare("equal-sleep-0", wall=1.1, cpu=1.1)  # a false alarm
    folder.compare("work-00", wall=1.1, cpu=1.1, planted="work:0.10")
    folder.compare("sleep-00", wall=1.1, planted="sleep:0.10")
    folder.compare("sleep-01", planted="sleep:0.10")  # a miss
    real = read_real_runs(folder.path)
    hits = {one.title: (one.hits, one.trials) for one in real.rates}
    assert hits == {
        "equal arms told apart": (1, 4),
        "equal arms, and the gate on speed breaks": (1, 4),
        "planted work of 10 %, called slower": (1, 1),
        "planted work of 10 %, the gate breaks": (1, 1),
        "planted sleep of 10 %, called slower": (1, 2),
        "planted sleep of 10 %, the gate breaks": (1, 2),
    }
    assert all(one.held_by == "one bound" for one in real.rates)
    (machine,) = real.findings
    assert "comparisons had 8 pairs" in machine.text


def test_what_is_not_done_is_missing_and_a_failure_is_a_finding(folder):
    folder.finish("work-00", error="out of memory")
    folder.compare("calibration")
    real = read_real_runs(folder.path)
    assert [(one.title, one.holds, one.text) for one in real.findings] == [
        ("work-00", False, "out of memory")
    ]
    assert "accuracy over seeds" in real.missing
    assert real.missing[0] == "40 of 40 comparisons of real runs"
    assert len(real.missing) == 3 + len(STOPWATCH_SCENARIOS)


@pytest.mark.parametrize(("factor", "holds"), [(1.0, True), (1.02, True), (1.05, False), (0.95, False)])
def test_stopwatch_and_trace_must_agree_within_3_percent(folder, factor, holds):
    folder.time("inference", factor)
    folder.time("train-step", 1.0, trace=factor)
    found = {one.title: one.holds for one in read_real_runs(folder.path).findings}
    assert found == {
        "stopwatch beside inference": holds,
        "trace beside inference": True,
        "stopwatch beside train-step": True,
        "trace beside train-step": holds,
    }


def test_other_seeds_keep_quiet_and_a_spoilt_member_does_not(folder):
    folder.train("members", 0.95, 0.95, 0.97)
    folder.train("members-other-seeds", 0.95, 0.95, 0.97, seed=100)
    folder.train("members-spoilt", 0.1, 0.95, 0.93, seed=200, planted="spoilt-member")
    quiet, spoilt = read_real_runs(folder.path).findings
    assert quiet.holds
    assert quiet.text.endswith("broken: none")
    assert spoilt.holds
    assert "member 0" in spoilt.text
    assert "ensemble" in spoilt.text


def test_a_spoilt_member_that_goes_unnoticed_fails(folder):
    folder.train("members", 0.95, 0.95, 0.97)
    folder.train("members-other-seeds", 0.90, 0.95, 0.97, seed=100)
    folder.train("members-spoilt", 0.95, 0.95, 0.97, seed=200, planted="spoilt-member")
    assert [one.holds for one in read_real_runs(folder.path).findings] == [False, False]


def test_items_that_are_done_are_not_run_again_and_those_that_failed_are(tmp_path):
    ran: list[str] = []

    def item(name: str, error: Exception | None = None) -> Item:
        def run(folder: Path) -> None:
            ran.append(name)
            if error:
                raise error

        return Item(name=name, seconds=60.0, run=run)

    told: list[str] = []
    run_items([item("a"), item("b", RunError("no")), item("c")], tmp_path, tell=told.append)
    assert ran == ["a", "b", "c"]
    assert told == [
        "1/3 a, about 3 minutes left",
        "2/3 b, about 2 minutes left",
        "b failed: no",
        "3/3 c, about 1 minutes left",
    ]
    assert [is_done(tmp_path / name) for name in "abc"] == [True, False, True]
    with pytest.raises(InterruptedRunError):
        run_items([item("a"), item("b", InterruptedRunError("stop")), item("d")], tmp_path, tell=told.append)
    assert ran == ["a", "b", "c", "b"]
    assert not is_done(tmp_path / "b")


def test_there_are_20_comparisons_of_equal_arms_and_20_of_unlike_ones():
    names = [item.name for item in make_items()]
    counts = [sum(name.startswith(kind) for name in names) for kind in ("equal-", "work-", "sleep-")]
    assert counts == [20, 10, 10]
    assert len(names) == len(set(names)) == 49


def test_a_folder_with_real_runs_is_only_gone_on_with_when_asked(tmp_path):
    (tmp_path / "items").mkdir()
    with pytest.raises(ConfigurationError, match="--resume"):
        command.selftest(results=tmp_path)


def test_a_stopped_self_test_says_how_to_go_on(tmp_path, monkeypatch):
    def stop(items, folder, *, tell):
        raise InterruptedRunError("Stopped. The complete pairs are kept.")

    monkeypatch.setattr("bench.execution.items.run_items", stop)
    monkeypatch.setattr("bench.analysis.simulation.simulate", lambda on_rate: [])
    with pytest.raises(InterruptedRunError, match=r"tpuens-bench selftest --resume --results "):
        command.selftest(results=tmp_path / "out")
