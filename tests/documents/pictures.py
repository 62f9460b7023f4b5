"""The picture of ``top`` in README: ``python -m tests.documents.pictures``.

It is taken of a real service under a real load, and written by rich as an SVG, without
the web font that rich's own template loads from another host.
"""

import io
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI

from blazeio_supervisor.cli.client import ControlClient, find_service
from blazeio_supervisor.cli.top import TopSession, paint
from blazeio_supervisor.ipc.control_api import STATUS
from tests.documents.stand_ins import APP
from tests.support.clock import block_until
from tests.support.tree import REPOSITORY

PICTURE = REPOSITORY / "docs" / "pictures" / "top.svg"
WIDTH, HEIGHT = 110, 15
LOOK_EVERY_S = 2.0
WORKERS = 4


def take(folder: Path) -> str:
    """Serve an app, load it, and return the screen of ``top`` as an SVG."""
    (folder / "app.py").write_text(APP)
    control = folder / "control.sock"
    command: list[str | Path] = [
        *(Path(sys.executable).with_name("blazeio-supervisor"), "app:web"),
        *("--workers", str(WORKERS), "--bind", "127.0.0.1:8000", "--control", control),
    ]
    with subprocess.Popen(command, cwd=folder, stderr=subprocess.DEVNULL) as service:
        try:
            return _look(str(control))
        finally:
            service.send_signal(signal.SIGTERM)


def _look(control: str) -> str:
    block_until(lambda: Path(control).exists(), 20, "the control socket")
    client = find_service(control, None)
    block_until(lambda: _count_serving(client) == WORKERS, 20, "every worker to serve")
    session = TopSession(client, LOOK_EVERY_S)
    load = threading.Thread(target=_load)
    load.start()
    for _ in range(4):
        time.sleep(LOOK_EVERY_S)
        session.look()
    console = Console(
        record=True, width=WIDTH, file=io.StringIO(), color_system="truecolor"
    )
    console.print(paint(session.draw(WIDTH, HEIGHT)))
    load.join()
    return strip_fonts(
        console.export_svg(title="blazeio-supervisor top", theme=MONOKAI)
    )


def _count_serving(client: ControlClient) -> int:
    return sum(each.state == "serving" for each in client.ask(STATUS).workers)


def _load() -> None:
    words = ["wrk", "-t1", "-c32", "-d9", "http://127.0.0.1:8000/"]
    subprocess.run(words, stdout=subprocess.DEVNULL, check=True)


def strip_fonts(svg: str) -> str:
    """Remove the fonts that would be loaded from another host, and a comment."""
    svg = re.sub(r"\s*<!--.*?-->", "", svg, flags=re.DOTALL)
    return re.sub(
        r"\s*@font-face \{.*?\}\s*(?=[@.])", "\n    ", svg, flags=re.DOTALL
    ).replace("Fira Code", "ui-monospace")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        PICTURE.parent.mkdir(exist_ok=True)
        PICTURE.write_text(take(Path(temporary)))
    print(f"written: {PICTURE.relative_to(REPOSITORY)}")
