"""What the environment says: ``BLAZEIO_`` and the option's name, for each."""

import difflib
from collections.abc import Iterable, Mapping

from blazeio_supervisor.options.option import PREFIX, Option
from blazeio_supervisor.options.sources.given import Given, read_given

OTHER_VARIABLES = {"workers": "WEB_CONCURRENCY"}
"""What platforms set; ours win over them."""
_NEARNESS = 0.8


def read_environment(
    options: Iterable[Option], environ: Mapping[str, str]
) -> dict[str, Given]:
    """Read every variable that is set and not empty, by field.

    Raises:
        UsageError: A value cannot be.
    """
    given = {}
    for option in options:
        for variable in (option.variable, OTHER_VARIABLES.get(option.field, "")):
            text = environ.get(variable, "")
            if text and option.field not in given:
                label = variable if option.is_secret else f"{variable}={text}"
                read = option.kind.read_variable
                given[option.field] = read_given(read, text, variable, label)
    return given


def find_misspelt(
    options: Iterable[Option], environ: Mapping[str, str]
) -> dict[str, str]:
    """Find variables that are nearly ours, with what was probably meant.

    Those that are far from any are left alone: a container platform names
    variables after its services, and one may be called blazeio.
    """
    ours = [option.variable for option in options]
    strangers = [name for name in environ if name.startswith(PREFIX)]
    found = {}
    for name in sorted(set(strangers) - set(ours)):
        near = difflib.get_close_matches(name, ours, 1, _NEARNESS)
        if near:
            found[name] = near[0]
    return found
