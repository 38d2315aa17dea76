"""Impossible numbers planted into records: what the self-test must see refused."""

import pytest

from bench.analysis import impossible
from bench.analysis.impossible import judge_planted
from bench.analysis.roofline import Plausibility
from bench.records.record import Flops, RunRecord


@pytest.fixture
def run(records):
    """Returns a training step that reaches half of what a matrix product of the same run does."""

    def make(fence_seconds: float = 2e-4, *, counted: bool = True) -> RunRecord:
        product = records.series(
            "matmul", parameters={"n": 1000, "device": "cpu"}, steps=(20,), examples=(0,), seconds=(0.1,)
        )
        flops = Flops(per_example=1e9, of="training step", method="hlo-cost-analysis")
        return records.record(
            configuration={"strategy": "cpu"},
            series=(records.series(),),
            references=(product,),
            fence_seconds=(fence_seconds,) * 20,
            flops=flops if counted else None,
        )

    return make


def test_impossible_numbers_are_refused_and_real_ones_are_not(run):
    findings = list(judge_planted(run(), run(1e-7)))
    assert len(findings) == 7
    assert all(one.holds for one in findings), [one for one in findings if not one.holds]
    assert "at 50% of the peak" in findings[0].title


def test_a_fence_that_is_not_missing_is_found_out(run):
    failed = [one.title for one in judge_planted(run(), run()) if not one.holds]
    assert failed == [
        "a missing fence, planted in a run: noticed",
        "at 150 % of the peak, without a fence: refused",
    ]


def test_a_check_that_lets_everything_pass_fails(run, monkeypatch):
    passes = Plausibility(verdict="possible", why="", mfu=0.5)
    monkeypatch.setattr(impossible, "plausibility", lambda record: passes)
    assert sum(one.holds for one in judge_planted(run(), run(1e-7))) == 2


def test_without_flops_nothing_can_be_refused_and_that_fails(run):
    (finding,) = judge_planted(run(counted=False), run(counted=False))
    assert not finding.holds
