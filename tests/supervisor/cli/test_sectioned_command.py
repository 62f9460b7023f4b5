import click
from click.testing import CliRunner

from blazeio_supervisor.cli.serve import OptionGroup, SectionedCommand

COMMAND = SectionedCommand(
    usages=("[OPTIONS] APP", "VERB"),
    name="ship",
    sections=(
        OptionGroup("Sails", (click.Option(["--sails"], help="How many."),)),
        OptionGroup("Crew", (click.Option(["--cook"], help="Who cooks."),)),
    ),
    params=[click.Argument(["port"])],
    callback=lambda **given: click.echo(sorted(given.items())),
)


def test_the_help_lists_each_section_in_order_and_itself_last() -> None:
    lines = CliRunner().invoke(COMMAND, ["--help"]).output.splitlines()
    titles = [line for line in lines if line.endswith(":")]
    assert titles == ["Sails:", "Crew:", "Help:"]
    assert lines[lines.index("Crew:") + 1].split() == [
        "--cook",
        "TEXT",
        "Who",
        "cooks.",
    ]
    assert "[PORT]" not in " ".join(lines[1:])


def test_options_of_every_section_are_options_of_the_command() -> None:
    done = CliRunner().invoke(COMMAND, ["Dover", "--sails", "3"])
    assert "('port', 'Dover'), ('sails', '3')" in done.output
