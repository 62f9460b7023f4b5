"""Query strings and urlencoded forms as values.

May import: nothing of blazeio. Pure.
"""

from urllib.parse import parse_qsl

FIELD_COUNT = 1000
"""Most fields in one form: the limit of PHP and Django, against dictionaries
that are made to be slow."""


class Params(dict[str, str]):
    """The fields of a form or query string, by name.

    Of a repeated field this is the last value, as in most frameworks: a client
    that repeats one cannot turn a str into a list under a handler's hands.
    ``get_all`` gives every value.
    """

    __slots__ = ("_pairs",)

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        super().__init__(pairs)
        self._pairs = pairs

    def get_all(self, name: str) -> list[str]:
        """Every value of a field, in order; [] when there is none."""
        return [value for key, value in self._pairs if key == name]


def parse_urlencoded(text: str) -> Params:
    """Parse ``a=1&b=2``, as HTML forms and query strings write it.

    Fields without a value are kept as ""; octets that are not UTF-8 become
    U+FFFD.

    Raises:
        ValueError: More than ``FIELD_COUNT`` fields. The peer's fault.
    """
    if not text:
        return Params([])
    pairs = parse_qsl(
        text, keep_blank_values=True, errors="replace", max_num_fields=FIELD_COUNT
    )
    return Params(pairs)
