"""docs/reference/settings.md, made from the declaration: ``make docs``."""

from collections.abc import Iterator

from blazeio_supervisor.config.option import Change, Option
from blazeio_supervisor.config.settings import OPTIONS, SECTIONS
from blazeio_supervisor.config.types import Flag, Many

_INTRODUCTION = """\
# Settings of blazeio-supervisor

<!-- Made by `make docs` from blazeio_supervisor/config; do not edit. -->

Every setting has one name in three places. The first of these wins:

| place | how `--drain-idle` is written there |
|---|---|
| command line | `--drain-idle 5` |
| environment | `BLAZEIO_DRAIN_IDLE=5`; an empty variable is ignored. `WEB_CONCURRENCY` stands for `BLAZEIO_WORKERS`, which wins over it |
| TOML file | `drain_idle = 5`, at the top of the file of `--config` (or `BLAZEIO_CONFIG`), else of `blazeio.toml`, else in `[tool.blazeio]` of `pyproject.toml`, both in the working directory; with `--no-config` of none |

```toml
# blazeio.toml: `blazeio-supervisor` needs no argument then
app = "app:web"
bind = ["127.0.0.1:8000", "unix:/run/app.sock"]
workers = 8
max_memory = "512M"
access_log = "-"
```

A switch is `--preload` or `--no-preload`, `BLAZEIO_PRELOAD=1` or `0`, `preload = true` or `false`. Options that may be given several times are lists in the file; in the environment their values are separated by spaces, those of `--header`, `--env`, `--reload-dir` and `--reload-include` by newlines. Relative paths start from the working directory, wherever the file is.

A key that does not exist, a value of the wrong type and one that is out of bounds end the program with exit code 2 and one line that names the file, the key, what is expected and what was there. An invalid `pyproject.toml` ends it as well, since it may hold settings; `--no-config` ignores it. `blazeio-supervisor --print-config` prints what is in force as such a file, with the origin of each value.

A **reload** reads the file again (the command line and the environment stay as they were). What is marked *restart* below keeps its old value until the service is restarted; the log names it (`event=needs_restart`), and so does `reload --wait`. When the file cannot be read by then, the reload fails in one line, and the old code goes on with the old settings.
"""
_LEFT_OUT = """\
## What there is not, and why

| not there | why |
|---|---|
| daemonizing (`--daemon`) | who starts a service also watches it: systemd, a container engine, a terminal. A process that goes into the background by itself loses its exit code, its log and its start order |
| gevent and other worker classes | one worker is one event loop on one core, and the threads of a WSGI app. What blocks belongs into `asyncio.to_thread`, and more load into more workers |
| settings files in Python | a file that is run can fail, hang or differ in ways that nobody sees before it is deployed; a master that may be root should run nobody's code. What must be computed goes into the environment |
| statsd | numbers that are pushed are lost while nobody listens, and cannot be summed again after a restart. Metrics are there to be asked for; [an example](../how-to/logs.md) sends them on |
"""


def iterate_lines() -> Iterator[str]:
    """Iterate over the lines of the document."""
    yield _INTRODUCTION
    for section in SECTIONS:
        yield f"## {section.title.partition(' (')[0]}\n"
        yield "| option | default | changes at | meaning |"
        yield "|---|---|---|---|"
        for option in OPTIONS:
            if option.section == section.title:
                yield _format_row(option)
        yield ""
    yield _LEFT_OUT.rstrip("\n")


def _format_row(option: Option) -> str:
    cells = [
        _format_name(option),
        _format_default(option),
        "a reload" if option.change is Change.RELOAD else "*restart*",
        option.help,
    ]
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _format_default(option: Option) -> str:
    if isinstance(option.kind, Flag) and option.default is not None:
        return f"`{option.key} = {str(option.default).lower()}`"
    return option.shown_default or "required"


def _format_name(option: Option) -> str:
    if option.is_argument:
        return f"`{option.flag}` (`{option.key}`)"
    if isinstance(option.kind, Flag) and not option.is_denial:
        return f"`{option.listed_flag}`"
    more = " ..." if isinstance(option.kind, Many) else ""
    name = f"{option.flag} {option.kind.metavar}".rstrip()
    return f"`{name}`{more}"


def write_settings() -> str:
    """Write the document."""
    return "\n".join(iterate_lines()) + "\n"
