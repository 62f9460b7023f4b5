"""The first hour of a user who is nobody special."""

from tests.debian.first_hour import FirstHour

USER = "ada"


class TestFirstHour(FirstHour):
    """See there."""
