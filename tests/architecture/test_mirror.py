"""Each module has its test file, each such test file its module."""

from pathlib import PurePosixPath

from tests.support.tree import REPOSITORY, Module, iterate_modules

WITHOUT_TEST: dict[str, str] = {}
"""Modules that need no test file of their own, each with the reason."""
WITHOUT_MODULE: dict[str, str] = {
    "tests/client/test_httpbin.py": "of session.py: a foreign server",
    "tests/protocol/test_backpressure.py": "of server.py: who is faster waits",
    "tests/protocol/test_disconnects.py": "of server.py: the client goes away",
    "tests/protocol/test_reading.py": "of payload.py, whose own file tests writing",
}
"""Test files inside a mirrored room that test no single module, likewise."""
OTHER_FOLDERS = {
    "architecture",  # the code itself
    "bench",  # not collected
    "deploy",  # images, manifests, proxies
    "conformance",  # by section of an RFC
    "examples",  # by example program
    "fuzz",  # not collected
    "process",  # real processes
    "property",  # by law
    "simulation",  # the fleet's histories
    "soak",  # not collected
    "support",  # the fakes
    "systemd",  # a real one
}
"""Folders of tests that mirror no room."""


def place_of_test(module: Module) -> PurePosixPath:
    """``blazeio/wire/parser.py`` -> ``tests/wire/test_parser.py``."""
    package, *folders, name = module.place.with_suffix("").parts
    if package == "supervisor":
        folders = ["supervisor", *folders[1:]]
    return PurePosixPath("tests", *folders, f"test_{name.strip('_')}.py")


MODULES = [each for each in iterate_modules() if each.path.name != "__init__.py"]


def test_each_module_has_its_test_file() -> None:
    missing = {
        str(each.place): str(place_of_test(each))
        for each in MODULES
        if each.name not in WITHOUT_TEST
        and not (REPOSITORY / place_of_test(each)).exists()
    }
    assert not missing


def test_each_test_file_has_its_module() -> None:
    expected = {str(place_of_test(each)) for each in MODULES}
    strays = [
        str(place)
        for path in sorted((REPOSITORY / "tests").rglob("test_*.py"))
        if (place := path.relative_to(REPOSITORY)).parts[1] not in OTHER_FOLDERS
        and str(place) not in expected
        and str(place) not in WITHOUT_MODULE
    ]
    assert not strays


def test_the_allow_lists_hold_only_what_exists() -> None:
    names = {each.name for each in MODULES}
    assert not WITHOUT_TEST.keys() - names
    assert not [each for each in WITHOUT_MODULE if not (REPOSITORY / each).exists()]
