"""Finding the one service that is meant, among those that run."""

from collections.abc import Sequence

from msgspec import Struct, field

from blazeio_supervisor.control.answers.service import ServiceAnswer
from blazeio_supervisor.control.client import (
    Client,
    NotAllowedError,
    NotRunningError,
)
from blazeio_supervisor.control.places import Place, Search
from blazeio_supervisor.errors import SupervisorError, UsageError


class _Found(Struct, frozen=True):
    """One that listens.

    Attributes:
        service: What it says of itself; None: it does not answer.
        fault: Why it does not.
    """

    client: Client
    service: ServiceAnswer | None = None
    fault: str = ""

    def is_called(self, word: str) -> bool:
        """Whether its name, or its pid, is this."""
        return self.service is not None and word in (
            self.service.name,
            str(self.service.pid),
        )


class _Census(Struct, frozen=True):
    """Who is where."""

    living: list[_Found] = field(default_factory=list)
    others: list[Place] = field(default_factory=list)


def find_client(found: Search, uid: int, instance: str | None = None) -> Client:
    """Find the one service that a verb is for.

    Args:
        found: Where to look.
        uid: Who asks.
        instance: Its name, or the pid of its master; None: the only one.

    Raises:
        NotRunningError: There is none.
        UsageError: There are several; they are listed.
        SupervisorError: As by ``Client.ask``.
    """
    if len(found.looked_at) == 1 and instance is None:
        client = Client(found.places[0], uid)
        client.read_server()
        return client
    census = _ask_all(found, uid)
    living = census.living
    if instance is not None:
        living = [each for each in living if each.is_called(instance)]
        if not living:
            raise NotRunningError(_describe_absence(instance, census))
    if not living:
        raise NotRunningError(_describe_search(found.looked_at, census.others))
    if len(living) > 1:
        raise _list_choice(living)
    return living[0].client


def _ask_all(found: Search, uid: int) -> _Census:
    census = _Census(others=list(found.others))
    for place in found.places:
        client = Client(place, uid)
        try:
            service = client.ask("GET", "/service", ServiceAnswer)
        except NotRunningError:
            continue  # left behind by one that was killed
        except NotAllowedError:
            census.others.append(place)
        except SupervisorError as error:
            census.living.append(_Found(client, fault=str(error)))
        else:
            census.living.append(_Found(client, service))
    return census


def _list_choice(living: Sequence[_Found]) -> UsageError:
    names = [each.service.name for each in living if each.service]
    rows = [_describe(each, names) for each in living]
    width = max(len(choice) for choice, _ in rows)
    lines = [f"  {choice.ljust(width)}  {what}" for choice, what in rows]
    head = f"{len(living)} services are running, say which by one of:"
    return UsageError(head, lines)


def _describe(found: _Found, names: Sequence[str]) -> tuple[str, str]:
    """Give the option that means this one alone, and what it is."""
    service = found.service
    if service is None:
        return f"--control {found.client.place}", found.fault
    is_one_of_many = names.count(service.name) > 1
    word = service.pid if is_one_of_many else service.name
    where = " ".join(service.addresses) or "not bound yet"
    return f"--instance {word}", f"pid {service.pid}  {service.app}  {where}"


def _describe_absence(instance: str, census: _Census) -> str:
    services = [each.service for each in census.living if each.service]
    names = [f"{each.name} (pid {each.pid})" for each in services]
    running = f"there are {', '.join(names)}" if names else "there is none at all"
    faults = [each.fault for each in census.living if not each.service]
    return "; ".join([f"no service is called {instance!r}: {running}", *faults])


def _describe_search(looked_at: Sequence[str], others: Sequence[Place]) -> str:
    text = f"no service is running: looked at {', '.join(looked_at)}"
    if others:
        names = ", ".join(map(str, others))
        text += f"; of other users, who would have to ask: {names}"
    return text
