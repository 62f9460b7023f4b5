"""Follow documents, as the test does: ``python -m tests.documents.try PAGE...``.

``--newcomer`` follows them on a machine that has nothing yet, in ``~/trial``, and with
``--terminal`` in one; see ``tests/debian``.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.documents.blocks import iterate_blocks, name_page
from tests.documents.not_run import NOT_RUN
from tests.documents.page_run import Newcomer, PageRun
from tests.support.tree import REPOSITORY


def main() -> int:
    parser = argparse.ArgumentParser("python -m tests.documents.try")
    parser.add_argument("page", nargs="+")
    parser.add_argument("--newcomer", action="store_true")
    parser.add_argument("--terminal", action="store_true")
    options = parser.parse_args()
    has_failed = False
    for name in options.page:
        began_at = time.monotonic()
        with tempfile.TemporaryDirectory() as temporary:
            try:
                if options.newcomer:
                    newcomer = Newcomer(REPOSITORY, has_terminal=options.terminal)
                    folder = Path.home() / "trial" / Path(name).stem
                    follow(REPOSITORY / name, folder, newcomer)
                else:
                    follow(REPOSITORY / name, Path(temporary) / "work")
                print("ok", name, f"{time.monotonic() - began_at:.1f} s")
            except AssertionError as error:
                print("FAILED", name, error)
                has_failed = True
    return has_failed


def follow(path: Path, folder: Path, newcomer: Newcomer | None = None) -> None:
    folder.mkdir(parents=True)
    skipped: tuple[str, ...] = ()
    if newcomer is None:
        # Not for a newcomer: it imports what only tests have.
        from tests.documents.stand_ins import APP, MAIN

        (folder / "app.py").write_text(APP)
        (folder / "main.py").write_text(MAIN)
        skipped = tuple(each.start for each in NOT_RUN if each.page == name_page(path))
    run = PageRun(folder, newcomer)
    try:
        for block in iterate_blocks(path):
            if block.title is not None:
                run.write(block)
            elif block.language == "console":
                run.follow(block, skipped)
    finally:
        run.end()


if __name__ == "__main__":
    sys.exit(main())
