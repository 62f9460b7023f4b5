"""A value with parameters: ``multipart/form-data; boundary="x"``.

RFC 9110 section 5.6.6.

May import: blazeio.wire.grammar. Pure.
"""

import re

from blazeio.wire.grammar import TCHAR

# Without quotes more is taken than a token: mail libraries write
# boundary=----=_Part_1, and nothing else could be meant.
_PARAMETER = re.compile(
    rf"[ \t]*+;[ \t]*+(?>(?:([{TCHAR}]++)="
    r'(?:"((?>(?:[^"\\]|\\.)*))"|([^;"\\ \t]++)))?)'
)
_QUOTED_PAIR = re.compile(r"\\(.)")


def parse_parameters(text: str) -> tuple[str, dict[str, str]]:
    """Split a field's value from its parameters.

    Returns:
        The value in lower case, and the parameters by their lower-case names.

    Raises:
        ValueError: It is malformed, or names a parameter twice: two readers of
            it could see two things.
    """
    value, _, _ = text.partition(";")
    position = len(value)
    end = len(text.rstrip(" \t"))
    parameters: dict[str, str] = {}
    while position < end:
        found = _PARAMETER.match(text, position)
        if found is None:
            raise ValueError("the parameters are malformed")
        position = found.end()
        name, quoted, plain = found.groups()
        if name is None:
            continue  # RFC 9110 lets a semicolon stand for nothing
        if name.lower() in parameters:
            raise ValueError("a parameter is there twice")
        is_plain = quoted is None
        parameters[name.lower()] = (
            plain if is_plain else _QUOTED_PAIR.sub(r"\1", quoted)
        )
    return value.strip(" \t").lower(), parameters
