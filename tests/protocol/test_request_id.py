"""Ids of requests: what is taken from outside, and what is made here."""

import pytest

from blazeio.protocol.toolset import (
    REQUEST_ID_BYTES,
    REQUEST_ID_CHARS,
    accept_request_id,
    make_request_id,
)


@pytest.mark.parametrize(
    "value",
    [
        "3b9c6d52-0c1f-4d0a-9a55-7f5b8f3b1c11",
        "01ARZ3NDEKTSV4RRFFQ69G5FAV",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "Root=1-67891233-abcdef012345678912345678",
        "host.example/PZqK+w==:1_2@a",
        "x" * REQUEST_ID_CHARS,
    ],
)
def test_usual_forms_are_taken_as_they_are(value: str) -> None:
    assert accept_request_id(value) == value


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "x" * (REQUEST_ID_CHARS + 1),
        "a b",
        "a\nb",
        "a\n",
        'a"b',
        "a,b",
        "a;b",
        "<b>",
        "\x1b[31m",
        "\u0661",
        "é",
    ],
)
def test_what_could_pass_for_something_else_in_a_log_is_not(value: str | None) -> None:
    assert accept_request_id(value) is None


def test_own_ids_differ() -> None:
    made = {make_request_id() for _ in range(1000)}
    assert len(made) == 1000
    assert all(len(each) == 2 * REQUEST_ID_BYTES for each in made)
    assert all(accept_request_id(each) == each for each in made)
