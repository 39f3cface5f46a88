"""Numbers for people: three digits and a unit."""

__all__ = ["compact", "nbytes"]

UNITS = ("", "k", "M", "G", "T", "P")


def compact(number: float) -> str:
    """A count in at most five characters: `0`, `512`, `4.29G`."""
    unit = 0
    while abs(number) >= 999.5 and unit < len(UNITS) - 1:
        number, unit = number / 1000, unit + 1
    digits = 0 if not unit or abs(number) >= 99.95 else 1 if abs(number) >= 9.995 else 2
    return f"{number:.{digits}f}{UNITS[unit]}"


def nbytes(number: float) -> str:
    """Bytes: `16.8 MB`."""
    text = compact(number)
    return f"{text[:-1]} {text[-1]}B" if text[-1] in UNITS[1:] else f"{text} B"
