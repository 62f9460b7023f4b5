"""Which media type a client likes best, by its Accept field. Pure.

May import: nothing of blazeio.
"""

import re
from collections.abc import Sequence

# media-range with its weight, RFC 9110 section 12.5.1; other parameters are
# skipped: we give none of our types with any.
_MEMBER = re.compile(
    r"\s*(?P<type>[^\s;,/]+)/(?P<subtype>[^\s;,/]+)\s*(?P<parameters>;[^,]*)?"
)
_WEIGHT = re.compile(r";\s*[qQ]=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)\s*(?:;|$)")


def choose_media_type(accept: str | None, available: Sequence[str]) -> str:
    """Choose the media type that the client likes best.

    The most particular range that names a type decides on its weight.

    Args:
        accept: The field's value; None when it was not sent.
        available: Types that we can give, lower case, best first; it decides
            between those the client likes equally.

    Returns:
        One of ``available``; the first, where the client wants none of them.
    """
    if accept is None or accept == "*/*":
        return available[0]
    weights = dict(_read_member(each) for each in accept.lower().split(","))
    best = max(available, key=lambda each: _weight_of(each, weights))
    return best if _weight_of(best, weights) > 0 else available[0]


def _read_member(text: str) -> tuple[str, float]:
    member = _MEMBER.match(text)
    if member is None:
        return "", 0.0
    weight = _WEIGHT.search(member["parameters"] or "")
    media_range = f"{member['type']}/{member['subtype']}"
    return media_range, 1.0 if weight is None else float(weight[1])


def _weight_of(media_type: str, weights: dict[str, float]) -> float:
    ranges = (media_type, f"{media_type.partition('/')[0]}/*", "*/*")
    return next((weights[each] for each in ranges if each in weights), 0.0)
