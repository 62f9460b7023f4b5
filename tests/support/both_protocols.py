"""For a folder whose tests ask a ``Site``: each is run over HTTP/1.1 and HTTP/2.

The second is for ``make test-long``: what they test is what a handler does; HTTP/2
itself is tested in ``tests/http2``.

    from tests.support.both_protocols import pytest_generate_tests, spoken

A test that is about HTTP/1.1 itself is marked ``http1``.
"""

from collections.abc import Iterator

import pytest

from tests.support import served

OVER_HTTP2 = pytest.param("2", marks=pytest.mark.long)


@pytest.fixture(autouse=True)
def spoken(request: pytest.FixtureRequest) -> Iterator[str]:
    """What ``Site.ask`` speaks."""
    served.SPOKEN = getattr(request, "param", "1.1")
    yield served.SPOKEN
    served.SPOKEN = "1.1"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    asks = getattr(metafunc.module, "served", None) is served.served
    if asks and not any(metafunc.definition.iter_markers("http1")):
        metafunc.parametrize("spoken", ["1.1", OVER_HTTP2], indirect=True)
