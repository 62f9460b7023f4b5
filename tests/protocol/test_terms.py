from typing import Any

import pytest

from blazeio.errors import ConfigurationError
from blazeio.protocol.terms import USUAL, RouteTerms, find_usual


def test_a_server_without_routes_has_the_usual_terms() -> None:
    assert find_usual("GET", "/") is USUAL
    assert (USUAL.content_bytes, USUAL.on_disconnect) == (None, "cancel")


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ({"content_bytes": -1}, "content_bytes=-1: expected a number of octets"),
        ({"content_bytes": "1M"}, "content_bytes='1M': expected"),
        ({"on_disconnect": "stay"}, "on_disconnect='stay': expected 'cancel' or"),
    ],
)
def test_what_cannot_be_is_named(terms: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        RouteTerms(**terms)
