"""The client of the control socket, and how the one service is found.

``http.client`` of the standard library is enough, and is imported in 20 ms; a verb
imports neither the app nor the framework.
"""

import errno
import http.client
import os
import select
import socket
import struct
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from http import HTTPStatus
from typing import Any, cast

import msgspec
from msgspec import Struct, field

from blazeio_supervisor.errors import (
    BrokenOffError,
    NotAllowedError,
    NotAnsweringError,
    NotRunningError,
    SupervisorError,
    UsageError,
)
from blazeio_supervisor.ipc.control_api import (
    ANSWER_TIMEOUT_S,
    SERVICE,
    AnswerT,
    ControlEndpoint,
    ErrorAnswer,
    OrderT,
    ServiceAnswer,
)
from blazeio_supervisor.ipc.socket_paths import (
    Home,
    Peer,
    Search,
    SocketPath,
    find_home,
    find_runtime_directory,
    list_listening,
    parse_place,
    read_peer,
    search,
)
from blazeio_supervisor.log.formats import encode_json

_GONE_POLL_S = 0.1
_PIECE_BYTES = 65536
_TIMEVAL = struct.Struct("@ll")
_NOBODY = (errno.ENOENT, errno.ECONNREFUSED)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, place: SocketPath, timeout_s: float | None) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._place = place

    def connect(self) -> None:
        """Connect; where the accept queue is full, wait for a place in it.

        A socket with a timeout of Python is non-blocking, so the kernel would refuse
        it at once (EAGAIN); with a timeout of the kernel (SO_SNDTIMEO) it waits.
        """
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        timeout_s = self.timeout or ANSWER_TIMEOUT_S
        span = _TIMEVAL.pack(int(timeout_s), int(timeout_s % 1 * 1e6))
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, span)
        try:
            self.sock.connect(self._place.address)
        except BlockingIOError:
            raise TimeoutError from None
        self.sock.settimeout(self.timeout)


class ControlClient(Struct, frozen=True):
    """Asks the service at one place, on a new connection for each request.

    Attributes:
        place: Where the service listens.
        uid: The user who asks.
        timeout_s: How long an answer may take; None: any time.
    """

    place: SocketPath
    uid: int
    timeout_s: float | None = ANSWER_TIMEOUT_S

    def ask(
        self, endpoint: ControlEndpoint[OrderT, AnswerT], order: OrderT | None = None
    ) -> AnswerT:
        """Send an order or a question, and read the whole answer.

        A question (GET) is sent a second time when an upgrade has cut its answer; an
        order is not.

        Raises:
            NotRunningError: Nobody listens there.
            NotAnsweringError: No answer came in time, or the server is somebody else's.
            UsageError: The order is wrong in itself.
            SupervisorError: The order was refused.
        """

        def ask_once() -> AnswerT:
            with self._asked(endpoint, order, self.timeout_s) as response:
                octets = response.read()
                if endpoint.answer is str:
                    return cast(AnswerT, octets.decode())
                return msgspec.json.decode(octets, type=endpoint.answer)

        # An order whose answer was cut may have been carried out; to send it again
        # would scale or recycle twice.
        if endpoint.method == "POST":
            return ask_once()
        try:
            return ask_once()
        except BrokenOffError:
            return ask_once()

    def follow(
        self,
        endpoint: ControlEndpoint[OrderT, Any],
        order: OrderT,
        decoder: msgspec.json.Decoder[AnswerT],
    ) -> Iterator[AnswerT]:
        """Send an order or a question, and read the answer line by line.

        Args:
            endpoint: One that can answer by lines.
            order: What makes it do so.
            decoder: Reads one line.

        Raises:
            SupervisorError: As by ``ask``.
        """
        with self._asked(endpoint, order, None) as response:
            for line in _iterate_lines(response):
                yield decoder.decode(line)

    def read_server(self) -> Peer:
        """Return the process that listens there, as the kernel names it.

        Raises:
            SupervisorError: As by ``ask``.
        """
        with self._explained(), closing(self._connect(self.timeout_s)) as connection:
            return read_peer(connection.sock)

    @contextmanager
    def watch_end(self) -> Iterator["ServiceEnd"]:
        """Watch the master from now on, so that its end can be waited for.

        Raises:
            SupervisorError: As by ``ask``.
        """
        pid = self.read_server().pid
        try:
            pidfd = os.pidfd_open(pid) if pid else None
        except OSError:
            # It is gone in this moment (ESRCH), or a sandbox refuses the call (EPERM,
            # ENOSYS).
            pidfd = None
        try:
            yield ServiceEnd(self, pidfd)
        finally:
            if pidfd is not None:
                os.close(pidfd)

    def has_listener(self) -> bool:
        """Tell whether anybody listens there."""
        try:
            self._connect(self.timeout_s).close()
        except NotRunningError:
            return False
        except OSError as error:
            # Any other failure says that somebody is there: one whose queue is full, or
            # who is not ours to ask.
            return error.errno not in _NOBODY
        return True

    @contextmanager
    def _asked(
        self,
        endpoint: ControlEndpoint[OrderT, Any],
        order: OrderT | None,
        timeout_s: float | None,
    ) -> Iterator[http.client.HTTPResponse]:
        target, content = endpoint.path, None
        if order is not None and endpoint.method == "GET":
            target += write_query(order)
        elif order is not None:
            content = encode_json(order)
        with self._explained(), closing(self._connect(timeout_s)) as connection:
            try:
                connection.request(endpoint.method, target, content)
            # The server refuses another user, or closes for lack of room, without
            # reading. Its answer is in our receive queue all the same.
            except (BrokenPipeError, ConnectionResetError):
                pass
            with connection.getresponse() as response:
                if response.status != HTTPStatus.OK:
                    raise self._explain_refusal(response)
                yield response

    def _connect(self, timeout_s: float | None) -> http.client.HTTPConnection:
        connection = _UnixConnection(self.place, timeout_s)
        try:
            try:
                connection.connect()
            except TimeoutError:
                self._check_owner()
                raise
            # Before anything is sent: an abstract name has no owner in the file system,
            # so another user may have bound it first. The kernel names who called
            # listen (SO_PEERCRED, unix(7)).
            self._check(read_peer(connection.sock))
        except BaseException:
            connection.close()
            raise
        return connection

    def _check_owner(self) -> None:
        """Refuse an abstract name that another user holds and does not accept on."""
        for each in list_listening() if self.place.is_abstract else ():
            is_ours = each.uid in (None, 0, self.uid)
            if each.name == self.place.text and not is_ours:
                raise NotAllowedError(
                    f"{self.place} is held by uid {each.uid}, neither uid {self.uid} "
                    "nor root: not asked"
                )

    def _check(self, server: Peer) -> None:
        if not self.place.admits(server, self.uid):
            raise NotAllowedError(
                f"{self.place} is served by uid {server.uid} (pid {server.pid}), "
                f"neither uid {self.uid} nor root: not asked"
            )

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn the errors of a connection into ours, each with one line."""
        try:
            yield
        except TimeoutError as error:
            raise NotAnsweringError(
                f"{self.place} does not answer within "
                f"{self.timeout_s or ANSWER_TIMEOUT_S:g} s: its "
                "process is stopped, or the machine is overloaded"
            ) from error
        except PermissionError as error:
            reason = f"{self.place}: {error.strerror}: uid {self.uid} may not ask it"
            raise NotAllowedError(reason) from error
        except OSError as error:
            if error.errno in _NOBODY:
                raise NotRunningError(
                    f"no service is running on {self.place}"
                ) from None
            if isinstance(error, ConnectionError):
                raise self._explain_break(error) from error
            raise NotAnsweringError(f"{self.place}: {error.strerror}") from error
        # Before MsgspecError, which it is a kind of: this one means that the answer is
        # JSON, and of another shape.
        except msgspec.ValidationError as error:
            raise NotAnsweringError(
                f"{self.place} is served by another version of this program, use that "
                f"one or restart the service: its answer is not as expected: {error}"
            ) from error
        except (http.client.HTTPException, msgspec.MsgspecError) as error:
            raise self._explain_break(error) from error

    def _explain_break(self, error: Exception) -> BrokenOffError:
        what = f"{type(error).__name__}: {error}"
        return BrokenOffError(f"{self.place} broke off its answer: {what}")

    def _explain_refusal(self, response: http.client.HTTPResponse) -> SupervisorError:
        try:
            reason = msgspec.json.decode(response.read(), type=ErrorAnswer).error
        except msgspec.MsgspecError:
            status = f"{response.status} {response.reason}"
            reason = f"{self.place} does not know this verb ({status}): another version"
        if response.status == HTTPStatus.BAD_REQUEST:
            return UsageError(reason)
        return SupervisorError(reason)


def write_query(order: msgspec.Struct) -> str:
    """Write the fields of a question as a query; those with their default are left out.

    The values are numbers and switches, which need no escaping.
    """
    pairs = [
        f"{field.name}={str(value).lower()}"
        for field in msgspec.structs.fields(order)
        if (value := getattr(order, field.name)) != field.default
    ]
    return f"?{'&'.join(pairs)}" if pairs else ""


def _iterate_lines(response: http.client.HTTPResponse) -> Iterator[bytes]:
    """Iterate over the lines; ``http.client`` itself takes a cut for the end."""
    rest = b""
    # ``read1`` returns what is there. ``readline`` would take an answer that was cut in
    # the midst of a line for a whole one.
    while octets := response.read1(_PIECE_BYTES):
        *lines, rest = (rest + octets).split(b"\n")
        yield from lines
    if rest:
        yield rest


class ServiceEnd(Struct, frozen=True):
    """The end of one master; from another pid namespace, the end of its answers."""

    client: ControlClient
    pidfd: int | None

    def wait(self) -> None:
        """Return when the master is gone, however long that takes."""
        # A pidfd is readable from the end of the process on (pidfd_open(2)), so nobody
        # has to look again and again.
        if self.pidfd is not None:
            select.select([self.pidfd], [], [])
            return
        while self.client.has_listener():
            time.sleep(_GONE_POLL_S)


# Finding the one service that is meant, among those that run.
#
# Abstract names are shared by all containers of one network namespace, so a verb may
# see services of other containers. It chooses one of these only when its pid or its
# place was typed.


_NAMED_COUNT = 5
"""How many places of other users or containers are named in a line."""


class _FoundService(Struct, frozen=True):
    """A service that listens.

    Attributes:
        client: Asks it.
        pid: The pid of its master, as it is seen from here.
        service: What it says of itself; None: it does not answer.
        fault: Why it does not answer.
        is_here: Whether it belongs to this container.
    """

    client: ControlClient
    pid: int
    service: ServiceAnswer | None = None
    fault: str = ""
    is_here: bool = True

    def is_called(self, word: str) -> bool:
        """Tell whether this is its name, also the one that its container knows."""
        service = self.service
        return service is not None and word in (service.name, service.alias)

    def has_pid(self, word: str) -> bool:
        """Tell whether this is the pid of its master."""
        return self.service is not None and word == str(self.pid)


class _FoundServices(Struct, frozen=True):
    """All services that were found.

    Attributes:
        here: Services of this container.
        elsewhere: Services of other containers whose processes are seen from here.
        hidden: Services of other containers whose processes are not seen from here.
        others: Services of other users.
    """

    here: list[_FoundService] = field(default_factory=list)
    elsewhere: list[_FoundService] = field(default_factory=list)
    hidden: list[SocketPath] = field(default_factory=list)
    others: list[SocketPath] = field(default_factory=list)


def find_service(control: str | None, instance: str | None) -> ControlClient:
    """Find the service that the options of a verb name.

    Args:
        control: Where it answers, as typed; None: it is looked for.
        instance: Its name or pid; None: the only one.

    Raises:
        UsageError: ``control`` is no place, or both are given.
        SupervisorError: As by ``find_client``.
    """
    try:
        place = None if control is None else parse_place(control)
    except ValueError as error:
        raise UsageError(f"--control {control}: {error}") from None
    if place is not None and instance is not None:
        raise UsageError("--control and --instance: one of them says which")
    uid, is_named = os.geteuid(), instance is not None
    found = search(place, find_runtime_directory(), uid, is_named=is_named)
    return find_client(found, uid, instance)


def list_names() -> list[str]:
    """Return the names of the services that answer to this user, of this container."""
    uid = os.geteuid()
    found = search(None, find_runtime_directory(), uid, is_named=True)
    services = _ask_all(found, uid)
    return sorted(each.service.name for each in services.here if each.service)


def find_client(found: Search, uid: int, instance: str | None = None) -> ControlClient:
    """Find the one service that a verb is for.

    Args:
        found: The places to look at.
        uid: The user who asks.
        instance: The name of the service, or the pid of its master; None: the only
            service of this container.

    Raises:
        NotRunningError: There is none.
        UsageError: There are several, or only services of other containers; they
            are listed.
        SupervisorError: As by ``ControlClient.ask``.
    """
    # With one place there is nothing to choose: its own error says more than "no
    # service is running".
    if len(found.looked_at) == 1 and instance is None:
        client = ControlClient(found.places[0], uid)
        client.read_server()
        return client
    services = _ask_all(found, uid)
    if instance is not None:
        return _choose(_find_called(services, instance), services).client
    if not services.here and not services.elsewhere:
        raise NotRunningError(_describe_search(found.looked_at, services))
    return _choose(services.here, services).client


def _choose(living: Sequence[_FoundService], services: _FoundServices) -> _FoundService:
    if len(living) == 1:
        return living[0]
    raise _list_choice([*living, *(each for each in services.elsewhere)])


def _find_called(services: _FoundServices, word: str) -> list[_FoundService]:
    """Find the services with a name or a pid; in other containers by the pid only.

    Raises:
        NotRunningError: No service has it.
    """
    named = [
        each for each in services.here if each.service and each.service.name == word
    ]
    # The names that services have now come first. A word is taken as the name that only
    # a container knows where no service here is called so; else it would stand for two.
    called = named or [each for each in services.here if each.is_called(word)]
    everybody = [*services.here, *services.elsewhere]
    living = called or [each for each in everybody if each.has_pid(word)]
    if not living:
        raise NotRunningError(_describe_absence(word, services))
    return living


def _ask_all(found: Search, uid: int) -> _FoundServices:
    services, home = _FoundServices(others=list(found.others)), find_home()
    for place in found.places:
        client = ControlClient(place, uid)
        try:
            pid = client.read_server().pid
        except NotRunningError:
            continue  # its master was killed and has left the socket behind
        except NotAllowedError:
            services.others.append(place)
            continue
        except SupervisorError as error:
            services.here.append(_FoundService(client, 0, fault=str(error)))
            continue
        # The kernel gives 0 for a process that has no pid in our namespace
        # (pid_namespaces(7)).
        if not pid:
            services.hidden.append(place)
            continue
        try:
            service = client.ask(SERVICE)
        except NotRunningError:
            continue
        except SupervisorError as error:
            services.here.append(_FoundService(client, pid, fault=str(error)))
        else:
            _enter(services, _FoundService(client, pid, service), home)
    return services


def _enter(services: _FoundServices, found: _FoundService, home: Home) -> None:
    service = found.service
    assert service is not None
    if home.is_same(Home(service.pid_namespace, service.root)):
        # The pid as the service itself sees it: in this container that is what ``ps``
        # shows.
        own_pid = _FoundService(found.client, service.pid, service)
        services.here.append(own_pid)
    else:
        elsewhere = _FoundService(found.client, found.pid, service, is_here=False)
        services.elsewhere.append(elsewhere)


def _list_choice(living: Sequence[_FoundService]) -> UsageError:
    names = [_wanted(each.service) for each in living if each.service]
    rows = [_describe(each, names) for each in living]
    width = max(len(choice) for choice, _ in rows)
    lines = [f"  {choice.ljust(width)}  {what}" for choice, what in rows]
    are = "service is" if len(living) == 1 else "services are"
    where = "" if any(each.is_here for each in living) else " in other containers"
    head = f"{len(living)} {are} running{where}, say which by one of:"
    return UsageError(head, lines)


def _describe(found: _FoundService, names: Sequence[str]) -> tuple[str, str]:
    """Return the option that names this service alone, and a description of it."""
    service = found.service
    if service is None:
        return f"--control {found.client.place}", found.fault
    is_named = found.is_here and names.count(_wanted(service)) == 1
    word = service.name if is_named else found.pid
    where = " ".join(service.addresses) or "not bound yet"
    notes = [
        f", called {service.name}" if word != service.name != service.app else "",
        "" if found.is_here else ", of another container",
    ]
    return f"--instance {word}", f"pid {found.pid}  {service.app}  {where}" + "".join(
        notes
    )


def _wanted(service: ServiceAnswer) -> str:
    return service.wanted or service.name


def _describe_absence(instance: str, services: _FoundServices) -> str:
    known = [each for each in (*services.here, *services.elsewhere) if each.service]
    names = [
        f"{each.service.name} (pid {each.pid}"
        f"{'' if each.is_here else ', of another container'})"
        for each in known
        if each.service
    ]
    running = f"there are {', '.join(names)}" if names else "there is none at all"
    faults = [each.fault for each in services.here if not each.service]
    text = f"no service is called {instance!r}: {running}"
    return "; ".join([text, *faults, *_describe_hidden(services)])


def _describe_search(looked_at: Sequence[str], services: _FoundServices) -> str:
    parts = [f"no service is running: looked at {', '.join(looked_at)}"]
    parts += _describe_hidden(services)
    if services.others:
        names = _join(services.others)
        parts.append(f"of other users, who would have to ask: {names}")
    return "; ".join(parts)


def _describe_hidden(services: _FoundServices) -> list[str]:
    if not services.hidden:
        return []
    return [f"of other containers, by --control alone: {_join(services.hidden)}"]


def _join(places: Sequence[SocketPath]) -> str:
    names = ", ".join(map(str, places[:_NAMED_COUNT]))
    more = len(places) - _NAMED_COUNT
    return f"{names} and {more} more" if more > 0 else names
