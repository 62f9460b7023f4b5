"""Lives of a connection on the server's side, as the table of its states has them."""

import pytest

from blazeio.protocol.http1_states import (
    CLOSED,
    CONTENT,
    CONTENT_END,
    DISCARD,
    EVENTS,
    HEAD,
    HEAD_BEGUN,
    HTTP_LEFT,
    IDLE,
    LINGER,
    LOST,
    NEXT_STATE,
    OPENED,
    OUTPUT_SHUT,
    RAW,
    REQUEST,
    REQUEST_WITH_CONTENT,
    RESPONSE_END,
    WHOLE,
)

LIVES = {
    "two requests": [
        *((REQUEST, WHOLE), (RESPONSE_END, IDLE)),
        *((REQUEST, WHOLE), (RESPONSE_END, IDLE)),
    ],
    "heads that come in pieces": [
        *((HEAD_BEGUN, HEAD), (HEAD_BEGUN, HEAD), (REQUEST, WHOLE)),
        *((RESPONSE_END, IDLE), (HEAD_BEGUN, HEAD), (REQUEST_WITH_CONTENT, CONTENT)),
    ],
    "content is read before the response is complete": [
        *((REQUEST_WITH_CONTENT, CONTENT), (CONTENT_END, WHOLE)),
        *((RESPONSE_END, IDLE), (REQUEST_WITH_CONTENT, CONTENT)),
    ],
    "content is left unread": [
        *((REQUEST_WITH_CONTENT, CONTENT), (RESPONSE_END, DISCARD)),
        *((CONTENT_END, IDLE), (REQUEST, WHOLE)),
    ],
    "a request leads to another protocol": [(REQUEST, WHOLE), (HTTP_LEFT, RAW)],
    "a raw handler has it from the first octet": [(HTTP_LEFT, RAW)],
}
WAYS = {
    OPENED: [],
    IDLE: [REQUEST, RESPONSE_END],
    HEAD: [HEAD_BEGUN],
    CONTENT: [REQUEST_WITH_CONTENT],
    WHOLE: [REQUEST],
    DISCARD: [REQUEST_WITH_CONTENT, RESPONSE_END],
    RAW: [HTTP_LEFT],
}
"""To each state in which the connection lives."""


@pytest.mark.parametrize("life", LIVES)
def test_each_event_leads_where_it_should(life: str) -> None:
    state = OPENED
    for event, following in LIVES[life]:
        state = NEXT_STATE[state][event]
        assert state == following


@pytest.mark.parametrize("state", WAYS)
def test_each_life_ends_by_either_side(state: int) -> None:
    reached = OPENED
    for event in WAYS[state]:
        reached = NEXT_STATE[reached][event]
    assert reached == state
    assert NEXT_STATE[state][LOST] == CLOSED
    assert NEXT_STATE[state][OUTPUT_SHUT] == LINGER
    assert NEXT_STATE[LINGER] == {LOST: CLOSED}
    assert not set(EVENTS) & NEXT_STATE[CLOSED].keys()
