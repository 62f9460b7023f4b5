"""The fixture ``serve_app``, for projects that test with pytest.

It is used where it is asked for, by a line of the top ``conftest.py``::

    pytest_plugins = ["blazeio.pytest_plugin"]

No entry point installs it: pytest would then import blazeio in each run of each
project beside it, before coverage is measured, and rewrite every assert in it.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from blazeio.app.app import App
from blazeio.testing import TestServer


@pytest.fixture
def serve_app() -> Iterator[Callable[[App[Any]], TestServer]]:
    """``server = serve_app(web)``: serve an app from a thread until the test ends."""
    with ExitStack() as servers:

        def serve(app: App[Any]) -> TestServer:
            return servers.enter_context(TestServer(app))

        yield serve
