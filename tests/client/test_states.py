"""Lives of a client's connection, as the table of its states has them; its end."""

from typing import Any

import pytest

from blazeio.client.states import (
    CLOSED,
    CONNECTION_END,
    CONTENT,
    DRAINING,
    HEAD,
    HTTP_LEFT,
    IDLE,
    NEXT_STATE,
    READER_LEFT,
    REQUEST,
    RESPONSE_BEGUN,
    RESPONSE_END,
    STATES,
    TUNNEL,
    describe_missing_end,
    shorten_idle,
)

LIVES = {
    "two exchanges": [
        *((REQUEST, HEAD), (RESPONSE_BEGUN, CONTENT), (RESPONSE_END, IDLE)),
        *((REQUEST, HEAD), (RESPONSE_BEGUN, CONTENT), (RESPONSE_END, IDLE)),
    ],
    "a reader that leaves": [
        *((REQUEST, HEAD), (RESPONSE_BEGUN, CONTENT), (READER_LEFT, DRAINING)),
        *((RESPONSE_END, IDLE), (REQUEST, HEAD)),
    ],
    "a tunnel": [(REQUEST, HEAD), (HTTP_LEFT, TUNNEL), (CONNECTION_END, CLOSED)],
}


@pytest.mark.parametrize("life", LIVES)
def test_each_event_leads_where_it_should(life: str) -> None:
    state = IDLE
    for event, following in LIVES[life]:
        state = NEXT_STATE[state][event]
        assert state == following


@pytest.mark.parametrize("state", STATES)
def test_the_connection_may_end_at_any_time_and_again(state: int) -> None:
    assert NEXT_STATE[state][CONNECTION_END] == CLOSED


@pytest.mark.parametrize(
    ("state", "facts", "said"),
    [
        (IDLE, {}, "closed and gave no response"),
        (HEAD, {}, "closed and gave no response"),
        (HEAD, {"has_received": True}, "closed within the head of its response"),
        (
            CONTENT,
            {"has_received": True, "due_bytes": 7},
            "closed 7 octets before the end of its response",
        ),
        (CONTENT, {"has_received": True}, "closed before its last chunk"),
        (
            CONTENT,
            {"has_received": True, "due_bytes": 7, "ends_by_close": True},
            "was cut off within its response",
        ),
    ],
)
def test_what_is_missing_at_the_end_is_said(
    state: int, facts: dict[str, Any], said: str
) -> None:
    assert describe_missing_end(state, **facts) == said


@pytest.mark.parametrize(
    ("idle_s", "keep_alive_s", "span_s"),
    [(30, None, 30), (30, 5, 4), (30, 0, 0), (30, 31, 30), (30, 32, 30), (3, 5, 3)],
)
def test_a_connection_is_idle_for_a_second_less_than_its_server_says(
    idle_s: float, keep_alive_s: int | None, span_s: float
) -> None:
    assert shorten_idle(idle_s, keep_alive_s) == span_s
