"""Options in sections: a list of forty is not read by who is in a hurry."""

from dataclasses import dataclass
from typing import Any

import click


@dataclass(frozen=True, slots=True)
class Listing:
    """Options that are listed together.

    Attributes:
        title: Stands above them in ``--help``.
        options: In the order in which they are listed.
    """

    title: str
    options: tuple[click.Option, ...]


class SectionedCommand(click.Command):
    """A command whose ``--help`` shows its options by section.

    Args:
        sections: All options of its own; what click adds comes last.
        usages: The ways to call it, without its name; empty: as click has it.
        settings: See ``click.Command``.
    """

    def __init__(
        self,
        *,
        sections: tuple[Listing, ...],
        usages: tuple[str, ...] = (),
        **settings: Any,
    ) -> None:
        options = [option for section in sections for option in section.options]
        params = [*settings.pop("params", []), *options]
        super().__init__(params=params, **settings)
        self._sections = sections
        self._usages = usages

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write each way on a line."""
        if not self._usages:
            super().format_usage(ctx, formatter)
            return
        first, *others = self._usages
        formatter.write_usage(ctx.command_path, first)
        for usage in others:
            formatter.write_usage(ctx.command_path, usage, prefix=" " * 7)

    def format_options(
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        """Write the options by section."""
        listed = {id(o) for section in self._sections for o in section.options}
        others = [
            param
            for param in self.get_params(ctx)
            if isinstance(param, click.Option) and id(param) not in listed
        ]
        for title, params in [
            *((section.title, section.options) for section in self._sections),
            ("Help", others),
        ]:
            records = [param.get_help_record(ctx) for param in params]
            with formatter.section(title):
                formatter.write_dl([record for record in records if record])
