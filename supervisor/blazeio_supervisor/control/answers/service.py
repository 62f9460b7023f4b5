"""Who answers, or refuses; and the number of the schema."""

import msgspec

SCHEMA = 1


class ErrorAnswer(msgspec.Struct, frozen=True):
    """An order was refused."""

    error: str


class ServiceAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Which service this is.

    Attributes:
        pid: Of the master.
        name: Of the instance: for ``--instance``.
        wanted: The name that was asked for; another one if that was taken.
        alias: The same, when its own container knows it by that; else "".
        pid_namespace: Where its pid counts; "" where that is not known.
        root: Device and inode of its root directory; likewise.
    """

    schema: int = SCHEMA
    pid: int
    name: str
    app: str
    addresses: list[str]
    wanted: str = ""
    alias: str = ""
    pid_namespace: str = ""
    root: str = ""
