"""The APP argument: ``module:attr``, a module alone, or a script ending in ``.py``."""

import difflib

from msgspec import Struct


class AppPath(Struct, frozen=True):
    """What to serve.

    Attributes:
        text: As the operator wrote it.
        module: Dotted name; "" for a script.
        attribute: Dotted path inside the module; "" for a script, and where the
            module is named alone: then the usual names are looked for in it.
        script: Path of the script; "" for a module.
    """

    text: str
    module: str = ""
    attribute: str = ""
    script: str = ""


def is_app_path(word: str) -> bool:
    """Tell an APP from a verb: it has a colon or ends in ``.py``."""
    return ":" in word or word.endswith(".py")


def parse_app_path(text: str) -> AppPath:
    """Read an APP argument.

    Raises:
        ValueError: The operator's fault; the text says what is wrong.
    """
    if ":" not in text:
        if text.endswith(".py"):
            return AppPath(text, script=text)
        if all(part.isidentifier() for part in text.split(".")):
            return AppPath(text, module=text)
        raise ValueError(f"{text!r} is no APP: write `module:attribute`")
    module, _, attribute = text.partition(":")
    if module.endswith(".py"):
        dotted = module.removesuffix(".py").replace("/", ".").lstrip(".")
        raise ValueError(
            f"{text!r} mixes a file and an attribute: "
            f"write `{dotted}:{attribute}` or `{module}`"
        )
    for part in (*module.split("."), *attribute.split(".")):
        if not part.isidentifier():
            raise ValueError(
                f"{text!r} is not `module:attribute`: {part!r} is no Python name"
            )
    return AppPath(text, module=module, attribute=attribute)


# The verbs by name, one line each; known before anything of them is loaded.


PROGRAM = "blazeio-supervisor"

VERBS = {
    "status": "what runs: workers, their load, a reload under way",
    "top": "the same, live, with keys to order something",
    "stack": "where a worker is: its threads and tasks, also when it is blocked",
    "events": "what has happened; --follow: and what happens",
    "metrics": "the figures, as Prometheus reads them",
    "config": "every setting in force, and where it came from",
    "doctor": "what could be better here: kernel, limits, certificates",
    "reload": "load the code anew; --wait tells whether it worked",
    "scale": "have N workers, or +N more, or -N less",
    "recycle": "replace the worker of one slot, or all, with the same code",
    "park": "let nobody serve for a while; new connections wait",
    "resume": "serve again after `park`",
    "upgrade": "go on with the code of the supervisor that is installed now",
    "reopen-logs": "write to new log files, after the old ones were renamed",
    "stop": "answer what is in flight, then end; waits for that",
    "unit": "print a systemd unit for APP with its options; --install it",
    "check": "would APP start? settings, import, addresses; nothing runs",
}
"""What is done to a running service, instead of serving an app."""


# The APP word, and what was probably meant where it is none.


def read_app(word: str) -> AppPath:
    """Read the APP argument.

    Raises:
        ValueError: It is none; says what to write instead.
    """
    hint = "" if is_app_path(word) else _suggest_verb(word)
    if hint:
        what = "a verb" if word in VERBS else "neither an APP nor a verb"
        raise ValueError(f"{word!r} is {what}: {hint}")
    return parse_app_path(word)


def _suggest_verb(word: str) -> str:
    """Say what was probably meant; "" where it may be a module."""
    if word in VERBS:
        return f"the verb comes first, `{PROGRAM} {word} ...`"
    if word == "help":
        return f"write `{PROGRAM} --help`"
    near = difflib.get_close_matches(word, VERBS, 1)
    if near:
        return f"did you mean `{near[0]}`, or the app `{word}:web`?"
    if all(part.isidentifier() for part in word.split(".")):
        return ""
    return "write `module:attribute` or `script.py`"
