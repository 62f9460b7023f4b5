"""A text that would like to be more than a text."""

HOSTILE = (
    "a\x1b]0;pwned\x07\x1b[2J\x9b31m\x85\x00\x7f\x08"
    "\r\n2026-01-01T00:00:00.000+0000 ERROR   event=forged slot=0: x"
    "\nevent=forged pid=1: x\r== slot 7, pid 1, generation 1, serving"
    "\n== slot 7, pid 1, generation 1, serving\u2028event=forged\u2029"
    "\u202aleft\u202e\u2066\u2069\u200e\u200f\u061c\ufeff\U000e0041\udcff\ud800 end"
)
"""What a terminal obeys, what ends a line, what turns text around, what is not text."""

OBEYED = frozenset(
    [
        *map(chr, range(0x20)),
        *map(chr, range(0x7F, 0xA0)),
        *"\u061c\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\ufeff\U000e0041",
        *"\u2066\u2067\u2068\u2069",
    ]
) - {"\n"}
FORGED = ("2026-01-01", "event=forged", "== slot 7")


def assert_harmless(octets: bytes, *, lines: bool = True) -> None:
    """Whoever shows these octets sees them, and no line of them is another's.

    Args:
        octets: What was written.
        lines: False: it is one line, without its end.
    """
    text = octets.decode("utf-8")  # surrogates would not be UTF-8
    assert OBEYED.isdisjoint(text), [each for each in text if each in OBEYED]
    assert lines or "\n" not in text
    for line in text.split("\n"):
        assert not line.lstrip("<0123456789>").startswith(FORGED), line
