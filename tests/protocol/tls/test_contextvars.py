"""The same, over TLS: with this folder's ``serve``."""

from tests.protocol.test_contextvars import TestContextvars  # noqa: F401
