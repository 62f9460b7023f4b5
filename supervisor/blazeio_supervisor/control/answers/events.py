"""What has happened: the events that are kept, and those that come."""

from typing import Annotated, Any

import msgspec

from blazeio_supervisor.control.answers.service import SCHEMA


class EventAnswer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that has happened; what does not apply is left out.

    Attributes:
        seq: Counts up from 1. Numbers that are missing were forgotten: only the
            last 10,000 are kept, fewer of long ones.
        at_s: Since 1970, UTC.
        event: A word of ``docs/events.md``.
        level: DEBUG, INFO, WARNING or ERROR.
        text: For a person.
        worker: Serial number of a worker's life.
        pid: Of the process that it is about.
        reason: Why, as one of few words.
        traceback: Of what was raised.
        fields: Further figures.
    """

    seq: int = 0
    at_s: float
    event: str
    level: str
    text: str
    worker: int | None = None
    slot: int | None = None
    generation: int | None = None
    pid: int | None = None
    reason: str = ""
    traceback: str = ""
    fields: dict[str, Any] = {}


class EventsQuery(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True
):
    """Which events.

    Attributes:
        after: Those with a higher ``seq``.
        last: Not more than so many of them, the newest; null: all.
        follow: Those that come yet, too.
    """

    after: int = 0
    last: Annotated[int, msgspec.Meta(ge=0)] | None = None
    follow: bool = False


class EventsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What has happened, the oldest first."""

    schema: int = SCHEMA
    events: list[EventAnswer]
