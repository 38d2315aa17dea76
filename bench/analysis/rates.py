"""What a self-test found: rates with exact bounds and what they must keep to, and single findings."""

from typing import Literal

import msgspec

from .ratios import exact_bounds


class Rate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How often something happened in independent trials.

    Attributes:
        group: What kind of rate, such as "coverage"; rates of a group stand together.
        title: Under which circumstances.
        hits, trials: How often it happened, and of how many times.
        at_least, at_most: What is promised; both None where the rate is only told.
        held_by: What must keep the promise. "rate": the rate itself. "bounds": both of its exact bounds, so
            that the promise is proved. "one bound": either of them, so that so few trials do not refute it.
    """

    group: str
    title: str
    hits: int
    trials: int
    at_least: float | None = None
    at_most: float | None = None
    held_by: Literal["rate", "bounds", "one bound"] = "bounds"

    @property
    def rate(self) -> float:
        """The share of hits."""
        return self.hits / self.trials

    @property
    def bounds(self) -> tuple[float, float]:
        """The exact bounds of the rate, at 95 %."""
        return exact_bounds(self.hits, self.trials)

    @property
    def holds(self) -> bool | None:
        """Whether the promise is kept; None where none was given."""
        if self.at_least is None and self.at_most is None:
            return None
        low, high = self.bounds
        if self.held_by == "rate":
            low = high = self.rate
        elif self.held_by == "one bound":
            low, high = high, low
        return (self.at_least is None or low >= self.at_least) and (
            self.at_most is None or high <= self.at_most
        )


class Finding(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something that a self-test looked at once, and that is as promised or not."""

    title: str
    holds: bool
    text: str
