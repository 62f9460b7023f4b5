"""All verbs as one command; each is loaded when it is called."""

from importlib import import_module

import click

from blazeio_supervisor.control.verbs.words import VERBS

MODULES = {
    "status": ".looking",
    "top": ".looking",
    "stack": ".looking",
    "events": ".following",
    "metrics": ".looking",
    "config": ".looking",
    "doctor": ".diagnosing",
    "reload": ".ordering",
    "scale": ".ordering",
    "recycle": ".ordering",
    "park": ".ordering",
    "resume": ".ordering",
    "upgrade": ".ordering",
    "reopen-logs": ".ordering",
    "stop": ".ordering",
    "unit": "...options.unit.unit_command",
    "check": "...options.checking",
}
"""In which module, as seen from here, each verb is a function of its name."""


class Verbs(click.Group):
    """What is done to a running service."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """List them as the help does."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load one."""
        if cmd_name not in MODULES:
            return None
        module = import_module(MODULES[cmd_name], __package__)
        command: click.Command = getattr(module, cmd_name.replace("-", "_"))
        return command


verbs = Verbs("verbs")
"""``blazeio-supervisor VERB``."""
