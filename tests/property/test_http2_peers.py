"""We read what ``hpack`` and ``h2`` write, and they read what we write.

Both are by other people, from the same documents: where we disagree with them,
one of us has read those wrongly.
"""

import h2.config
import h2.connection
import h2.events
import hpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blazeio.errors import RemoteProtocolError
from blazeio.limits import Limits
from blazeio.wire.hpack import STATIC_TABLE, HeaderDecoder
from blazeio.wire.http2_frames import Http2ConnectionError
from blazeio.wire.http2_heads import HeadReader, encode_field
from tests.wire.http2_talk import Talk

pytestmark = pytest.mark.slow
thorough = settings(max_examples=150, deadline=None, derandomize=True)

LATIN = st.text(st.characters(max_codepoint=255), max_size=40)
NAMES = st.sampled_from([name for name, _ in STATIC_TABLE]) | st.text(
    "abcdefghijklmnopqrstuvwxyz-0123456789", min_size=1, max_size=12
)
PAIRS = st.lists(st.tuples(NAMES, LATIN, st.booleans()), max_size=12)
SIZES = st.none() | st.integers(0, 4096)


@thorough
@given(st.lists(st.tuples(SIZES, PAIRS, st.booleans()), min_size=1, max_size=6))
def test_we_decode_what_hpack_encodes(
    heads: list[tuple[int | None, list[tuple[str, str, bool]], bool]],
) -> None:
    encoder, decoder = hpack.Encoder(), HeaderDecoder(1_000_000)
    for size, pairs, is_huffman in heads:
        if size is not None:
            encoder.header_table_size = size
        octets = encoder.encode(
            [
                (name.encode(), value.encode("latin-1"), is_secret)
                for name, value, is_secret in pairs
            ],
            huffman=is_huffman,
        )
        decoded = decoder.decode(octets)
        assert decoded == [(name, value) for name, value, _ in pairs]


@thorough
@given(PAIRS)
def test_hpack_decodes_what_we_encode(pairs: list[tuple[str, str, bool]]) -> None:
    octets = b"".join(
        encode_field(name, value.encode("latin-1")) for name, value, _ in pairs
    )
    decoded = hpack.Decoder(max_header_list_size=10**6).decode(octets, raw=True)
    assert [(bytes(name), bytes(value)) for name, value in decoded] == [
        (name.encode(), value.encode("latin-1")) for name, value, _ in pairs
    ]


@thorough
@given(st.lists(st.binary(max_size=60), max_size=4))
def test_random_octets_are_refused_by_both_or_by_none(blocks: list[bytes]) -> None:
    ours, theirs = HeaderDecoder(1_000_000), hpack.Decoder(10**6)
    for octets in blocks:
        try:
            expected = [
                (str(bytes(name), "latin-1"), str(bytes(value), "latin-1"))
                for name, value in theirs.decode(octets, raw=True)
            ]
        except Exception:
            with pytest.raises(Http2ConnectionError):
                ours.decode(octets)
            return
        try:
            decoded = ours.decode(octets)
        except Http2ConnectionError as error:
            # hpack takes larger integers
            decoded = [] if "28 bits" in str(error) else [("refused", str(error))]
            expected = [] if "28 bits" in str(error) else expected
        assert decoded == expected


@thorough
@given(PAIRS, st.binary(max_size=30), st.integers(0, 100))
def test_a_memo_changes_nothing(
    pairs: list[tuple[str, str, bool]], noise: bytes, at: int
) -> None:
    """The same blocks, by one reader for all and by one that forgets between."""
    encoder = hpack.Encoder()
    start = [(":method", "GET"), (":scheme", "http"), (":authority", "a")]
    fields = [each[:2] for each in pairs if each[0][:1] != ":" and each[1].isalnum()]
    blocks = [
        encoder.encode([*start, (":path", path), *fields])
        for path in ("/1", "/2", "/1", "/3", "/3")
    ]
    cut = at % (len(blocks[-1]) + 1)
    blocks.append(blocks[-1][:cut] + noise)
    keeping, forgetting = HeadReader(Limits()), HeadReader(Limits())
    for octets in blocks:
        forgetting.forget()
        assert read(keeping, octets) == read(forgetting, octets)


def read(reader: HeadReader, octets: bytes) -> object:
    try:
        head = reader.read(octets)
    except RemoteProtocolError as error:
        return type(error), str(error)
    return head.method, head.target, head.host, head.headers.pairs


REQUESTS = st.lists(
    st.tuples(
        st.sampled_from(["GET", "POST", "PUT"]),
        st.text("abc/?=%20", max_size=10),
        st.lists(
            st.tuples(
                st.sampled_from(["accept", "x-a", "cookie", "user-agent"]),
                st.text("abcABC123 ,;=", max_size=12).map(str.strip),
            ),
            max_size=5,
        ),
        st.binary(max_size=300) | st.binary(min_size=20_000, max_size=20_000),
    ),
    min_size=1,
    max_size=5,
)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(REQUESTS, st.binary(min_size=1, max_size=40_000), st.integers(1, 5000))
def test_h2_as_a_client_and_we_understand_each_other(
    requests: list[tuple[str, str, list[tuple[str, str]], bytes]],
    answer: bytes,
    size: int,
) -> None:
    talk = Talk(opening=b"", answer=answer)
    client = h2.connection.H2Connection(
        h2.config.H2Configuration(client_side=True, header_encoding="latin-1")
    )
    client.initiate_connection()
    got: dict[int, bytes] = {}
    ended: set[int] = set()

    def pump() -> None:
        octets = client.data_to_send()
        while octets:
            talk.send(*[octets[at : at + size] for at in range(0, len(octets), size)])
            talk.flush()
            sent, talk.sent = talk.sent, b""
            for event in client.receive_data(sent):
                if isinstance(event, h2.events.DataReceived):
                    stream = event.stream_id
                    got[stream] = got.get(stream, b"") + event.data
                    credit = event.flow_controlled_length
                    client.acknowledge_received_data(credit, stream)
                elif isinstance(event, h2.events.StreamEnded):
                    ended.add(event.stream_id)
            octets = client.data_to_send()

    pump()
    for number, (method, path, fields, content) in enumerate(requests):
        stream = number * 2 + 1
        start = [(":method", method), (":scheme", "http"), (":authority", "a")]
        client.send_headers(stream, [*start, (":path", "/" + path), *fields])
        pump()
        for at in range(0, len(content), 16_000):
            client.send_data(stream, content[at : at + 16_000])
            pump()
        client.end_stream(stream)
        pump()
    assert talk.failure is None
    assert [each.content for each in talk.requests.values()] == [
        content for *_, content in requests
    ]
    for request, (method, path, fields, _) in zip(
        talk.requests.values(), requests, strict=True
    ):
        assert request.head is not None
        assert (request.head.method, request.head.target) == (method, "/" + path)
        plain = [pair for pair in fields if pair[0] != "cookie"]
        mine = [pair for pair in request.head.headers.pairs if pair[0] != "cookie"]
        assert mine == [("host", "a"), *plain]
    assert got == dict.fromkeys(talk.requests, answer)
    assert ended == set(talk.requests)
