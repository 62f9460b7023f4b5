import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from blazeio_supervisor.cli.serve import FOLDER_APP
from blazeio_supervisor.config.command_line import parse_app_path
from blazeio_supervisor.errors import ExitCode
from blazeio_supervisor.worker.import_app import (
    LoadError,
    describe_failure,
    enter_folder,
    find_other_server,
    load_app,
    run_script,
)


class App:
    """What the apps of these tests are."""


def is_app(found: object) -> bool:
    return type(found).__name__ == "App"


def adopt(found: object, name: str) -> object:
    if is_app(found):
        return found
    if callable(found):
        return None
    raise ValueError(f"{name} is of type {type(found).__name__!r}, and no App")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    path, modules, argv = list(sys.path), set(sys.modules), list(sys.argv)
    enter_folder(str(tmp_path))
    yield tmp_path
    sys.path[:], sys.argv[:] = path, argv
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def write(folder: Path, name: str, code: str) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(code)


def load(text: str) -> object:
    return load_app(parse_app_path(text), adopt)


def fail(text: str) -> LoadError:
    with pytest.raises(LoadError) as caught:
        load(text)
    return caught.value


@pytest.mark.parametrize(
    "text",
    ["some_web:web", "some_web:make", "some_web:Sites.main", "some_web:Sites.make"],
)
def test_an_app_or_a_factory_is_found_by_its_path(folder: Path, text: str) -> None:
    write(
        folder,
        "some_web.py",
        "class App: pass\n"
        "web = App()\n"
        "def make(): return App()\n"
        "class Sites:\n"
        "    main = web\n"
        "    make = staticmethod(make)\n",
    )
    assert is_app(load(text))


@pytest.mark.parametrize(
    "name",
    [FOLDER_APP, "blazeio_supervisor.worker.overrides:make_folder_app"],
)
def test_the_app_of_a_folder_is_found_by_each_name_that_a_service_may_have(
    folder: Path, name: str
) -> None:
    # It keeps the name of its start over each upgrade, until a reload needs it.
    assert FOLDER_APP == "blazeio_supervisor.api:make_folder_app"
    assert is_app(load_app(parse_app_path(name), adopt))


def test_where_a_factory_is_asked_for_an_app_is_none(folder: Path) -> None:
    code = "class App: pass\nweb = App()\nmake = App\n"
    write(folder, "some_choice.py", code)
    make, web = map(parse_app_path, ("some_choice:make", "some_choice:web"))
    assert is_app(load_app(make, adopt, is_factory=True))
    with pytest.raises(LoadError, match="is an app, and no function that makes one"):
        load_app(web, adopt, is_factory=True)


@pytest.mark.parametrize("name", ["app", "application", "web"])
def test_a_module_alone_is_looked_into_for_the_usual_names(
    folder: Path, name: str
) -> None:
    write(folder, f"some_alone_{name}.py", f"class App: pass\n{name} = App()\n")
    assert is_app(load(f"some_alone_{name}"))


def test_a_module_without_a_usual_name_is_told_what_it_holds(folder: Path) -> None:
    write(folder, "some_names.py", "class App: pass\nsite = App()\ndef make(): ...\n")
    assert fail("some_names").reason == (
        "module 'some_names' has no app, application or web: write "
        "`some_names:NAME`; it holds App, make"
    )


def test_a_module_in_a_package_is_found(folder: Path) -> None:
    write(folder, "some_site/__init__.py", "")
    write(folder, "some_site/web.py", "class App: pass\nweb = App()\n")
    assert is_app(load("some_site.web:web"))


@pytest.mark.parametrize("text", ["no_such_module:web", "some_pack.none:web"])
def test_a_missing_module_is_not_importable(folder: Path, text: str) -> None:
    write(folder, "some_pack/__init__.py", "")
    error = fail(text)
    assert error.code is ExitCode.NOT_IMPORTABLE
    assert error.reason.startswith("no module named ")
    assert str(folder) in error.reason
    assert not error.frames


def test_a_module_in_a_folder_beside_is_found(folder: Path) -> None:
    write(folder, "some_src/shop/main.py", "")
    write(folder, "some_src/shop/__init__.py", "")
    expected = f"; it is in some_src: --app-dir {os.path.relpath(folder / 'some_src')}"
    assert fail("shop.main:app").reason.endswith(expected)
    write(folder, "some_src/__init__.py", "")
    assert fail("shop:app").reason.endswith("; did you mean some_src.shop?")


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("some_shpo", "some_shop"), ("some_shop.view", "some_shop.views"), ("x", None)],
)
def test_a_module_of_nearly_that_name_is_suggested(
    folder: Path, typed: str, meant: str | None
) -> None:
    write(folder, "some_shop/__init__.py", "")
    write(folder, "some_shop/views.py", "")
    reason = fail(f"{typed}:app").reason
    assert reason.partition("; ")[2] == (f"did you mean {meant}?" if meant else "")


def test_a_relative_import_without_a_package_has_its_package_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    write(folder, "some_relative.py", "from . import views\napp = 1\n")
    assert fail("some_relative:app").reason.endswith(
        f"; an app in it is served as `{folder.name}.some_relative:app --app-dir ..`"
    )


@pytest.mark.parametrize(
    ("code", "call"),
    [
        ("import uvicorn\nuvicorn.run(1)", "uvicorn.run() in line 2"),
        ("app = 1\nif __name__ == '__main__':\n    app.run()", "app.run() in line 3"),
        ("from waitress import serve\nimport waitress\nwaitress.serve(1)", "line 3"),
    ],
)
def test_a_script_that_starts_another_server_is_not_run(
    folder: Path, code: str, call: str
) -> None:
    write(folder, "other.py", code)
    with pytest.raises(LoadError, match="a server of its own") as caught:
        run_script(parse_app_path(str(folder / "other.py")))
    assert call in caught.value.reason


@pytest.mark.parametrize(
    "code", ["web = 1\nweb.runner()\napp.run()", "app.run()", "def broken("]
)
def test_a_script_that_starts_none_is_let_be(folder: Path, code: str) -> None:
    write(folder, "own.py", code)
    assert find_other_server(str(folder / "own.py")) == ""


def test_a_missing_attribute_is_not_importable_and_the_app_is_suggested(
    folder: Path,
) -> None:
    write(folder, "some_typo.py", "class App: pass\nweb = App()\n")
    error = fail("some_typo:wbe")
    assert error.code is ExitCode.NOT_IMPORTABLE
    assert error.reason == (
        "module 'some_typo' has no attribute 'wbe': did you mean web?"
    )


def test_where_no_app_is_known_as_one_a_name_nearly_the_same_is_suggested(
    folder: Path,
) -> None:
    write(folder, "some_near.py", "def other(): pass\napplication = other\n")
    assert fail("some_near:applicati").reason.endswith(": did you mean application?")
    assert fail("some_near:web").reason.endswith("has no attribute 'web'")


@pytest.mark.parametrize(
    ("attribute", "reason"),
    [
        ("number", "some_other:number is of type 'int', and no App"),
        ("make", "what the factory some_other:make gave is of type 'int', and no App"),
    ],
)
def test_what_is_no_app_is_not_importable(
    folder: Path, attribute: str, reason: str
) -> None:
    write(folder, "some_other.py", "number = 1\ndef make(): return 1\n")
    error = fail(f"some_other:{attribute}")
    assert error.code is ExitCode.NOT_IMPORTABLE
    assert reason in error.reason


@pytest.mark.parametrize(
    ("name", "code", "last"),
    [
        ("raises", "def f():\n    1 / 0\nf()\n", "ZeroDivisionError: division by zero"),
        ("needs", "import no_such_thing\n", "No module named 'no_such_thing'"),
        ("exits", "import sys\nsys.exit('bye')\n", "SystemExit: bye"),
        ("syntax", "web = \n", "SyntaxError: invalid syntax"),
        ("silent", "raise ValueError\n", "ValueError"),
        (
            "unshowable",
            "class Odd(Exception):\n    def __str__(self): return self.no\nraise Odd\n",
            "Odd, whose text cannot be shown (AttributeError in __str__)",
        ),
        ("makes", "def web():\n    raise OSError('no')\n", "OSError: no"),
    ],
)
def test_an_app_that_raises_has_failed(
    folder: Path, name: str, code: str, last: str
) -> None:
    write(folder, f"some_{name}.py", code)
    error = fail(f"some_{name}:web")
    is_of_import = name != "makes"  # a factory begins what was imported well
    code_of = ExitCode.NOT_IMPORTABLE if is_of_import else ExitCode.APP_FAILED
    assert error.code is code_of
    assert last in error.reason
    assert "\n" not in error.reason
    assert last.partition(", whose")[0] in error.frames


def test_the_traceback_has_the_frames_of_the_app_only(folder: Path) -> None:
    write(folder, "some_deep.py", "import some_deeper\n")
    write(folder, "some_deeper.py", "def f():\n    raise ValueError('x')\nf()\n")
    frames = fail("some_deep:web").frames
    files = [line for line in frames.splitlines() if line.startswith("  File ")]
    assert ["some_deep" in line for line in files] == [True, True, True]


def test_an_endless_recursion_is_cut_short(folder: Path) -> None:
    write(folder, "some_loop.py", "def f(n):\n    g(n)\ndef g(n):\n    f(n)\nf(1)\n")
    assert len(fail("some_loop:web").frames.splitlines()) < 70


def test_a_long_error_still_fits_into_a_message(folder: Path) -> None:
    write(folder, "some_long.py", "raise ValueError('x' * 10**6 + '\\nsecond')\n")
    error = fail("some_long:web")
    assert len(error.reason) < 1_000
    assert len(error.frames) < 20_000
    assert "second" not in error.reason


def test_a_cause_is_shown_without_our_frames_too(folder: Path) -> None:
    code = "try:\n    1 / 0\nexcept ZeroDivisionError as e:\n    raise OSError from e\n"
    write(folder, "some_cause.py", code)
    frames = fail("some_cause:web").frames
    assert "ZeroDivisionError" in frames
    assert "importlib" not in frames


def test_where_the_app_failed_is_said(folder: Path) -> None:
    try:
        raise ValueError("x")
    except ValueError as error:
        reason = describe_failure(error, "the app failed").reason
    assert reason.startswith("the app failed: ValueError: x (")
    assert "test_importing.py:" in reason


def test_the_folder_of_the_app_comes_first_and_once(folder: Path) -> None:
    enter_folder(str(folder))
    assert sys.path[0] == str(folder)
    assert sys.path.count(str(folder)) == 1
    assert "" not in sys.path


def test_a_script_runs_as_main_with_its_folder_importable(folder: Path) -> None:
    write(folder, "scripts/some_beside.py", "value = 1\n")
    write(
        folder,
        "scripts/run.py",
        "import sys\nfrom some_beside import value\n"
        "assert __name__ == '__main__'\n"
        "raise KeyError(sys.argv, value)\n",
    )
    script = str(folder / "scripts/run.py")
    with pytest.raises(KeyError) as caught:
        run_script(parse_app_path(script))
    assert caught.value.args == ([script], 1)


def test_a_missing_script_is_not_importable(folder: Path) -> None:
    with pytest.raises(LoadError, match="no such file") as caught:
        run_script(parse_app_path(str(folder / "none.py")))
    assert caught.value.code is ExitCode.NOT_IMPORTABLE
