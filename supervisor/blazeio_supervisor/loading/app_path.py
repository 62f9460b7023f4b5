"""The APP argument: ``module:attr`` or a script ending in ``.py``."""

from msgspec import Struct


class AppPath(Struct, frozen=True):
    """What to serve.

    Attributes:
        text: As the operator wrote it.
        module: Dotted name; "" for a script.
        attribute: Dotted path inside the module; "" for a script.
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
        if not text.endswith(".py"):
            raise ValueError(f"{text!r} is no APP: did you mean `{text}:web`?")
        return AppPath(text, script=text)
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
