"""One app of the table: what it is, and what holds for it at every step."""

from dataclasses import dataclass, field

BASE = """
import asyncio, os, sys, threading, time
import blazeio as io

web = io.App("127.0.0.1", 0)

@web.add_route
async def pid(r, route="/"):
    await io.Deliver.text(r, str(os.getpid()))

@web.add_route
async def ask(r, route="/answer"):
    await io.Deliver.text(r, str(await answer(int(r.query))))

async def in_thread(function, *values):
    return await asyncio.to_thread(function, *values)
"""
"""Stands before each app, which defines ``answer``: the square of a number."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One app.

    Attributes:
        name: Of the test.
        code: Follows ``BASE``; defines ``async def answer(n)``, which gives ``n * n``.
        options: Of the service, beside the usual ones.
        app: The APP argument.
        says: Regular expressions that its log has at the end.
        never_says: Those that it does not have.
        is_shared: Its import is forked into the workers.
        exit_code: Of the master at the end.
        prefix: Words before the command: who starts it.
        files: Others beside the app, by name.
        env: Of the service.
        asks: Other paths that are asked after the first load, with the status of each.
        last: A path that is asked just before the stop, and never answers.
        may_say: Of what no log should have, what this one may.
        failures: How many workers it loses by itself.
        is_quick: It runs by default; the others are marked ``long``.
    """

    name: str
    code: str
    options: tuple[str, ...] = ()
    app: str = "app:web"
    says: tuple[str, ...] = ()
    never_says: tuple[str, ...] = ()
    is_shared: bool = True
    exit_code: int = 0
    prefix: tuple[str, ...] = ()
    files: dict[str, str] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)
    asks: tuple[tuple[str, int], ...] = ()
    last: str = ""
    may_say: tuple[str, ...] = ()
    failures: int = 0
    is_quick: bool = False
