"""Follow one document, as the test does: ``python -m tests.documents.try PAGE``."""

import sys
import tempfile
from pathlib import Path

from tests.documents.blocks import iterate_blocks, name_page
from tests.documents.not_run import NOT_RUN
from tests.documents.page_run import PageRun
from tests.documents.stand_ins import APP, MAIN
from tests.support.tree import REPOSITORY

for name in sys.argv[1:]:
    path = REPOSITORY / name
    skipped = tuple(each.start for each in NOT_RUN if each.page == name_page(path))
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "work"
        folder.mkdir()
        (folder / "app.py").write_text(APP)
        (folder / "main.py").write_text(MAIN)
        run = PageRun(folder)
        try:
            for block in iterate_blocks(path):
                if block.title is not None:
                    run.write(block)
                elif block.language == "console":
                    run.follow(block, skipped)
            print("ok", name)
        except AssertionError as error:
            print("FAILED", name, error)
        finally:
            run.end()
