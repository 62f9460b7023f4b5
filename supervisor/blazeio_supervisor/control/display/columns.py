"""Tables that fit a terminal: the least important columns go first. Pure."""

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from msgspec import Struct

RowT = TypeVar("RowT")
_WIDE = 100
"""From this width on there are two spaces between columns, below only one."""
_NOTE_CHARS = 18  # "adopted by slot 12"; what is longer may be cut
"""A note is not cut below this before a column goes."""


class Column(Struct, Generic[RowT], frozen=True):
    """One column.

    Attributes:
        head: Above it.
        write: Gives the cell of a row.
        rank: The higher, the earlier it goes; 0 never does.
        is_text: To the left; numbers stand to the right.
    """

    head: str
    write: Callable[[RowT], str]
    rank: int = 0
    is_text: bool = False


def fit_table(
    columns: Sequence[Column[RowT]],
    rows: Sequence[RowT],
    note: Callable[[RowT], str],
    width: int,
) -> list[str]:
    """Write a table, its heads first, one line for each row.

    Args:
        columns: In their order.
        rows: May be none.
        note: What stands behind a row; it is cut where the line ends.
        width: Of the terminal.
    """
    notes = [note(row) for row in rows]
    wanted = min(max(map(len, notes), default=0), _NOTE_CHARS)
    gap = "  " if width >= _WIDE else " "
    kept = list(columns)
    while True:
        cells = [[column.write(row) for column in kept] for row in rows]
        sizes = [
            max(len(column.head), *(len(line[at]) for line in cells), 0)
            for at, column in enumerate(kept)
        ]
        used = sum(sizes) + len(gap) * (len(kept) - 1)
        last = max(kept, key=lambda column: column.rank)
        if used + (len(gap) + wanted if wanted else 0) <= width or not last.rank:
            break
        kept.remove(last)
    heads = [column.head for column in kept]
    lines = [heads, *cells]
    texts = [_join(line, kept, sizes, gap) for line in lines]
    return [
        (f"{text}{gap}{words}" if words else text).rstrip()[:width]
        for text, words in zip(texts, ["", *notes], strict=True)
    ]


def _join(
    cells: Sequence[str],
    columns: Sequence[Column[RowT]],
    sizes: Sequence[int],
    gap: str,
) -> str:
    return gap.join(
        cell.ljust(size) if column.is_text else cell.rjust(size)
        for cell, column, size in zip(cells, columns, sizes, strict=True)
    )
