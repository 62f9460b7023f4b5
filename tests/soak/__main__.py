"""``make soak``: long scenarios against a real supervisor, with strict clients.

    python -m tests.soak                       # all of them, in full: an hour or two
    python -m tests.soak --short               # all of them, briefly
    python -m tests.soak --only kills --json   # one

A scenario does something to a service and then says what it saw of each
invariant. A failed invariant makes the exit code 1, and the folder with the
log of the service is kept and named.
"""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.soak.report import format_json, format_table
from tests.soak.run import Check, Run, Scenario
from tests.soak.scenarios import SCENARIOS


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse_options(arguments)
    if options.list:
        for each in SCENARIOS:
            print(f"{each.name:16} {each.what}")
        return 0
    checks: list[Check] = []
    for scenario in options.scenarios:
        checks += perform(scenario, is_short=options.short)
    print(format_json(checks) if options.json else format_table(checks))
    return 0 if all(each.holds for each in checks) else 1


def parse_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options, with ``scenarios`` as chosen by ``--only``."""
    names = [each.name for each in SCENARIOS]
    parser = argparse.ArgumentParser(
        "python -m tests.soak",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--only", action="append", choices=names, metavar="NAME", help="repeatable"
    )
    parser.add_argument("--short", action="store_true", help="small numbers")
    parser.add_argument("--json", action="store_true", help="JSON instead of a table")
    parser.add_argument("--list", action="store_true", help="the scenarios, and end")
    options = parser.parse_args(arguments)
    chosen = options.only or names
    options.scenarios = [each for each in SCENARIOS if each.name in chosen]
    return options


def perform(scenario: Scenario, *, is_short: bool) -> list[Check]:
    """Run one; what it checked, and whether it came to its end."""
    folder = Path(tempfile.mkdtemp(prefix=f"soak-{scenario.name}-"))
    run = Run(scenario.name, folder, is_short=is_short)
    try:
        scenario.act(run)
    except (AssertionError, OSError, TimeoutError) as error:
        first, *_ = str(error).splitlines() or [""]
        run.check(
            "it comes to its end", f"{type(error).__name__}: {first}", holds=False
        )
    has_failed = [each for each in run.checks if not each.holds]
    print(
        f"\r{scenario.name}: {'FAILED, see ' + str(folder) if has_failed else 'ok':70}",
        file=sys.stderr,
    )
    if not has_failed:
        shutil.rmtree(folder)
    return run.checks


if __name__ == "__main__":
    sys.exit(main())
