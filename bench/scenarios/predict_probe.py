"""The probe of scenarios that time predictions."""

from collections.abc import Sequence
from typing import Any

from tpuens.training.step import PredictStep

from ..measuring.timing import Probe, Sample
from ..records.record import Parameter


def make_predict_probe(
    members: Sequence[PredictStep],
    images: Any,
    *,
    examples_per_step: int,
    sample: Sample,
    parameters: dict[str, Parameter],
) -> Probe:
    """Returns a probe that runs every member on the images, one after another.

    Its series is named after what the sample is for: "throughput" or "latency". Reading the probabilities
    of its last step is the fence: devices work in order.
    """
    pending: list[Any] = []

    def step() -> None:
        pending[:] = [member.run(images) for member in members]

    def fence() -> None:
        for member, outputs in zip(members, pending, strict=False):
            member.collect(outputs)

    return Probe(
        name="throughput" if sample == "block" else "latency",
        step=step,
        fence=fence,
        examples_per_step=examples_per_step,
        sample=sample,
        parameters=parameters,
    )
