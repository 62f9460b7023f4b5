"""What has happened: the events that are kept, and those that come."""

from typing import Annotated

import msgspec

from blazeio_supervisor.control.answers.service import SCHEMA
from blazeio_supervisor.observe.events.vocabulary import EventRecord


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
    events: list[EventRecord]
