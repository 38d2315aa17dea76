"""The self-test on simulated step times, with few cases; its rates, its page and its exit code."""

from itertools import islice
from pathlib import Path

import msgspec
import numpy as np
import pytest

from bench.analysis import cost_checks, simulation
from bench.analysis.gate_simulation import simulate_gates
from bench.analysis.noise import REFERENCE, fit_noise
from bench.analysis.rates import Rate
from bench.analysis.ratios import ratio_interval
from bench.analysis.simulation import simulate
from bench.commands import selftest as command
from bench.records.store import read_folder
from bench.reporting.selftest_page import Finding, SelfTest, format_selftest, write_selftest
from tpuens.errors import RunError

RESULTS = Path(__file__).resolve().parents[2] / "results"


@pytest.fixture(scope="module")
def rates() -> list[Rate]:
    return simulate(cases=60, seed=1)


def of(rates: list[Rate], group: str) -> list[Rate]:
    return [rate for rate in rates if rate.group == group]


def make_rate(hits: int, **fields) -> Rate:
    return Rate(group="found", title="a case", hits=hits, trials=20, **fields)


def test_the_noise_that_is_simulated_is_that_of_the_reference_records():
    folders = [RESULTS / "reference" / name for name in ("quick", "standard")]
    found = fit_noise(record for folder in folders for record in read_folder(folder))
    for name in REFERENCE.__dataclass_fields__:
        assert getattr(found, name) == pytest.approx(getattr(REFERENCE, name), rel=0.05), name


def test_simulated_intervals_cover_the_truth(rates):
    coverage = of(rates, "coverage")
    assert len(coverage) == 10
    pooled = sum(rate.hits for rate in coverage) / sum(rate.trials for rate in coverage)
    assert 0.93 <= pooled <= 0.97


def test_equal_arms_are_seldom_told_apart(rates):
    assert all(rate.rate <= 0.1 for rate in of(rates, "false alarms"))


def test_planted_slowdowns_are_found_by_work_and_by_sleep_on_every_machine(rates):
    found = of(rates, "found")
    assert len(found) == 16
    assert all(rate.rate >= (rate.at_least or 0) - 0.1 for rate in found)


def test_blocks_of_one_pair_are_no_pairs_and_separate_runs_drift(rates):
    limits = {rate.title: rate.rate for rate in of(rates, "limits")}
    assert limits["blocks of one pair of processes taken for pairs"] < 0.8
    assert limits["all runs of A before all of B, while the machine drifts"] < 0.6


def test_an_interval_that_is_too_narrow_fails_the_self_test(monkeypatch):
    monkeypatch.setattr(simulation, "ratio_interval", lambda logs: ratio_interval(logs, 0.8))
    narrow = list(simulation._coverage(np.random.default_rng(0), 100))
    assert not any(rate.holds for rate in narrow)


def test_a_gate_that_sees_nothing_fails_the_self_test(monkeypatch):
    real = simulation.judge
    monkeypatch.setattr(simulation, "judge", lambda wall, cpu, floor: real(None, None, floor=floor))
    assert not any(rate.holds for rate in of(simulate(cases=12), "found"))


def test_the_other_gates_are_quiet_hold_nothing_that_is_lost_and_find_what_is(rates):
    found = of(rates, "other gates")
    assert len(found) == 45
    assert {rate.title.split(",")[0].split()[0] for rate in found} == {
        "stored", "first", "memory", "agreement", "accuracy",
    }  # fmt: skip
    for rate in found:
        assert (rate.at_least or 0) - 0.1 <= rate.rate <= (rate.at_most or 1) + 0.15, rate.title


def test_a_gate_that_forgets_what_days_do_fails_the_self_test(monkeypatch):
    """As it was once: an interval over runs alone held 12 % of losses that passed the threshold."""
    monkeypatch.setattr(cost_checks, "ASSUMED_DAYS_FLOOR", 0.0)
    rates = islice(simulate_gates(np.random.default_rng(0), 600), 2)
    assert [rate.holds for rate in rates] == [False, False]


def test_the_same_seed_gives_the_same_rates():
    assert simulate(cases=6, seed=3) == simulate(cases=6, seed=3) != simulate(cases=6, seed=4)


@pytest.mark.parametrize(
    ("rate", "holds"),
    [
        (make_rate(20), None),
        (make_rate(20, at_least=0.95), False),  # 20 of 20 prove 83 % only
        (make_rate(20, at_least=0.8), True),
        (make_rate(20, at_least=0.95, held_by="one bound"), True),
        (make_rate(15, at_least=0.95, held_by="one bound"), False),
        (make_rate(19, at_least=0.95, held_by="rate"), True),
        (make_rate(0, at_most=0.05), False),
        (make_rate(0, at_most=0.05, held_by="one bound"), True),
        (make_rate(4, at_most=0.05, held_by="one bound"), False),
    ],
)
def test_a_promise_is_kept_by_the_bounds_that_were_named(rate, holds):
    assert rate.holds is holds


def test_the_page_says_what_failed_and_what_is_missing(tmp_path):
    result = SelfTest(
        created="2026-11-25T00:00:00Z",
        versions={"python": "3.11"},
        rates=(make_rate(3, at_least=0.95), make_rate(20)),
        findings=(Finding(title="a missing fence", holds=True, text="refused"),),
        missing=("real runs",),
    )
    path = write_selftest(tmp_path, result)
    text = path.read_text()
    assert text == format_selftest(result)
    assert "**FAILED**" in text
    assert "| a case | 15.0 % | 20 | 3.2 % to 37.9 % | at least 95 % | **NO** |" in text
    assert "Not in here: real runs." in text
    assert "| a missing fence | yes | refused |" in text
    assert msgspec.json.decode((tmp_path / "selftest.json").read_bytes(), type=SelfTest) == result
    assert (tmp_path / "selftest.svg").read_text().startswith("<svg")


def test_a_broken_promise_is_an_exit_code_of_1(tmp_path, monkeypatch):
    kept, broken = make_rate(20, at_least=0.8), make_rate(3, at_least=0.8)
    monkeypatch.setattr(simulation, "simulate", lambda on_rate: [kept])
    command.selftest(simulated_only=True, results=tmp_path)
    monkeypatch.setattr(simulation, "simulate", lambda on_rate: [kept, broken])
    with pytest.raises(RunError, match="promise") as caught:
        command.selftest(simulated_only=True, results=tmp_path)
    assert caught.value.exit_code == 1
    assert "**FAILED**" in (tmp_path / "selftest.md").read_text()
