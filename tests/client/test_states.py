"""Lives of a client's connection, as the table of its states has them."""

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
