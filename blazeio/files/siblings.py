"""Compressed siblings of a file: ``page.html.br`` beside ``page.html``.

May import: blazeio.content, blazeio.files.
"""

from collections.abc import Callable
from functools import lru_cache

from blazeio.content.codings import choose_coding
from blazeio.content.media_types import guess_media_type, is_compressible
from blazeio.content.selection.selection import Representation
from blazeio.files.containment import OpenedFile
from blazeio.files.delivery import describe

SUFFIXES = {"br": ".br", "zstd": ".zst", "gzip": ".gz"}
"""Where each content coding is looked for, best first."""

LONGEST_KEPT_BYTES = 256


def choose(accept_encoding: str | None, available: tuple[str, ...]) -> str | None:
    """As ``choose_coding``: the same few values come again and again."""
    if accept_encoding is None:
        return None
    if len(accept_encoding) > LONGEST_KEPT_BYTES:
        return choose_coding(accept_encoding, available)
    return _choose(accept_encoding, available)


_choose = lru_cache(maxsize=128)(choose_coding)  # 0.1 us where it takes 4


def open_variant(
    opened: OpenedFile,
    name: str,
    accept_encoding: str | None,
    open_sibling: Callable[[str], OpenedFile | None],
) -> tuple[OpenedFile, Representation]:
    """The file, or its compressed sibling that the client likes best.

    A sibling that is older than the file is none: it was made of what the file
    was before.

    Args:
        opened: The file; closed here when a sibling stands for it.
        name: Its name.
        accept_encoding: Of the request.
        open_sibling: Opens ``name`` with a suffix.
    """
    if not is_compressible(guess_media_type(name)):
        return opened, describe(opened, name)
    left = tuple(SUFFIXES)
    while left and (coding := choose(accept_encoding, left)) is not None:
        sibling = open_sibling(name + SUFFIXES[coding])
        if sibling is not None:
            if sibling.modified_ns >= opened.modified_ns:
                opened.file.close()
                return sibling, describe(sibling, name, coding, is_negotiated=True)
            sibling.file.close()
        left = tuple(each for each in left if each != coding)
    return opened, describe(opened, name, is_negotiated=True)
