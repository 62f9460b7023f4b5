"""The first hour of root, whose home is closed to everybody else."""

from tests.debian.first_hour import FirstHour

USER = "root"


class TestFirstHour(FirstHour):
    """See there."""
