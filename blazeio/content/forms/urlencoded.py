"""Query strings and urlencoded forms as values.

May import: nothing of blazeio. Pure.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from urllib.parse import parse_qsl, urlencode

FormValue = str | bytes | int | float
FormInput = (
    Mapping[str, "FormValue | Sequence[FormValue]"]
    | Iterable[tuple[str, "FormValue | Sequence[FormValue]"]]
)
"""The fields of a form as a caller writes them; a sequence repeats the field."""


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

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """All fields in their order, repeated ones kept; a copy."""
        return self._pairs.copy()

    def get_all(self, name: str) -> list[str]:
        """Every value of a field, in order; [] when there is none."""
        return [value for key, value in self._pairs if key == name]

    def add(self, name: str, value: str) -> None:
        """Add a field behind the others."""
        self._pairs.append((name, value))
        self[name] = value


def parse_urlencoded(text: str, field_count: int) -> Params:
    """Parse ``a=1&b=2``, as HTML forms and query strings write it.

    Fields without a value are kept as ""; octets that are not UTF-8 become
    U+FFFD.

    Args:
        text: Without a leading "?".
        field_count: Most fields.

    Raises:
        ValueError: There are more. The peer's fault.
    """
    if not text:
        return Params([])
    pairs = parse_qsl(
        text, keep_blank_values=True, errors="replace", max_num_fields=field_count
    )
    return Params(pairs)


def iterate_fields(form: FormInput) -> Iterator[tuple[str, FormValue]]:
    """Each field with one value, in order."""
    pairs = form.items() if isinstance(form, Mapping) else form
    for name, value in pairs:
        for each in (value,) if isinstance(value, FormValue) else value:
            yield name, each


def serialize_urlencoded(form: FormInput) -> str:
    """Write ``a=1&b=2``, for a query string or as content; str is UTF-8."""
    return urlencode(list(iterate_fields(form)))
