"""Whether claims are held, by the folders of their measurements. Derived on every reading, never stored."""

import fnmatch
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from tpuens.errors import ConfigurationError

from ..analysis.ratios import MIN_PAIRS, Interval, noise_floor, ratio_interval
from ..analysis.selftest_results import DONE_FILE, Done
from ..analysis.statistics import CONFIDENCE
from .claims import CLAIMS, Claim, Target
from .readings import describe_cautions, describe_machines

Verdict = Literal["held", "not held", "too close to call", "too few runs", "not measured"]


class Result(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What came of a claim.

    Attributes:
        group, name, title, unit: The claim's.
        target: In words.
        limit: The number that it promises.
        at_most: Whether the number is to lie below it.
        value: The geometric mean over pairs, processes or runs; None where nothing was measured.
        low, high: The 95 % interval; None where there is none.
        samples: How many there were, and of what, in words.
        machine: Where it was measured, in words; empty where no record says so.
        why: What stands behind the verdict, where it is not in the numbers.
    """

    group: str
    name: str
    title: str
    unit: str
    target: str
    limit: float
    at_most: bool
    value: float | None = None
    low: float | None = None
    high: float | None = None
    samples: str = ""
    machine: str = ""
    verdict: Verdict
    why: str = ""


def choose_claims(only: Sequence[str]) -> tuple[Claim, ...]:
    """Returns the claims whose group, or group and name, one of the patterns matches; all without patterns.

    Raises:
        ConfigurationError: A pattern matches none.
    """
    for pattern in only:
        if not any(_matches(claim, pattern) for claim in CLAIMS):
            raise ConfigurationError(
                "Expected a group, or GROUP/NAME with * for anything, such as input or 'step/*-timm'. "
                f"Groups: {', '.join(dict.fromkeys(claim.group for claim in CLAIMS))}. "
                f"Received: only={pattern!r}"
            )
    chosen = [claim for claim in CLAIMS if not only or any(_matches(claim, one) for one in only)]
    return tuple(chosen)


def needed_claims(claims: Sequence[Claim]) -> list[Claim]:
    """Returns the claims, and those that they are the median of."""
    members = {f"{claim.group}/{name}" for claim in claims for name in claim.median_of}
    return [claim for claim in CLAIMS if claim in claims or claim.key in members]


def judge_claims(claims: Sequence[Claim], folder: Path) -> list[Result]:
    """Returns what came of the claims.

    Args:
        claims: In the order of the results.
        folder: With a folder for each measurement.
    """
    values = {claim.key: _read(claim, folder / claim.measurement) for claim in needed_claims(claims)}
    return [
        _judge_median(claim, folder, values) if claim.median_of else _judge(claim, folder, values)
        for claim in claims
    ]


def decide(target: Target, value: float, low: float, high: float, floor: float = 0.0) -> Verdict:
    """Returns whether a number keeps to a target, by the ends of its interval.

    It is held where the whole interval lies on the right side of it, not held where the whole interval lies
    on the wrong side, and the number is further from it than the noise floor [METHOD of this project, 12].
    The target itself is kept to. What is to be refuted is held unless the whole interval lies on the wrong
    side.

    Args:
        target: What is promised.
        value: The number.
        low: Where its interval begins.
        high: Where it ends.
        floor: What noise alone makes of equal arms, as a share.
    """
    limit = target.limit
    right, wrong = (high <= limit, low > limit) if target.least is None else (low >= limit, high < limit)
    is_beyond = abs(math.log(value / limit)) >= math.log1p(floor)
    if wrong:
        return "not held" if is_beyond else "too close to call"
    return "held" if (right and is_beyond) or target.refuted else "too close to call"


def target_text(target: Target, unit: str) -> str:
    """Returns a target in words."""
    unit = "" if unit == "of 1" else f" {unit}"
    if target.refuted:
        return f"not below {target.least:g}{unit}"
    bound = (
        f"at least {target.least:g}{unit}" if target.least is not None else f"at most {target.most:g}{unit}"
    )
    return bound + (f" (aim {target.aim:g})" if target.aim is not None else "")


def _matches(claim: Claim, pattern: str) -> bool:
    return fnmatch.fnmatchcase(claim.key if "/" in pattern else claim.group, pattern)


def _read(claim: Claim, folder: Path) -> list[float]:
    return list(claim.read(folder)) if claim.measurement and folder.is_dir() else []


def _judge(claim: Claim, folder: Path, values: Mapping[str, Sequence[float]]) -> Result:
    numbers = values[claim.key]
    place = folder / claim.measurement
    said = "; ".join(filter(None, [_why_unfinished(place), describe_cautions(place)]))
    if not numbers:
        return _result(claim, verdict="not measured", why=said or "it was not run")
    interval = ratio_interval([math.log(number) for number in numbers])
    machine = describe_machines(place)
    found = {"samples": _count(len(numbers), claim.sample), "machine": machine}
    if claim.alone and interval is None:
        verdict = decide(claim.target, numbers[0], numbers[0], numbers[0])
        return _result(claim, value=numbers[0], verdict=verdict, why=said, **found)
    if interval is None:
        return _result(claim, value=numbers[0], verdict="too few runs", why=said, **found)
    is_enough = claim.alone or len(numbers) >= MIN_PAIRS  # [METHOD of this project, 8]
    floor = _find_floor(claim, folder, machine)
    return _from_interval(claim, interval, said, floor=floor, is_enough=is_enough, **found)


def _judge_median(claim: Claim, folder: Path, values: Mapping[str, Sequence[float]]) -> Result:
    """Returns what came of a median of other claims' numbers.

    Where each interval covers its truth, the median of the truths lies between the medians of the ends. The
    error is shared out among them (Bonferroni), so that they all do in 95 % of cases.
    """
    of = [values[f"{claim.group}/{name}"] for name in claim.median_of]
    confidence = 1 - (1 - CONFIDENCE) / len(of)
    intervals = [ratio_interval([math.log(one) for one in numbers], confidence) for numbers in of]
    known = [one for one in intervals if one is not None]
    if len(known) < len(of):
        return _result(claim, verdict="not measured", why=f"{len(known)} of {len(of)} have an interval")
    whole = Interval(
        ratio=statistics.median(one.ratio for one in known),
        low=statistics.median(one.low for one in known),
        high=statistics.median(one.high for one in known),
        confidence=CONFIDENCE,
        pairs=len(known),
    )
    few = [name for name, numbers in zip(claim.median_of, of, strict=True) if len(numbers) < MIN_PAIRS]
    said = f"too few of {', '.join(few)}" if few else ""
    floor, samples = _find_floor(claim, folder), _count(len(known), claim.sample)
    return _from_interval(claim, whole, said, floor=floor, is_enough=not few, samples=samples)


def _find_floor(claim: Claim, folder: Path, machine: str | None = None) -> float | None:
    """Returns what equal arms differ by, of the machine in question where one is; None: not measured."""
    place = folder / claim.floor
    if not claim.floor or not place.is_dir() or machine not in (None, describe_machines(place)):
        return None
    return noise_floor([math.log(number) for number in claim.read(place)])


def _from_interval(
    claim: Claim, interval: Interval, said: str, *, floor: float | None, is_enough: bool, **found: str
) -> Result:
    low, high, aim = interval.low, interval.high, claim.target.aim
    verdict = decide(claim.target, interval.ratio, low, high, floor or 0.0) if is_enough else "too few runs"
    noise = "no noise floor" if floor is None else f"noise floor {100 * floor:.1f} %"
    reached = "" if aim is None else f"aim {'reached' if low >= aim else 'not reached'}"
    said = "; ".join(filter(None, [said, noise if claim.floor else "", reached]))
    return _result(claim, value=interval.ratio, low=low, high=high, verdict=verdict, why=said, **found)


def _result(claim: Claim, *, verdict: Verdict, why: str, **numbers: object) -> Result:
    target = claim.target
    return Result(
        group=claim.group,
        name=claim.name,
        title=claim.title,
        unit=claim.unit,
        target=target_text(target, claim.unit),
        limit=target.limit,
        at_most=target.least is None,
        verdict=verdict,
        why=why,
        **numbers,  # type: ignore[arg-type]
    )


def _count(number: int, noun: str) -> str:
    plural = "es" if noun.endswith("s") else "s"
    return f"{number} {noun}{plural if number > 1 else ''}"


def _why_unfinished(folder: Path) -> str:
    """Returns what went wrong with a measurement, in words; empty where nothing did."""
    path = folder / DONE_FILE
    if not path.is_file():
        return "interrupted" if folder.is_dir() else ""
    return msgspec.json.decode(path.read_bytes(), type=Done).error or ""
