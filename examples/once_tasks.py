"""A task that runs in one worker only, and one that runs by the clock.

blazeio-supervisor once_tasks:web --app-dir examples --workers 4
blazeio-supervisor status

Kill the worker that runs them, or reload: another one goes on within a second.
"""

import asyncio
import os
import time
from pathlib import Path

import blazeio as io

web = io.App("127.0.0.1", 8000)
JOURNAL = os.environ.get("JOURNAL", "journal.txt")


def note(text):
    """Append a line; several processes may do so at once."""
    with open(JOURNAL, "a") as file:
        file.write(f"{text} {os.getpid()} {time.monotonic()}\n")


@web.add_task(once=True, name="listen")
async def listen():
    """Such as a queue of jobs that must have one reader."""
    note("begin")
    try:
        await asyncio.Event().wait()
    finally:
        note("end")


@web.add_task(once=True, every="2s", name="tick")
async def tick():
    note("tick")


@web.route.get("/")
async def journal(r):
    await io.Deliver.text(r, await asyncio.to_thread(Path(JOURNAL).read_text))


if __name__ == "__main__":
    web.runner()
