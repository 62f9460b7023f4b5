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


def format_count(count: float) -> str:
    """Write a count in at most six characters: ``99999``, ``120k``, ``3.1M``."""
    if count < 100_000:
        return f"{count:.0f}"
    if count < 1_000_000:
        return f"{count / 1000:.0f}k"
    if count < 1_000_000_000:
        return f"{count / 1e6:.1f}M"
    return f"{count / 1e9:.1f}G"


def format_rate(rate: float) -> str:
    """Write events a second: with a decimal below ten."""
    return f"{rate:.1f}" if 0 < rate < 10 else format_count(rate)


def format_ms(seconds: float) -> str:
    """Write a short span: ``0.4 ms``, ``120 ms``, ``2.0 s``."""
    if seconds >= 1:
        return f"{seconds:.1f} s"
    return f"{seconds * 1000:.1f} ms" if seconds < 0.01 else f"{seconds * 1000:.0f} ms"
