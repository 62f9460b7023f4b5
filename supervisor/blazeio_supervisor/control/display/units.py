"""Numbers as a person reads them."""

_KIB, _MIB, _GIB = 1024, 1024**2, 1024**3


def format_span(seconds: float) -> str:
    """Write a span with its two largest units: ``2 h 3 min``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = int(seconds) // 60
    if minutes < 60:
        return f"{minutes} min"
    hours = minutes // 60
    return f"{hours // 24} d {hours % 24} h" if hours >= 24 else _hours(minutes)


def _hours(minutes: int) -> str:
    return f"{minutes // 60} h {minutes % 60} m"


def format_bytes(count: int | None) -> str:
    """Write a size with three digits; None: a dash."""
    if count is None:
        return "-"
    if count < _MIB:
        return f"{count / _KIB:.0f} KiB"
    if count < _GIB:
        return f"{count / _MIB:.1f} MiB"
    return f"{count / _GIB:.2f} GiB"
