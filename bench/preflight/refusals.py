"""What a compiler's refusal says: that a program is too large, by how much, or something else."""

import re

from .messages import Compiled

# The compiler's two ways to say it: of a program, and of a single step of it that is too large by itself.
_USED = (
    re.compile(r"Used ([\d.]+)([KMGT]?) of ([\d.]+)([KMGT]?) hbm"),
    re.compile(r"\(([\d.]+)([KMGT]?)\) exceeds available HBM \(([\d.]+)([KMGT]?)\)"),
)
_POWERS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}
_LIMIT = 2000  # characters; what comes after is a list of the largest allocations


def read_refusal(message: str) -> Compiled:
    """Returns what a compiler's error means; the message is kept, its start at least."""
    short = message.strip()[:_LIMIT]
    found = next((match for pattern in _USED if (match := pattern.search(message))), None)
    if found or ("RESOURCE_EXHAUSTED" in message and "hbm" in message.lower()):
        return Compiled(
            status="too large",
            message=short,
            needed_bytes=_bytes(found[1], found[2]) if found else None,
            allowed_bytes=_bytes(found[3], found[4]) if found else None,
        )
    return Compiled(status="refused", message=short)


def _bytes(number: str, unit: str) -> int:
    return int(float(number) * 1024.0 ** _POWERS[unit])
