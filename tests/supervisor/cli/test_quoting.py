from collections.abc import Callable

import pytest

from blazeio_supervisor.cli.unit import (
    quote_command,
    quote_paths,
    quote_variable,
    quote_words,
    write_address,
    write_folder,
)
from blazeio_supervisor.errors import UsageError


@pytest.mark.parametrize(
    ("word", "written"),
    [
        ("app:web", "app:web"),
        ("--bind=[::1]:80", '"--bind=[::1]:80"'),
        ("a b", '"a b"'),
        ("", '""'),
        ("50%", '"50%%"'),
        ("$HOME", '"$$HOME"'),
        ('say "a\\b"', '"say \\"a\\\\b\\""'),
        ("a\nb", '"a\\nb"'),
        ("a\rb\x1b\tc\x7f", '"a\\rb\\x1b\\tc\\x7f"'),
        (";", '";"'),
        ("%i", '"%%i"'),
        ("\xe9", '"\xe9"'),
        ("a\u202eb\x85", '"a\\u202eb\\u0085"'),
        ("a\U000e0001", '"a\\U000e0001"'),
    ],
)
def test_a_word_is_one_word_again_when_systemd_reads_it(
    word: str, written: str
) -> None:
    assert quote_words([word, "x"]) == f"{written} x"


def test_in_a_variable_a_dollar_is_plain() -> None:
    assert quote_variable("A", "$b %c") == '"A=$b %%c"'


def test_the_path_of_a_program_is_no_place_for_variables() -> None:
    assert quote_command("/a b/$x%", ["$x"]) == '"/a b/$x%%" "$$x"'


def test_paths_have_plain_dollars() -> None:
    assert quote_paths(["-/a b$", "-/c%"]) == '"-/a b$" "-/c%%"'


def test_the_rest_of_a_line_is_taken_as_it_is() -> None:
    assert write_folder('/a "b" $c%i\\d') == '/a "b" $c%%i\\d'
    assert write_folder("/a ") == "/a /"
    assert write_folder("/a\\") == "/a\\/"
    assert write_address("[fe80::1%eth0]:80") == "[fe80::1%%eth0]:80"


END = "\nExecStartPre=/bin/evil"


@pytest.mark.parametrize(
    "write",
    [
        lambda text: quote_command(f"/a{text}", []),
        lambda text: quote_paths([f"-/a{text}"]),
        lambda text: write_folder(f"/a{text}"),
        lambda text: write_address(f"/a{text}"),
    ],
)
@pytest.mark.parametrize("end", [END, "\r", "\0", "\x1b[2J", "\udcff"])
def test_what_a_setting_cannot_hold_is_refused_in_one_line(
    write: Callable[[str], str], end: str
) -> None:
    with pytest.raises(UsageError, match="a unit takes no") as caught:
        write(end)
    assert str(caught.value).isprintable()


def test_what_else_systemd_takes_not_is_refused() -> None:
    for program in ('/a"b', "/a\\b", "/a'b"):
        with pytest.raises(UsageError, match="a unit takes no quotes"):
            quote_command(program, [])
    for path in ("/a ", "/a\\"):
        with pytest.raises(UsageError, match="no path of such an end"):
            write_address(path)
    for value in ("\r", "\x1b"):
        with pytest.raises(UsageError, match="control characters in a variable"):
            quote_variable("A", value)
    for word in ("\udcff", "\0"):
        with pytest.raises(UsageError, match="a unit takes no"):
            quote_words([word])


@pytest.mark.parametrize("character", ["\u202e", "\x9b", "\u2028", "\u200b"])
def test_a_path_shows_what_it_is(character: str) -> None:
    path = f"/a{character}b"
    for write in (write_folder, write_address, lambda each: quote_paths([each])):
        with pytest.raises(UsageError, match="cannot be seen"):
            write(path)
    with pytest.raises(UsageError, match="cannot be seen"):
        quote_command(path, [])
