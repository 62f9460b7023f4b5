"""The same, over TLS: with this folder's ``serve``."""

import pytest

from tests.protocol.test_contextvars import TestContextvars  # noqa: F401
from tests.protocol.test_loop_fairness import TestGone  # noqa: F401
from tests.protocol.test_small_pieces import (  # noqa: F401
    test_a_handler_that_is_slower_gets_all_of_it,
    test_all_of_it_is_read_and_so_is_what_follows,
)

pytestmark = pytest.mark.long
