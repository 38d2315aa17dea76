"""Impossible numbers, planted into the records of real runs to see what becomes of them.

A CPU waits for its own work, so that a missing fence shows in the fence alone. What an accelerator would make
of it, times that are too short, is planted into the record.
"""

from collections.abc import Iterator, Sequence

import msgspec

from ..records.record import RunRecord, Series
from .rates import Finding
from .roofline import Verdict, fence_failure, plausibility


def judge_planted(honest: RunRecord, fenceless: RunRecord) -> Iterator[Finding]:
    """Yields whether impossible numbers are refused, and real ones not.

    Args:
        honest: A run as it was.
        fenceless: Another one, with a fence that returns at once.
    """
    mfu, other = plausibility(honest).mfu, plausibility(fenceless).mfu
    if mfu is None or other is None:
        text = "no FLOPs were counted, or no peak was measured"
        yield Finding(title="impossible numbers", holds=False, text=text)
        return
    yield _expect("possible", honest, f"a run as it is, at {mfu:.0%} of the peak")
    failure = fence_failure(fenceless)
    yield Finding(
        title="a missing fence, planted in a run: noticed",
        holds=failure is not None and fence_failure(honest) is None,
        text=failure or "it passed for a fence",
    )
    yield _expect("flagged", _hurry(honest, mfu, 1.5), "that run at 150 % of the peak, with its fence")
    yield _expect("refused", _hurry(fenceless, other, 1.5), "at 150 % of the peak, without a fence")
    yield _expect("refused", _hurry(honest, mfu, 3.0), "at 300 % of the peak")
    halved: tuple[tuple[float, Verdict], ...] = ((0.6, "flagged"), (1.2, "refused"))
    for share, verdict in halved:
        run = _lower_peak(_hurry(honest, mfu, share), 2.0)
        yield _expect(verdict, run, f"at {share:.0%} of the peak, and the peak halved")


def _expect(verdict: Verdict, record: RunRecord, title: str) -> Finding:
    found = plausibility(record)
    text = f"{found.verdict}. {found.why}".strip()
    return Finding(title=f"{title}: {verdict}", holds=found.verdict == verdict, text=text)


def _hurry(record: RunRecord, mfu: float, target: float) -> RunRecord:
    """Returns the record with times so short that the run reaches the target in place of its own share."""
    return msgspec.structs.replace(record, series=_stretch(record.series, mfu / target))


def _lower_peak(record: RunRecord, times: float) -> RunRecord:
    return msgspec.structs.replace(record, references=_stretch(record.references, times))


def _stretch(series: Sequence[Series], factor: float) -> tuple[Series, ...]:
    return tuple(
        msgspec.structs.replace(one, seconds=tuple(factor * seconds for seconds in one.seconds))
        for one in series
    )
