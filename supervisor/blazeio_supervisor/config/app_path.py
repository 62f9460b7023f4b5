"""The APP argument: ``module:attribute``, a module alone, or a script ``*.py``."""

from msgspec import Struct

PROGRAM = "blazeio-supervisor"


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
