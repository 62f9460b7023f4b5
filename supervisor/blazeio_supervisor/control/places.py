"""Where a service can be asked, and where the verbs look for one.

In ``$RUNTIME_DIRECTORY``, which systemd makes for a unit, it is a file with
mode 0600; elsewhere a name of the abstract namespace, which leaves no file
behind and works on a read-only disk. Such a name holds the uid and the name of
the instance (``control/naming.py``). Anybody may take any abstract name: only what
the kernel says of its owner is believed.
"""

import glob
import os
import re
from collections.abc import Callable, Sequence

from msgspec import Struct

from blazeio_supervisor.sockets.peer import Peer
from blazeio_supervisor.sockets.unix_table import Listening, list_listening

FILE_NAME = "control.sock"
UNIT_PATTERNS = (
    "/run/blazeio/{name}",
    "/run/blazeio/*/{name}",
    "/run/user/{uid}/blazeio/{name}",
    "/run/user/{uid}/blazeio/*/{name}",
)
"""Where systemd puts the directories of units, the system's and the users'."""
_ABSTRACT = "@"
PREFIX = "@blazeio/"
_NAMED = re.compile(rf"{PREFIX}[0-9]+/[A-Za-z0-9_.:@+/-]+", re.ASCII)
_MOST_BYTES = 107
NAME_CHARS = 64
_NAME = re.compile(r"[A-Za-z0-9_.:@+-]+")
_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9_.:@+-]+")


class Place(Struct, frozen=True):
    """A unix socket: a path, or ``@name`` in the abstract namespace."""

    text: str

    def __str__(self) -> str:
        return self.text

    @property
    def is_abstract(self) -> bool:
        """It is no file."""
        return self.text.startswith(_ABSTRACT)

    @property
    def address(self) -> str:
        """As ``connect`` and ``bind`` take it."""
        return f"\0{self.text[1:]}" if self.is_abstract else self.text

    def admits(self, server: Peer, uid: int) -> bool:
        """Whether a server found here may be believed.

        Ours and root's are; behind a path also the one whose file it is, since
        who may make files there is the folder's matter.

        Args:
            server: Who answers.
            uid: Who asks.

        Raises:
            OSError: The path is gone.
        """
        if server.uid in (0, uid):
            return True
        return not self.is_abstract and os.stat(self.text).st_uid == server.uid


def parse_place(text: str) -> Place:
    """Read ``--control``: a path (from the working directory), or ``@name``.

    Raises:
        ValueError: The operator's fault; the text says what is wrong.
    """
    if text in ("", _ABSTRACT):
        raise ValueError("write a path, or @name for the abstract namespace")
    place = Place(text if text.startswith(_ABSTRACT) else os.path.abspath(text))
    if len(os.fsencode(place.text)) > _MOST_BYTES:
        raise ValueError(f"longer than the kernel's {_MOST_BYTES} octets")
    return place


def is_name(text: str) -> bool:
    """Whether an instance may be called so: one word without slashes."""
    return len(text) <= NAME_CHARS and _NAME.fullmatch(text) is not None


def name_after(app: str) -> str:
    """Give an instance the name of its app: ``app:web``, ``app.py``."""
    word = _NOT_IN_A_NAME.sub("-", os.path.basename(app))
    return word[:NAME_CHARS]


def choose_places(
    given: Place | None, runtime_directory: str, own: Place | None
) -> list[Place]:
    """Choose where the master makes its socket: the first that it can make.

    Args:
        given: By ``--control``.
        runtime_directory: That systemd made for the unit, or "".
        own: The abstract name of this service; None: there is none.
    """
    if given is not None:
        return [given]
    places = [] if own is None else [own]
    if runtime_directory:
        places.insert(0, Place(os.path.join(runtime_directory, FILE_NAME)))
    return places


class Search(Struct, frozen=True):
    """Where a verb looks for the service.

    Attributes:
        places: Which exist, in the order in which they are listed.
        looked_at: The same in words, also for those that do not exist.
        others: Services of other users, which answer only to these; or names that
            such a one has taken.
    """

    places: Sequence[Place]
    looked_at: Sequence[str]
    others: Sequence[Place] = ()


def search(
    given: Place | None,
    runtime_directory: str,
    uid: int,
    list_names: Callable[[], Sequence[Listening]] = list_listening,
    *,
    is_named: bool = False,
) -> Search:
    """Find what may be a service.

    Inside a unit (``ExecReload=``, say) ``$RUNTIME_DIRECTORY`` names its own
    service, whichever others run.

    Args:
        given: By ``--control``.
        runtime_directory: Of the unit that the verb runs in, or "".
        uid: Who asks.
        list_names: Gives the abstract names that are listened on.
        is_named: One is meant by its name, which may be another unit's.
    """
    if given is not None:
        return Search([given], [str(given)])
    own = os.path.join(runtime_directory, FILE_NAME)
    if runtime_directory and not is_named and os.path.exists(own):
        return Search([Place(own)], [own])
    patterns = [each.format(uid=uid, name=FILE_NAME) for each in UNIT_PATTERNS]
    paths = [path for pattern in patterns for path in sorted(glob.glob(pattern))]
    names = [each for each in list_names() if _NAMED.fullmatch(each.name)]
    mine = f"{PREFIX}{uid}/"
    ours = [
        each.name
        for each in names
        if each.name.startswith(mine) and each.uid in (None, 0, uid)
    ]
    looked_at = [*([own] if runtime_directory else []), *patterns, f"{mine}*"]
    return Search(
        [Place(text) for text in dict.fromkeys([*paths, *ours])],
        looked_at,
        [Place(each.name) for each in names if each.name not in ours],
    )
