"""Each room of the packages has its folder of tests.

Within it a test file is named for a behaviour (a state machine, a verb, a
header), not for a module.
"""

from tests.support.tree import PACKAGES, REPOSITORY

WITHOUT_TESTS: dict[str, str] = {}
"""Rooms that need no folder of their own, each with the reason."""


def iterate_rooms() -> list[tuple[str, str]]:
    """Pairs of a package's folder and where its tests are."""
    homes = {"blazeio": "tests", "blazeio_supervisor": "tests/supervisor"}
    return [
        (f"{folder}/{room.name}", f"{homes[package]}/{room.name}")
        for package, folder in PACKAGES.items()
        for room in sorted((REPOSITORY / folder).iterdir())
        if (room / "__init__.py").exists()
    ]


def test_each_room_has_its_folder_of_tests() -> None:
    rooms = iterate_rooms()
    assert len(rooms) > 10
    missing = [
        room
        for room, tests in rooms
        if room not in WITHOUT_TESTS
        and not list((REPOSITORY / tests).rglob("test_*.py"))
    ]
    assert not missing


def test_the_allow_list_holds_only_what_exists() -> None:
    assert not WITHOUT_TESTS.keys() - {room for room, _ in iterate_rooms()}
