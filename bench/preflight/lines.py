"""A line of preflight's report: what the compiler said of a step on a device, and what is modelled of it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from ..analysis.economics import Prices
from ..records.record import RunRecord
from .fitting import MOST_COMPILES, MOST_EXAMPLES, bracket, is_known
from .modelling import Model, check_models, model_step
from .results import LABEL, PreflightResult
from .targets import TARGETS

_GIB = 2**30


@dataclass(frozen=True, kw_only=True)
class Line:
    """A result with what is modelled of it.

    Attributes:
        result: The compiler's answers.
        model: Of the batch that was asked for; None where nothing was counted.
        at_largest: Of the largest batch found to fit; None where none was looked for.
    """

    result: PreflightResult
    model: Model | None
    at_largest: Model | None = None

    @property
    def name(self) -> str:
        """Returns the network and the device, for a sentence."""
        return f"{self.result.backbone}@{self.result.image_size} for {self.result.target}"

    @property
    def bracket(self) -> tuple[int, int | None]:
        """Returns the largest batch that fits, 0 for none, and the smallest that does not, None for none."""
        return bracket(self.result.said)

    @property
    def searched(self) -> bool:
        """Returns whether the search for the largest batch came to its end."""
        fits, too_large = self.bracket
        ended = len(self.result.said) >= MOST_COMPILES or (too_large is None and fits >= MOST_EXAMPLES)
        return ended or is_known(self.result.said)

    @property
    def largest(self) -> str:
        """Returns the largest batch found to fit, and the smallest found that does not; empty: not known."""
        fits, too_large = self.bracket
        if too_large is None and not self.searched:
            return ""
        if too_large and not fits:
            return f"under {too_large:,}" if too_large > 1 else "none: not even 1"
        words = f"{fits:,}" if is_known(self.result.said) else f"{fits:,} or more"
        return f"{words} (not {too_large:,})" if too_large else words

    @property
    def verdict(self) -> str:
        """Returns whether it compiles and fits, in a word or two."""
        first = self.result.first
        if first is None:
            return "failed" if self.result.reason else "not compiled"
        return {"ok": "yes", "too large": "too large"}.get(first.status, first.status)

    @property
    def memory(self) -> str:
        """Returns the peak of the batch that was asked for against what the compiler allows, in GiB."""
        first = self.result.first
        size = first and (first.memory.peak if first.memory else first.needed_bytes)
        if not size or self.result.target not in TARGETS:
            return ""
        allowed = TARGETS[self.result.target].memory_bytes
        return f"{size / _GIB:.2f} of {allowed / _GIB:.2f} ({size / allowed:.0%})"


def make_lines(results: Iterable[PreflightResult], prices: Prices) -> list[Line]:
    """Returns each result with what is modelled of it, network by network."""
    places = {name: number for number, name in enumerate(TARGETS)}
    ordered = sorted(results, key=lambda one: (one.backbone, one.image_size, places.get(one.target, -1)))
    return [_make_line(one, prices) for one in ordered]


def _make_line(result: PreflightResult, prices: Prices) -> Line:
    models = {
        one.batch_size: model_step(one.compiled, one.batch_size, result, prices) for one in result.attempts
    }
    line = Line(result=result, model=models.get(result.batch_size))
    return replace(line, at_largest=models.get(line.bracket[0])) if line.searched else line


def line_facts(line: Line, records: Sequence[RunRecord] = ()) -> dict[str, Any]:
    """Returns a line as JSON can hold it; everything that is modelled stands under that name."""
    fits, too_large = line.bracket
    return {
        "label": LABEL,
        "result": msgspec.to_builtins(line.result),
        "compiles": line.verdict,
        "largest_batch_that_fits": fits or None,
        "smallest_batch_that_does_not": too_large,
        "searched_to_the_end": line.searched,
        "modelled": line.model and _model_facts(line.model),
        "modelled_at_largest_batch": line.at_largest and _model_facts(line.at_largest),
        "beside_measured": [
            {
                "modelled": check.modelled,
                "measured": check.measured,
                "ratio": check.ratio,
                "source": check.source,
            }
            for check in check_models([(line.result, line.model)], records)
        ],
    }


def _model_facts(model: Model) -> dict[str, Any]:
    return {
        "flops_per_example": model.flops_per_example,
        "compute_seconds": model.compute_seconds,
        "memory_seconds": model.memory_seconds,
        "exchange_seconds": model.exchange_seconds,
        "bound": model.bound,
        "examples_per_second": model.examples_per_second,
        "examples_per_second_of_a_chip": model.chip_examples_per_second,
        "at_most_by_arithmetic_alone": model.most_chip_examples_per_second,
        "dollars_per_million_examples": model.dollars_per_million,
        "price": model.chip_tariff.origin if model.chip_tariff else None,
    }
