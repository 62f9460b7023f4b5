"""Finding the one service that is meant, among those that run.

Abstract names are shared by all containers of one network namespace, so a verb may
see services of other containers. It is never for one of these unless somebody says
so: by its pid, or by its place.
"""

from collections.abc import Sequence

from msgspec import Struct, field

from blazeio_supervisor.control.answers.service import ServiceAnswer
from blazeio_supervisor.control.client import (
    Client,
    NotAllowedError,
    NotRunningError,
)
from blazeio_supervisor.control.naming import Home, find_home
from blazeio_supervisor.control.places import Place, Search
from blazeio_supervisor.errors import SupervisorError, UsageError

_NAMED_COUNT = 5
"""So many places of others are named in a line."""


class _Found(Struct, frozen=True):
    """One that listens.

    Attributes:
        pid: Of its master, as it is seen from here.
        service: What it says of itself; None: it does not answer.
        fault: Why it does not.
        is_here: It is not of another container.
    """

    client: Client
    pid: int
    service: ServiceAnswer | None = None
    fault: str = ""
    is_here: bool = True

    def is_called(self, word: str) -> bool:
        """Whether this is its name; also as its own container knows it."""
        service = self.service
        return service is not None and word in (service.name, service.alias)

    def has_pid(self, word: str) -> bool:
        """Whether this is the pid of its master."""
        return self.service is not None and word == str(self.pid)


class _Census(Struct, frozen=True):
    """Who is where.

    Attributes:
        here: Those of this container.
        elsewhere: Those of other containers whose processes are seen from here.
        hidden: Those of other containers whose processes are not.
        others: Those of other users.
    """

    here: list[_Found] = field(default_factory=list)
    elsewhere: list[_Found] = field(default_factory=list)
    hidden: list[Place] = field(default_factory=list)
    others: list[Place] = field(default_factory=list)


def find_client(found: Search, uid: int, instance: str | None = None) -> Client:
    """Find the one service that a verb is for.

    Args:
        found: Where to look.
        uid: Who asks.
        instance: Its name, or the pid of its master; None: the only one of this
            container.

    Raises:
        NotRunningError: There is none.
        UsageError: There are several, or those of other containers alone; they
            are listed.
        SupervisorError: As by ``Client.ask``.
    """
    if len(found.looked_at) == 1 and instance is None:
        client = Client(found.places[0], uid)
        client.read_server()
        return client
    census = _ask_all(found, uid)
    if instance is not None:
        return _choose(_find_called(census, instance), census).client
    if not census.here and not census.elsewhere:
        raise NotRunningError(_describe_search(found.looked_at, census))
    return _choose(census.here, census).client


def _choose(living: Sequence[_Found], census: _Census) -> _Found:
    if len(living) == 1:
        return living[0]
    raise _list_choice([*living, *(each for each in census.elsewhere)])


def _find_called(census: _Census, word: str) -> list[_Found]:
    """Find those that have a name, or a pid; another container's by its pid alone.

    Raises:
        NotRunningError: None has it.
    """
    named = [each for each in census.here if each.service and each.service.name == word]
    called = named or [each for each in census.here if each.is_called(word)]
    everybody = [*census.here, *census.elsewhere]
    living = called or [each for each in everybody if each.has_pid(word)]
    if not living:
        raise NotRunningError(_describe_absence(word, census))
    return living


def _ask_all(found: Search, uid: int) -> _Census:
    census, home = _Census(others=list(found.others)), find_home()
    for place in found.places:
        client = Client(place, uid)
        try:
            pid = client.read_server().pid
        except NotRunningError:
            continue  # left behind by one that was killed
        except NotAllowedError:
            census.others.append(place)
            continue
        except SupervisorError as error:
            census.here.append(_Found(client, 0, fault=str(error)))
            continue
        if not pid:  # it has none in our namespace
            census.hidden.append(place)
            continue
        try:
            service = client.ask("GET", "/service", ServiceAnswer)
        except NotRunningError:
            continue
        except SupervisorError as error:
            census.here.append(_Found(client, pid, fault=str(error)))
        else:
            _enter(census, _Found(client, pid, service), home)
    return census


def _enter(census: _Census, found: _Found, home: Home) -> None:
    service = found.service
    assert service is not None
    if home.is_same(Home(service.pid_namespace, service.root)):
        own_pid = _Found(found.client, service.pid, service)
        census.here.append(own_pid)
    else:
        elsewhere = _Found(found.client, found.pid, service, is_here=False)
        census.elsewhere.append(elsewhere)


def _list_choice(living: Sequence[_Found]) -> UsageError:
    names = [_wanted(each.service) for each in living if each.service]
    rows = [_describe(each, names) for each in living]
    width = max(len(choice) for choice, _ in rows)
    lines = [f"  {choice.ljust(width)}  {what}" for choice, what in rows]
    are = "service is" if len(living) == 1 else "services are"
    where = "" if any(each.is_here for each in living) else " in other containers"
    head = f"{len(living)} {are} running{where}, say which by one of:"
    return UsageError(head, lines)


def _describe(found: _Found, names: Sequence[str]) -> tuple[str, str]:
    """Give the option that means this one alone, and what it is."""
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


def _describe_absence(instance: str, census: _Census) -> str:
    known = [each for each in (*census.here, *census.elsewhere) if each.service]
    names = [
        f"{each.service.name} (pid {each.pid}"
        f"{'' if each.is_here else ', of another container'})"
        for each in known
        if each.service
    ]
    running = f"there are {', '.join(names)}" if names else "there is none at all"
    faults = [each.fault for each in census.here if not each.service]
    text = f"no service is called {instance!r}: {running}"
    return "; ".join([text, *faults, *_describe_hidden(census)])


def _describe_search(looked_at: Sequence[str], census: _Census) -> str:
    parts = [f"no service is running: looked at {', '.join(looked_at)}"]
    parts += _describe_hidden(census)
    if census.others:
        names = _join(census.others)
        parts.append(f"of other users, who would have to ask: {names}")
    return "; ".join(parts)


def _describe_hidden(census: _Census) -> list[str]:
    if not census.hidden:
        return []
    return [f"of other containers, by --control alone: {_join(census.hidden)}"]


def _join(places: Sequence[Place]) -> str:
    names = ", ".join(map(str, places[:_NAMED_COUNT]))
    more = len(places) - _NAMED_COUNT
    return f"{names} and {more} more" if more > 0 else names
