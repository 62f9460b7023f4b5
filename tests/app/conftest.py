"""What an app answers is the same over both versions of HTTP."""

from tests.support.both_protocols import pytest_generate_tests, spoken

__all__ = ["pytest_generate_tests", "spoken"]
