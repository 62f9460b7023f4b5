"""What can be looked at on the control socket.

The master's loop runs it, so a handler only looks at what is known.
"""

from urllib.parse import parse_qs

import msgspec

from blazeio.app.request import Request
from blazeio.protocol.request import BlazeioServerProtocol
from blazeio_supervisor.control.answering import Lasting, RefusedError, show
from blazeio_supervisor.control.answers.events import EventsAnswer, EventsQuery
from blazeio_supervisor.control.status import (
    Service,
    describe_config,
    describe_service,
    describe_status,
    describe_upgrade,
)
from blazeio_supervisor.escaping import encode_json
from blazeio_supervisor.observe.events.vocabulary import EventRecord
from blazeio_supervisor.observe.metrics.exposition import CONTENT_TYPE, Exposition

_LINES = {"Content-Type": "application/x-ndjson"}


class Views:
    """The handlers, one for each view.

    Args:
        service: What is looked at.
        exposition: Writes the metrics.
        lasting: Counts those who follow.
    """

    def __init__(
        self, service: Service, exposition: Exposition, lasting: Lasting
    ) -> None:
        self._service = service
        self._lasting = lasting
        self._exposition = exposition

    async def service(self, r: BlazeioServerProtocol) -> None:
        """Show which service this is."""
        show(r, describe_service(self._service))

    async def status(self, r: BlazeioServerProtocol) -> None:
        """Show the whole service as it is now."""
        show(r, describe_status(self._service))

    async def config(self, r: BlazeioServerProtocol) -> None:
        """Show every setting in force, and where it came from.

        With ``?show_env=true`` also the values of variables.
        """
        shows_env = parse_qs(r.query or "").get("show_env") == ["true"]
        show(r, describe_config(self._service, shows_env=shows_env))

    async def upgrade(self, r: BlazeioServerProtocol) -> None:
        """Show what became of the newest upgrade."""
        show(r, describe_upgrade(self._service.upgrades.last))

    async def metrics(self, r: BlazeioServerProtocol) -> None:
        """Show the figures, as Prometheus reads them."""
        r.reply(self._exposition.write(), headers={"Content-Type": CONTENT_TYPE})

    async def events(self, r: BlazeioServerProtocol) -> None:
        """Show what has happened; and what happens, to who follows."""
        query = await _read_query(r)
        ring = self._service.events
        events = ring.list_after(query.after, query.last)
        seq = events[-1].seq if events else ring.seq
        if not query.follow:
            show(r, EventsAnswer(events=events))
            return
        with self._lasting.answer():
            await r.prepare(_LINES)
            await _write_lines(r, events)
            async for newer in ring.follow(seq):
                await _write_lines(r, newer)
            await r.eof()


async def _read_query(r: BlazeioServerProtocol) -> EventsQuery:
    try:
        return msgspec.convert(
            dict(await Request.get_params(r)), EventsQuery, strict=False
        )
    except msgspec.ValidationError as error:
        raise RefusedError(f"the query cannot be read: {error}", 400) from None


async def _write_lines(r: BlazeioServerProtocol, events: list[EventRecord]) -> None:
    await r.write(b"".join(encode_json(each) + b"\n" for each in events))
