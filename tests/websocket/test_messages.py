import pytest
from websockets.frames import Frame, Opcode

from blazeio.websocket.frames import MessageAssembler

SNOWMAN = "☃".encode()


def feed(*frames: Frame) -> list[str | bytes]:
    assembler = MessageAssembler()
    given = [assembler.feed(frame) for frame in frames]
    return [each for each in given if each is not None]


def test_one_frame_is_one_message() -> None:
    assert feed(
        Frame(Opcode.TEXT, SNOWMAN),
        Frame(Opcode.BINARY, b"\xff"),
        Frame(Opcode.TEXT, b""),
    ) == ["☃", b"\xff", ""]


def test_fragments_are_joined_wherever_they_were_cut() -> None:
    for cut in range(len(SNOWMAN) + 1):
        assert feed(
            Frame(Opcode.TEXT, SNOWMAN[:cut], fin=False),
            Frame(Opcode.CONT, b"", fin=False),
            Frame(Opcode.CONT, SNOWMAN[cut:]),
            Frame(Opcode.BINARY, b"a", fin=False),
            Frame(Opcode.CONT, b"b"),
            Frame(Opcode.TEXT, b"next"),
        ) == ["☃", b"ab", "next"]


@pytest.mark.parametrize(
    "frames",
    [
        [Frame(Opcode.TEXT, b"\xff")],
        [Frame(Opcode.TEXT, SNOWMAN[:2])],
        [Frame(Opcode.TEXT, b"\xff", fin=False)],  # before its end
        [Frame(Opcode.TEXT, SNOWMAN[:2], fin=False), Frame(Opcode.CONT, b"")],
    ],
)
def test_text_that_is_no_utf_8_is_refused(frames: list[Frame]) -> None:
    with pytest.raises(UnicodeDecodeError):
        feed(*frames)
