"""The same, over TLS: with this folder's ``serve``."""

from tests.protocol.test_turns import TestGone  # noqa: F401
