"""The APP word, and what was probably meant where it is none."""

import difflib

from blazeio_supervisor.control.verbs.words import PROGRAM, VERBS
from blazeio_supervisor.loading.app_path import AppPath, is_app_path, parse_app_path


def read_app(word: str) -> AppPath:
    """Read the APP argument.

    Raises:
        ValueError: It is none; says what to write instead.
    """
    if not is_app_path(word):
        what = "a verb" if word in VERBS else "neither an APP nor a verb"
        raise ValueError(f"{word!r} is {what}: {_suggest_app(word)}")
    return parse_app_path(word)


def _suggest_app(word: str) -> str:
    if word in VERBS:
        return f"the verb comes first, `{PROGRAM} {word} ...`"
    if word == "help":
        return f"write `{PROGRAM} --help`"
    near = difflib.get_close_matches(word, VERBS, 1)
    if near:
        return f"did you mean `{near[0]}`, or the app `{word}:web`?"
    if all(part.isidentifier() for part in word.split(".")):
        return f"did you mean `{word}:web`?"
    return "write `module:attribute` or `script.py`"
