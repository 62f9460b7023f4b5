"""What newcomers do wrong: one line names it and what to do, and the exit code fits.

What goes wrong while a request is answered is in ``tests/answers/test_mistakes.py``,
what a type checker finds in ``tests/test_types_of_users.py``, the stranger called
``blazeio`` in ``tests/test_wheel.py``.
"""

import os
import socket
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.live import run_to_exit
from tests.support.tls_peer import Certificates
from tests.support.variations import vary

pytestmark = pytest.mark.slow
GOOD = """
import blazeio as io

web = io.App("127.0.0.1", 0)

@web.route.get("/")
async def hello(r):
    await io.Deliver.text(r, "hello")
"""
USAGE, APP_FAILED, NOT_IMPORTABLE, CANNOT_BIND, NO_SERVICE = 2, 3, 4, 5, 6


@dataclass(frozen=True)
class Mistake:
    """Something that is typed, and what it gets.

    Attributes:
        typed: Behind ``blazeio-supervisor``.
        code: The exit code.
        said: Parts of one line.
        app: ``app.py``.
        files: Others.
        env: Variables.
    """

    typed: str
    code: int
    said: tuple[str, ...]
    app: str = GOOD
    files: dict[str, str] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)


MISTAKES = {
    # What is served
    "no app is named": Mistake("", USAGE, ("APP is missing: write", "module:")),
    "a wrong module": Mistake(
        "ap:web", NOT_IMPORTABLE, ("no module named 'ap' in ", "(--app-dir)")
    ),
    "a wrong attribute": Mistake(
        "app:app", NOT_IMPORTABLE, ("no attribute 'app'", "did you mean web?")
    ),
    "no app in the module": Mistake(
        "app", NOT_IMPORTABLE, ("has no app, application or web", "`app:NAME`"), "x = 1"
    ),
    "something that is no app": Mistake(
        "app:io", NOT_IMPORTABLE, ("is of type 'module': expected an App, an ASGI",)
    ),
    "a file and an attribute": Mistake(
        "app.py:web", USAGE, ("mixes a file and an attribute: write `app:web`",)
    ),
    "a path instead of a module": Mistake(
        "src/app:web", USAGE, ("'src/app' is not a Python name",)
    ),
    "a script that is not there": Mistake(
        "nothing.py", NOT_IMPORTABLE, ("no such file: nothing.py (looked in ",)
    ),
    "a module below src": Mistake(
        "shop.main:app",
        NOT_IMPORTABLE,
        ("no module named 'shop' in ", "; it is in src: --app-dir src"),
        files={"src/shop/__init__.py": "", "src/shop/main.py": "app = 1"},
    ),
    "a module in a package": Mistake(
        "main:web",
        NOT_IMPORTABLE,
        ("no module named 'main' in ", "; did you mean shop.main?"),
        files={"shop/__init__.py": "", "shop/main.py": GOOD},
    ),
    "a module that is imported from its own folder": Mistake(
        "main:web --app-dir shop",
        NOT_IMPORTABLE,
        ("relative import", "; an app in it is served as `shop.main:web`"),
        files={"shop/main.py": "from . import views\nweb = 1", "shop/views.py": ""},
    ),
    "a script with relative imports": Mistake(
        "src/shop/main.py",
        NOT_IMPORTABLE,
        (
            "relative import",
            "; an app in it is served as `shop.main:app --app-dir src`",
        ),
        files={
            "src/shop/__init__.py": "",
            "src/shop/main.py": "from . import views\napp: object = 1",
        },
    ),
    "a script that serves nothing": Mistake(
        "main.py",
        NOT_IMPORTABLE,
        ("without calling web.runner(); an app in it is served as `main:app`",),
        files={"main.py": "app = 1"},
    ),
    "a script for uvicorn": Mistake(
        "main.py",
        NOT_IMPORTABLE,
        ("starts a server of its own: uvicorn.run() in line 4", "`main:app`"),
        files={
            "main.py": "import uvicorn\napp = 1\nif __name__ == '__main__':\n"
            "    uvicorn.run(app, port=8001)\n"
        },
    ),
    "a script for Flask's own server": Mistake(
        "main.py",
        NOT_IMPORTABLE,
        ("starts a server of its own: application.run() in line 2", "`main:appl"),
        files={"main.py": "application = 1\napplication.run(debug=True)\n"},
    ),
    "an app in another folder": Mistake(
        "app:web --app-dir src", USAGE, ("--app-dir src: no such folder",)
    ),
    "a folder that is not there": Mistake(
        "app:web --chdir nowhere", USAGE, ("--chdir nowhere: no such folder",)
    ),
    # What the app does
    "a package that is not installed": Mistake(
        "app:web",
        NOT_IMPORTABLE,
        ("No module named 'no_such_package' (app.py:1)", "is it installed in /"),
        "import no_such_package",
    ),
    "a syntax error": Mistake(
        "app:web",
        NOT_IMPORTABLE,
        ("SyntaxError: ", "(app.py, line 1)"),
        "def broken(:",
    ),
    "an import in a circle": Mistake(
        "app:web",
        NOT_IMPORTABLE,
        ("cannot import name 'web' from partially initialized", "circular import"),
        "import models",
        {"models.py": "from app import web"},
    ),
    "a variable that is not set": Mistake(
        "app:web",
        NOT_IMPORTABLE,
        (
            "KeyError: 'SHOP_KEY' (app.py:2)",
            "--env NAME=VALUE, or a file by --env-file",
        ),
        "import os\nKEY = os.environ['SHOP_KEY']",
    ),
    "a .env that is not there": Mistake(
        "app:web --env-file .env", USAGE, ("--env-file .env: No such file",)
    ),
    "a handler without async": Mistake(
        "app:web",
        NOT_IMPORTABLE,
        ("app.hello", "must be defined with `async def` (app.py:6)"),
        GOOD.replace("async def", "def").replace("await ", ""),
    ),
    "a handler without r": Mistake(
        "app:web",
        NOT_IMPORTABLE,
        ("is called with r: write `async def hello(r)`",),
        GOOD.replace("hello(r)", "hello()"),
    ),
    "a path as in Flask": Mistake(
        "app:web",
        NOT_IMPORTABLE,
        ("write {name:int} instead of <int:name>",),
        GOOD.replace('"/"', '"/<int:name>"'),
    ),
    "two handlers for one path": Mistake(
        "app:web",
        NOT_IMPORTABLE,
        ("collides with",),
        GOOD + '\n@web.route.get("/")\nasync def again(r): ...\n',
    ),
    "runner() at the top": Mistake(
        "app:web",
        NOT_IMPORTABLE,
        ("put it under `if __name__ == '__main__':`",),
        GOOD + "\nweb.runner()\n",
    ),
    "exit() while it is imported": Mistake(
        "app:web",
        NOT_IMPORTABLE,
        ("SystemExit: 3 (app.py:1)",),
        "raise SystemExit(3)",
    ),
    "a hook that fails": Mistake(
        "app:web",
        APP_FAILED,
        ("app:web failed to start: RuntimeError: no database at db:5432 (app.py:",),
        GOOD
        + "\n@web.on_start\nasync def connect():\n"
        + "    raise RuntimeError('no database at db:5432')\n",
    ),
    "a factory with arguments": Mistake(
        "app:make --factory",
        APP_FAILED,
        ("the factory app:make raised: TypeError: make() missing 1 required",),
        GOOD + "\ndef make(settings): return web\n",
    ),
    "an extra that is not installed": Mistake(
        "app:web",
        NOT_IMPORTABLE,
        ("Templates needs Jinja2: pip install jinja2",),
        "import sys\nsys.modules['jinja2'] = None\n"
        + GOOD
        + "\npages = io.Templates('templates')\n",
    ),
    # Options
    "an option with a slip": Mistake(
        "app:web --wokers 2", USAGE, ("'--wokers'. Did you mean '--workers'?",)
    ),
    "an option in capitals": Mistake(
        "app:web --WORKERS 2", USAGE, ("'--WORKERS'. Did you mean '--workers'?",)
    ),
    "an option with _": Mistake(
        "app:web --max_memory 1G", USAGE, ("Did you mean '--max-memory'?",)
    ),
    "a value that is none": Mistake(
        "app:web --workers two", USAGE, ("--workers two: expected 1 to 256, or auto",)
    ),
    "a size without a unit that is known": Mistake(
        "app:web --max-memory 1X", USAGE, ("--max-memory 1X: expected",)
    ),
    "a verb with a slip": Mistake(
        "stat", USAGE, ("is neither an APP nor a verb: did you mean `status`",)
    ),
    "a user who is not there": Mistake(
        "app:web --user nosuchuser", USAGE, ("--user nosuchuser: no such user",)
    ),
    "a verb to nobody": Mistake(
        "status --instance nosuchservice",
        NO_SERVICE,
        ("no service is ", "nosuchservice"),
    ),
    # Files and variables
    "a key with a slip": Mistake(
        "app:web",
        USAGE,
        ("blazeio.toml: unknown key 'wokers': did you mean 'workers'?",),
        files={"blazeio.toml": "wokers = 2\n"},
    ),
    "a key in capitals": Mistake(
        "app:web",
        USAGE,
        ("blazeio.toml: unknown key 'WORKERS': did you mean 'workers'?",),
        files={"blazeio.toml": "WORKERS = 2\n"},
    ),
    "a file that is no TOML": Mistake(
        "app:web",
        USAGE,
        ("blazeio.toml: this is not TOML: ", "line 1"),
        files={"blazeio.toml": "workers = \n"},
    ),
    "a variable with a bad value": Mistake(
        "app:web",
        USAGE,
        ("BLAZEIO_WORKERS=many", "expected 1 to 256, or auto"),
        env={"BLAZEIO_WORKERS": "many"},
    ),
    # Addresses and TLS
    "an address without a port": Mistake(
        "app:web --bind localhost", USAGE, ("no port: write `localhost:8000`",)
    ),
    "an address of another machine": Mistake(
        "app:web --bind 192.0.2.1:8000",
        CANNOT_BIND,
        ("cannot bind http://", "192.0.2.1:8000: ", "no interface of this"),
    ),
    "a port in use": Mistake(
        "app:web --bind 127.0.0.1:{taken}",
        CANNOT_BIND,
        ("http://127.0.0.1:{taken} is in use by pid {own} ",),
    ),
    "a certificate that is not there": Mistake(
        "app:web --certfile none.pem --keyfile none.pem",
        USAGE,
        ("TLS certfile none.pem: no such file",),
    ),
    "the key of another certificate": Mistake(
        "app:web --certfile {cert} --keyfile {other}",
        USAGE,
        ("TLS keyfile ", "is not the key of the first certificate in"),
    ),
}
USUAL = ("a wrong attribute", "an option with a slip", "a port in use")


@vary("name", [*USUAL, *(each for each in MISTAKES if each not in USUAL)], usual=3)
def test_one_line_is_enough(name: str, tmp_path: Path) -> None:
    mistake = MISTAKES[name]
    (tmp_path / "app.py").write_text(mistake.app)
    for file, text in mistake.files.items():
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(text)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        places = {"taken": str(taken.getsockname()[1]), "own": str(os.getpid())}
        if "{cert}" in mistake.typed:
            places |= make_certificates(tmp_path)
        done = run_to_exit(
            ["blazeio-supervisor", *mistake.typed.format(**places).split()],
            cwd=tmp_path,
            env=mistake.env,
        )
    assert done.returncode == mistake.code, done.stderr
    said = [part.format(**places) if "{own}" in part else part for part in mistake.said]
    lines = done.stderr.splitlines()
    assert any(all(part in line for part in said) for line in lines), done.stderr


def make_certificates(folder: Path) -> dict[str, str]:
    made = Certificates(folder)
    return {"cert": str(made.issue("one")), "other": str(made.issue("two"))}


def test_there_are_enough_of_them() -> None:
    assert len(MISTAKES) >= 30
