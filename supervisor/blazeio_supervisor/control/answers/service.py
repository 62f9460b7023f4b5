"""Who answers, or refuses; and the number of the schema.

May import: msgspec.
"""

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
    """

    schema: int = SCHEMA
    pid: int
    name: str
    app: str
    addresses: list[str]
