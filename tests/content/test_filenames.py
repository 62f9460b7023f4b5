import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blazeio.content.parsers import (
    LONGEST_BYTES,
    NAMELESS,
    decode_extended,
    make_safe,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("utf-8''f%C3%BCr%20dich.txt", "für dich.txt"),
        ("UTF-8'de'a", "a"),
        ("iso-8859-1''f%FCr", "für"),
        ("utf-8''%ff", "\ufffd"),
        ("utf-8''%zz", "%zz"),
        ("utf-8''", ""),
        ("utf-8''a b", None),
        ("utf-7''a", None),
        ("a", None),
        ("", None),
    ],
)
def test_an_extended_name_is_decoded(text: str, expected: str | None) -> None:
    assert decode_extended(text) == expected


@pytest.mark.parametrize(
    ("filename", "safe"),
    [
        ("photo.jpg", "photo.jpg"),
        ("für dich.txt", "für dich.txt"),
        ("u\u0308.txt", "ü.txt"),
        ("../../etc/passwd", "passwd"),
        ("..\\..\\boot.ini", "boot.ini"),
        ("C:\\Users\\me\\a.txt", "a.txt"),
        ("C:a.txt", "C_a.txt"),
        ("a.txt:stream", "a.txt_stream"),
        ("/", NAMELESS),
        ("..", NAMELESS),
        (".", NAMELESS),
        ("", NAMELESS),
        (".bashrc", "bashrc"),
        ("a\x00.png", "a_.png"),
        ("a\r\nb", "a_b".replace("_", "__")),
        ("nul", "_nul"),
        ("COM1.txt", "_COM1.txt"),
        ("console.log", "console.log"),
        ("a. . ", "a"),
        ("XaX", "XaX"),
        ("XX.aXX", "XX.aXX"),
        ("evil\u202egpj.exe", "evilgpj.exe"),
        ("\udcff", NAMELESS),
    ],
)
def test_a_name_is_made_safe(filename: str, safe: str) -> None:
    assert make_safe(filename) == safe


def test_a_long_name_is_cut_and_keeps_its_ending() -> None:
    name = make_safe("ü" * 300 + ".jpeg")
    assert len(name.encode()) <= LONGEST_BYTES
    assert name.endswith("ü.jpeg")


@pytest.mark.parametrize(
    ("stem", "safe"),
    [
        ("a.b." + "x" * 300, "a.b." + "x" * 247),
        ("x" * 250 + ". b" + "x" * 60, "x" * 250),
        ("x" * 249 + "X b" + "x" * 60, "x" * 249 + "X "),
        (". " + "x" * 300, "x" * 251),
        ("x" * 250 + "ü" * 9, "x" * 250),
        ("x" * 300, "x" * 251),
    ],
)
def test_a_name_is_cut_before_its_ending(stem: str, safe: str) -> None:
    assert make_safe(stem + ".txt") == safe.rstrip() + ".txt"


def test_a_name_of_255_octets_is_long_enough() -> None:
    assert make_safe("x" * 251 + ".txt") == "x" * 251 + ".txt"
    assert make_safe("ü" * 126 + ".xy") == "ü" * 126 + ".xy"
    assert make_safe("x" * 250 + " .txt") == "x" * 250 + " .txt"


def test_a_long_name_without_a_real_ending_is_cut() -> None:
    assert make_safe("x" * 300) == "x" * LONGEST_BYTES
    assert make_safe("x." + "y" * 300) == "x." + "y" * (LONGEST_BYTES - 2)
    ending = "." + "y" * 126
    assert make_safe("x" * 200 + ending) == "x" * 128 + ending
    assert make_safe("x" * 200 + ending + "y") == ("x" * 200 + ending)[:LONGEST_BYTES]


@given(st.text())
def test_any_name_becomes_one_path_component(filename: str) -> None:
    safe = make_safe(filename)
    assert safe
    assert safe not in (".", "..")
    assert os.path.basename(safe) == safe
    assert not set(safe) & set('/\\\0:*?"<>|')
    assert not safe.startswith(".")
    assert 1 <= len(safe.encode()) <= LONGEST_BYTES


@given(st.text())
def test_a_safe_name_is_left_as_it_is(filename: str) -> None:
    assert make_safe(make_safe(filename)) == make_safe(filename)
