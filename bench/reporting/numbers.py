"""Numbers and foreign text as people can read them."""

import math


def format_number(value: float, digits: int = 3) -> str:
    """Returns a number with so many significant digits, thousands set apart: 1,230 or 0.0456."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    rounded = float(f"{value:.{digits}g}")
    if abs(rounded) < 1e-4:
        return f"{value:.{digits - 1}e}"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(rounded))))
    return f"{rounded:,.{decimals}f}"


def format_percent(share: float) -> str:
    """Returns a share of one in per cent with one decimal, two below 1 %."""
    percent = 100 * share
    return f"{percent:.1f} %" if abs(percent) >= 1 or percent == 0 else f"{percent:.2f} %"


def plain(text: str) -> str:
    """Returns text from a record on one line, without control characters that a terminal would obey."""
    return "".join(character if character.isprintable() else " " for character in text)
