"""``import blazeio as io``: what it makes, and when."""

import pytest

import blazeio as io
from blazeio.app.app import App
from tests.support.live import run_to_exit


def run_python(source: str) -> str:
    done = run_to_exit(["python", "-W", "error", "-c", source])
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


@pytest.mark.slow
def test_the_loop_is_made_on_first_use_and_is_one() -> None:
    assert run_python(
        "import asyncio, blazeio as io\n"
        "from blazeio.protocol.process import has_loop\n"
        "assert not has_loop()\n"
        "loop = io.loop\n"
        "assert loop is io.loop and has_loop()\n"
        "import Blazeio\n"
        "assert Blazeio.loop is loop\n"
        "print(loop.run_until_complete(asyncio.sleep(0, 'ran')))\n"
        "loop.close()"
    ).endswith("ran")


@pytest.mark.slow
def test_a_star_import_makes_no_loop() -> None:
    assert run_python(
        "from Blazeio import *\n"
        "from blazeio.protocol.process import has_loop\n"
        "print(App.__name__, has_loop())"
    ).endswith("App False")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["uvloop", "asyncio"])
def test_the_kind_of_loop_is_chosen_before(name: str) -> None:
    printed = run_python(
        f"import blazeio as io\nio.use_loop({name!r})\n"
        "print(type(io.loop).__module__)\nio.loop.close()"
    )
    assert printed.startswith(name)


def test_a_name_that_does_not_exist_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'blazeio' has no attribute 'x'"):
        io.x  # type: ignore[attr-defined]  # noqa: B018


def test_what_is_offered_is_what_the_rooms_have() -> None:
    assert io.App is App
    assert sorted(io.__all__) == io.__all__
    assert all(hasattr(io, name) for name in io.__all__)


@pytest.mark.slow
def test_all_is_loaded_at_the_first_use_and_not_before() -> None:
    """A master needs no client; a handler imports nothing."""
    assert (
        run_python(
            "import sys, blazeio as io, blazeio.errors\n"
            "names = ('blazeio.app.app', 'blazeio.client.session')\n"
            "print([name in sys.modules for name in names])\n"
            "io.App\n"
            "print([name in sys.modules for name in names], 'Session' in vars(io))"
        )
        == "[False, False]\n[True, True] True"
    )


def test_it_lists_what_it_offers() -> None:
    assert set(io.__all__) <= set(dir(io))
