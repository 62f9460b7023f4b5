"""Sizes in octets, as they are typed: ``512M``, ``64K``, ``1048576``."""

import re

_UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}
_SIZE = re.compile(r"(\d{1,15})([KMGT]?)(?:i?B)?", re.IGNORECASE | re.ASCII)


def parse_size(text: str) -> int:
    """Read ``512M``, ``2G``, ``1048576``: octets, units of 1024.

    Raises:
        ValueError: It is none; says what one looks like.
    """
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError(f"{text}: expected a size such as 512M or 2G")
    return int(match[1]) * _UNITS[match[2].upper()]


def format_size(octets: int) -> str:
    """Write it as briefly as it can be read again."""
    fitting = [unit for unit in _UNITS if octets and octets % _UNITS[unit] == 0]
    unit = fitting[-1] if fitting else ""
    return f"{octets // _UNITS[unit]}{unit}"
