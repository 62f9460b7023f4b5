"""The page that shows a service live, and what it is fed with.

The page is one file without anything from elsewhere. It is served at ``/dashboard`` of
``--metrics-bind`` where ``--dashboard`` is on, by the master; or by the verb
``dashboard``, on the machine of whoever looks. Both feed it by server-sent events,
one a second. It shows, and orders nothing, unless there is a token.
"""

import asyncio
import hashlib
import hmac
import os
import time
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import contextmanager
from typing import Any, Final, Protocol

from msgspec.structs import replace

from blazeio.app.app import App
from blazeio.app.deliver import Deliver, EventStream
from blazeio.app.request import Request
from blazeio.errors import Abort
from blazeio.protocol.request import BlazeioServerProtocol
from blazeio_supervisor.errors import SupervisorError
from blazeio_supervisor.files import read
from blazeio_supervisor.fleet.facts import RecycleAsked
from blazeio_supervisor.ipc.control_api import (
    DashboardAnswer,
    ForkserverStack,
    StackAnswer,
    WorkerStack,
)
from blazeio_supervisor.ipc.scoreboard import LATENCY_EDGES_S, STATUS_CLASSES, Tally
from blazeio_supervisor.log.formats import encode_json
from blazeio_supervisor.master.guarded_server import RefusedError
from blazeio_supervisor.master.status import ServiceState, describe_status

EVERY_S: Final = 1.0
"""The page is told so often."""
VIEWER_COUNT: Final = 8
"""Pages that are fed at once; each costs one look at the service in a second."""
EVENT_COUNT: Final = 200
"""Events that a page is told at most when it is opened."""
_BY: Final = "the dashboard"


def describe_dashboard(service: ServiceState, after: int) -> DashboardAnswer:
    """Return what the page shows, with the events after this one."""
    tally = sum(service.readings.read_tallies().values(), Tally())
    return DashboardAnswer(
        at_s=time.time(),
        status=describe_status(service),
        responses={each: tally.latency(each).count for each in STATUS_CLASSES},
        latency_bounds_s=list(LATENCY_EDGES_S[1:-1]),
        latency_counts=list(tally.count_spans()),
        events=service.events.list_after(after, EVENT_COUNT),
    )


async def ask_stacks(service: ServiceState, slot: int | None) -> StackAnswer:
    """Ask the workers of a slot, or all, for their stacks.

    Raises:
        RefusedError: There is no worker.
    """
    views = service.planner.snapshot().workers
    asked = [
        (view, view.pid)
        for view in sorted(views, key=lambda view: (view.slot, view.worker))
        if view.pid is not None and slot in (None, view.slot)
    ]
    forkservers = service.forkservers
    importing = forkservers.list_booting() if slot is None else []
    if not (asked or importing):
        where = "" if slot is None else f"slot {slot}: "
        raise RefusedError(f"{where}no worker is there")
    ask = service.orders.ask_stacks
    answers = await asyncio.gather(*(ask(view.worker) for view, _ in asked))
    stacks = [
        WorkerStack(
            slot=view.slot,
            pid=pid,
            generation=view.generation,
            state=view.state,
            text=said.text,
            is_whole=said.is_whole,
        )
        for (view, pid), said in zip(asked, answers, strict=True)
    ]
    imports = [
        ForkserverStack(
            pid=pid,
            generation=generation,
            text=(await forkservers.ask_stacks(generation)).text,
        )
        for generation, pid in importing
    ]
    return StackAnswer(stacks, imports)


class DashboardSource(Protocol):
    """Where a page has its facts from, and who takes its orders."""

    async def look(self, after: int) -> DashboardAnswer:
        """Look at the service; events after this one are told."""
        ...

    async def stack(self, slot: int) -> StackAnswer:
        """Ask where the workers of a slot are."""
        ...

    async def reload(self) -> None:
        """Load the code anew."""
        ...

    async def recycle(self, slot: int) -> None:
        """Replace the worker of a slot."""
        ...


class ServiceSource:
    """The service of this master.

    Args:
        service: Its state.
    """

    def __init__(self, service: ServiceState) -> None:
        self._service = service

    async def look(self, after: int) -> DashboardAnswer:
        """Look at the service."""
        return describe_dashboard(self._service, after)

    async def stack(self, slot: int) -> StackAnswer:
        """Ask where the workers of a slot are."""
        return await ask_stacks(self._service, slot)

    async def reload(self) -> None:
        """Load the code anew."""
        self._service.reloads.ask(_BY)

    async def recycle(self, slot: int) -> None:
        """Replace the worker of a slot."""
        self._service.put_fact(RecycleAsked(slot, _BY))


PAGE: Final = "dashboard.html"
_JSON: Final = {"Content-Type": "application/json"}


def read_page() -> tuple[bytes, dict[str, str]]:
    """Read the page; return it with the fields that it is sent with.

    Its script is allowed by its hash, and nothing else can run in it or be loaded.
    """
    octets = read(os.path.join(os.path.dirname(__file__), PAGE), is_judged=False)
    script = octets.partition(b"<script>")[2].partition(b"</script>")[0]
    digest = b64encode(hashlib.sha256(script).digest()).decode()
    policy = (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
    fields = {
        "Content-Type": "text/html; charset=utf-8",
        "Content-Security-Policy": policy,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
    }
    return octets, fields


class Dashboard:
    """The routes of the page.

    Args:
        source: Where the facts are from.
        token: Who has it may order; "": nobody may, and everybody may look.
        is_private: Who has no token may not even look.
    """

    def __init__(
        self, source: DashboardSource, token: str, *, is_private: bool = False
    ) -> None:
        self._source = source
        self._token = token.encode()
        self._is_private = is_private
        self._viewers = 0

    def add_routes(self, app: App) -> None:
        """Add the page to an app, at ``/dashboard``."""
        self._page, self._fields = read_page()
        app.add_route(self._show_page, "/dashboard", methods=["GET"])
        app.add_route(self._feed, "/dashboard/live", methods=["GET"])
        app.add_route(self._stack, "/dashboard/stack/{slot:int}", methods=["POST"])
        app.add_route(self._recycle, "/dashboard/recycle/{slot:int}", methods=["POST"])
        app.add_route(self._reload, "/dashboard/reload", methods=["POST"])

    async def _show_page(self, r: BlazeioServerProtocol) -> None:
        r.reply(self._page, headers=self._fields)

    async def _feed(self, r: BlazeioServerProtocol) -> None:
        token = (await Request.get_params(r)).get("token", "")
        can_order = self._is_token(token)
        if self._is_private and not can_order:
            raise Abort("the address of the page has a token, which is missing", 403)
        with self._viewer():
            async with EventStream(r, retry_ms=1000) as stream:
                last = stream.last_event_id
                async for answer in self._look_on(int(last) if last.isdecimal() else 0):
                    shown = replace(answer, can_order=can_order)
                    text = encode_json(shown).decode()
                    last = str(answer.events[-1].seq) if answer.events else last
                    await stream.send(text, event_id=last)

    async def _look_on(self, seq: int) -> AsyncIterator[DashboardAnswer]:
        while True:
            try:
                answer = await self._source.look(seq)
            except SupervisorError:
                return  # the service has ended: the page says that nothing comes
            if answer.events:
                seq = answer.events[-1].seq
            yield answer
            await asyncio.sleep(EVERY_S)

    @contextmanager
    def _viewer(self) -> Any:
        if self._viewers >= VIEWER_COUNT:
            text = f"{VIEWER_COUNT} pages are open, the most: close one of them"
            raise Abort(text, 503, {"Retry-After": "5"})
        self._viewers += 1
        try:
            yield
        finally:
            self._viewers -= 1

    async def _stack(self, r: BlazeioServerProtocol, slot: int) -> None:
        self._check(r)
        answer = await self._ask(self._source.stack(slot))
        r.reply(encode_json(answer), headers=_JSON)

    async def _recycle(self, r: BlazeioServerProtocol, slot: int) -> None:
        self._check(r)
        await self._ask(self._source.recycle(slot))
        await Deliver.no_content(r)

    async def _reload(self, r: BlazeioServerProtocol) -> None:
        self._check(r)
        await self._ask(self._source.reload())
        await Deliver.no_content(r)

    @staticmethod
    async def _ask(answer: Any) -> Any:
        try:
            return await answer
        except (RefusedError, SupervisorError) as error:
            raise Abort(str(error), 409) from None

    def _check(self, r: BlazeioServerProtocol) -> None:
        """Refuse an order without the token, which a foreign page cannot send."""
        # A field of our own and no cookie: a page of another site can have a browser
        # send cookies along, but no such field without a preflight, which is never
        # allowed here.
        if not self._is_token(r.headers.get("x-dashboard-token", "")):
            raise Abort("orders need the token", 403)

    def _is_token(self, given: str) -> bool:
        # In constant time: how long ``==`` takes tells how much of a guess is right.
        return bool(self._token) and hmac.compare_digest(given.encode(), self._token)
