"""Words as a unit file has them.

systemd splits and unquotes like a shell, but expands ``%`` and ``$`` everywhere.
"""

import re
from collections.abc import Iterable

_PLAIN = re.compile(r"[\w@+=:,./-]+", re.ASCII)


def quote_words(words: Iterable[str]) -> str:
    """Write a command line, for ``ExecStart=``."""
    return " ".join(quote(word.replace("$", "$$")) for word in words)


def quote_variable(name: str, value: str) -> str:
    """Write one variable, for ``Environment=``, where ``$`` is plain."""
    return quote(f"{name}={value}")


def quote(word: str) -> str:
    """Write one word, in quotes where it needs them."""
    text = word.replace("%", "%%")
    if _PLAIN.fullmatch(text):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
