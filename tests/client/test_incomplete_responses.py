import pytest

from blazeio.client.exchange import describe_missing_end
from blazeio.client.states import CONTENT, HEAD, IDLE
from blazeio.limits import Limits
from blazeio.protocol.flow import NO_CONTENT, UNTIL_CLOSE, ContentStream
from blazeio.wire.chunked import ChunkDecoder


@pytest.mark.parametrize(
    ("state", "content", "has_received", "said"),
    [
        (IDLE, NO_CONTENT, False, "closed and gave no response"),
        (HEAD, NO_CONTENT, False, "closed and gave no response"),
        (HEAD, NO_CONTENT, True, "closed within the head of its response"),
        (
            CONTENT,
            ContentStream(length=7),
            True,
            "closed 7 octets before the end of its response",
        ),
        (
            CONTENT,
            ContentStream(decoder=ChunkDecoder(Limits())),
            True,
            "closed before its last chunk",
        ),
        (
            CONTENT,
            ContentStream(length=UNTIL_CLOSE),
            True,
            "was cut off within its response",
        ),
    ],
)
def test_what_is_missing_is_said(
    state: int, content: ContentStream, has_received: bool, said: str
) -> None:
    assert describe_missing_end(state, content, has_received=has_received) == said
