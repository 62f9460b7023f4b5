"""What stands in the head of every response."""

from dataclasses import dataclass

from blazeio.errors import ConfigurationError
from blazeio.protocol.options import HeaderConfig
from blazeio_supervisor.options.kinds.kind import Flag, Many
from blazeio_supervisor.options.kinds.texts import Parsed
from blazeio_supervisor.options.option import Section, option

Field = tuple[str, str]


def read_field(text: str) -> Field:
    """Read ``--header``.

    Raises:
        ValueError: It is no field, or one that each response has of its own.
    """
    name, colon, value = text.partition(":")
    if not colon:
        raise ValueError("expected NAME: VALUE")
    try:
        HeaderConfig(fields=((name, value.strip()),))
    except ConfigurationError as error:
        raise ValueError(str(error)) from None
    return name, value.strip()


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class Heads(Section):
    """Fields of every response."""

    title = "Response heads"

    headers: tuple[Field, ...] = option(
        Many(Parsed(read_field, "'NAME: VALUE'", ": ".join), "\n"),
        "A field of every response; where the app gives one of that name, its own "
        "counts. May be given several times.",
        default=(),
        default_text="none",
        key="header",
    )
    server_header: bool = option(
        Flag(), "Do not say Server: blazeio in each response.", default=True
    )
    date_header: bool = option(
        Flag(),
        "Do not say Date in each response, though RFC 9110 wants it of every server "
        "with a clock: whoever is in front does it.",
        default=True,
    )
