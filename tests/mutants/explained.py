"""The mutants that may survive, and why each makes no difference that matters.

An explanation names the place, the function and the lines that are new in it, as
``python -m tests.mutants`` shows them; each of the three may be a pattern as those of
``fnmatch``, in which a ``[`` stands for itself. Those of the client, of the fleet and
of the sockets have modules of their own.
"""

import re
from collections.abc import Iterable
from fnmatch import translate
from functools import cache

from tests.mutants.explained_client import CLIENT
from tests.mutants.explained_fleet import FLEET
from tests.mutants.explained_sockets import SOCKETS
from tests.mutants.explanation import Explained
from tests.mutants.trying import NOTICES, Outcome


def find_explanation(mutant: Outcome) -> Explained | None:
    """Return the explanation of a mutant that has survived."""
    every = (*KINDS, *_list_single())
    return next((each for each in every if _explains(each, mutant)), None)


def find_stale(outcomes: Iterable[Outcome]) -> list[str]:
    """Name each change that is explained but does not survive, or is none any more.

    Those of ``KINDS`` are left out, and those of files that were not looked at.
    """
    places = {each.place for each in outcomes}
    left = [each for each in outcomes if each.became not in NOTICES]
    stale = []
    for each in _list_single():
        looked_at = [place for place in places if _matches(each.place, place)]
        for change in each.changes if looked_at else ():
            only = Explained(each.why, each.place, each.owner, (change,))
            if not any(_explains(only, mutant) for mutant in left):
                where = f"{each.place}: {each.owner}: {change}"
                stale.append(f"explained, but it does not survive: {where}")
    return stale


def _list_single() -> tuple[Explained, ...]:
    return *SINGLE, *CLIENT, *FLEET, *SOCKETS


def _explains(each: Explained, mutant: Outcome) -> bool:
    return (
        _matches(each.place, mutant.place)
        and _matches(each.owner, mutant.owner)
        and any(_matches(change, mutant.change) for change in each.changes)
    )


def _matches(pattern: str, text: str) -> bool:
    return _compile(pattern).match(text) is not None


@cache
def _compile(pattern: str) -> re.Pattern[str]:
    return re.compile(translate(pattern.replace("[", "[[]")))


KINDS = (
    Explained(
        "tests match a part of an error's text: more around it is no other text",
        *("*", "*", ('*raise *"XX*XX"*', '*message = "XX*XX"')),
    ),
    Explained(
        "Python's own default is big-endian, since 3.11",
        *("*", "*", ("*_bytes(*, )*",)),
    ),
)
_WIRE = "blazeio/wire"
SINGLE: tuple[Explained, ...] = (
    Explained(
        "it is set before it is read: by the line of a chunk",
        *(f"{_WIRE}/chunked.py", "ChunkDecoder.__init__", ("self._remaining = 1",)),
    ),
    Explained(
        "the faster way is not taken, and the longer one comes to the same",
        f"{_WIRE}/chunked.py",
        "ChunkDecoder._decode_chunk_line",
        ("match = None if (self._held) or True else *",),
    ),
    Explained(
        "the name is dropped",
        f"{_WIRE}/chunked.py",
        "ChunkDecoder._take_trailer",
        ('more = parse_field_line(b"X:" + line)[1]',),
    ),
    Explained(
        "what is longer is found, and refused all the same: by its total",
        f"{_WIRE}/chunked.py",
        "ChunkDecoder._take_line",
        (r'line_end = octets.find(b"\r\n", at, None)', r'*.find(b"\r\n", at, )'),
    ),
    Explained(
        "the text is in lower case by then",
        *(f"{_WIRE}/fields.py", "split_list", ('*.strip("XX \\tXX")*',)),
    ),
    Explained(
        "the text is in lower case by then",
        f"{_WIRE}/framing.py",
        "parse_transfer_encoding",
        ('*strip("XX \\tXX")*',),
    ),
    Explained(
        "lines of a section that is as long as one may be are not too long",
        *(f"{_WIRE}/fields.py", "_check_limits", ("if len(octets) < limits.*",)),
    ),
    Explained(
        "without an escape there is nothing to decode",
        *(f"{_WIRE}/grammar.py", "decode_path", ('* if ("%" in raw) or True *',)),
    ),
    Explained(
        "a Huffman string of no octets, and a literal one, are both empty",
        *(f"{_WIRE}/hpack.py", "read_string", ("if first <= 0x80:", "if first < 129:")),
    ),
    Explained(
        "index 0 ends the fields in front, and no pseudo-header field has the 15",
        f"{_WIRE}/hpack.py",
        "HeaderDecoder.decode_front",
        (
            "*= first & 0x7F if first > 0x80 else first & 0x0F",
            "*= first & 0x7F if first >= 129 else first & 0x0F",
            "if 33 <= first < 0x80 or *",
            "if 0x20 < first < 0x80 or *",
            "if 0x20 <= first <= 0x80 or *",
            "if 0x20 <= first < 129 or *",
            "if 0x20 <= first < 0x80 or not index and index in (0x0F, 0x7F):",
            "if 0x20 <= first < 0x80 or not index or index in (16, 0x7F):",
            "if first <= 0x20:",
            "if first < 33:",
        ),
    ),
    Explained(
        "_find knows the static table, too",
        f"{_WIRE}/hpack.py",
        "HeaderDecoder.decode_front",
        (
            "pair = _INDEXED[index] if (index <= _STATIC_COUNT) and False *",
            "pair = _INDEXED[index] if index < _STATIC_COUNT *",
        ),
    ),
    Explained(
        "the root is never reached again: it is where a walk begins",
        *(f"{_WIRE}/huffman.py", "_walk", ("if node <= 0:", "if node < 1:")),
    ),
    Explained(
        "such a line begins with its CRLF and its name; a head begins with neither",
        f"{_WIRE}/private_lines.py",
        "cut_line",
        (
            r'line_end = octets.find(b"\r\n", at + 3)',
            r'place = octets.count(b"\r\n", None, at)',
            r'place = octets.count(b"\r\n", 1, at)',
        ),
    ),
    Explained(
        "what is at its limit is read line by line then, and comes to the same",
        f"{_WIRE}/private_lines.py",
        "put_back",
        ("if len(name) + * >= limits.field_bytes:", "* < limits.field_count else None"),
    ),
    Explained(
        "what was searched before is searched again",
        f"{_WIRE}/response.py",
        "parse_response_head",
        (r'end = octets.find(b"\r\n\r\n", None)', r'end = octets.find(b"\r\n\r\n", )'),
    ),
    Explained(
        "what begins with CRLF is refused before; else it was checked by a call before",
        f"{_WIRE}/response.py",
        "_judge_partial_head",
        (
            "if line_end > scanned:*",
            "elif line_end <= 0 and *",
            "elif line_end < 1 and *",
        ),
    ),
    Explained(
        "without trailers it is the last chunk as well",
        f"{_WIRE}/framing.py",
        "OutgoingMessage.end",
        (r'out += b"0\r\n%b\r\n" % self.trailers if (self.trailers) or True *',),
    ),
    Explained(
        "it would be 0 for the last static entry alone, which is found before",
        *(f"{_WIRE}/hpack.py", "HeaderDecoder._find", ("if not 0 <= back <= *",)),
    ),
    Explained(
        "both prefixes of 0x40 are 0",
        f"{_WIRE}/hpack.py",
        "HeaderDecoder._read_literal",
        ("prefix = 0x3F if first > 0x40 *", "prefix = 0x3F if first >= 65 *"),
    ),
    Explained(
        "_evict compares again",
        f"{_WIRE}/hpack.py",
        "HeaderDecoder._insert",
        ("if self._size_bytes >= self._table_bytes:",),
    ),
    Explained(
        "it is asked whether there is one, and two are there only with one",
        f"{_WIRE}/hpack.py",
        "HeaderDecoder._resize",
        ("while block[at : at + 2] and *",),
    ),
    Explained(
        "one version is compared with another",
        *(f"{_WIRE}/hpack.py", "HeaderDecoder._resize", ("self.version += 2",)),
    ),
    Explained(
        "None is false, as 0 is",
        f"{_WIRE}/hpack.py",
        "encode_field",
        (
            "index = _static_indexes.get((*), None)",
            "index = _static_indexes.get((*), )",
        ),
    ),
    Explained(
        "indexes go up to 61; those of the names that are never indexed are above 15,"
        " and leave a prefix of ones",
        f"{_WIRE}/hpack.py",
        "encode_field",
        (
            "return serialize_integer(index, 128, 0x80)",
            "start = *, 17 if name in NEVER_INDEXED else 0)",
        ),
    ),
    Explained(
        "nothing is read any more",
        f"{_WIRE}/http2_control.py",
        "Controlling.fail",
        ('self._rest = b"XXXX"',),
    ),
    Explained(
        "what is kept is not looked up, and made again",
        f"{_WIRE}/headers.py",
        "*",
        ("index = None", "known = None", "is_plain = None"),
    ),
    Explained(
        "what is kept is not looked up, and made again",
        f"{_WIRE}/http2_response.py",
        "encode_*",
        ("block = None", "kept = None"),
    ),
    Explained(
        "what is kept is not looked up, and made again",
        *(f"{_WIRE}/huffman.py", "decode_huffman", ("step = None",)),
    ),
    Explained(
        "control octets are in none of our heads",
        f"{_WIRE}/http2_response.py",
        "encode_*",
        (
            r'start, *lines = head.rstrip(None).split(b"\r\n")',
            "name, value = raw_name.lower(), value.strip(None)",
        ),
    ),
    Explained(
        "the longer way writes the same octets",
        f"{_WIRE}/http2_response.py",
        "encode_line",
        ('if name == b"content-length" and len(value) < _MOST_SHORT_DIGITS:',),
    ),
    Explained(
        "a line begins with PROXY",
        f"{_WIRE}/proxy_protocol.py",
        "_parse_v1",
        (
            r'end = octets.find(b"\r\n", None, V1_BYTES)',
            r'end = octets.find(b"\r\n", 1, V1_BYTES)',
            "if end <= 0:",
            "if end < 1:",
        ),
    ),
    Explained(
        "neither is a line of addresses",
        f"{_WIRE}/proxy_protocol.py",
        "_parse_v1",
        ('found = _V1_ADDRESSES.fullmatch(kind[2] or b"XXXX")',),
    ),
    Explained(
        "where a budget is full, the next second takes back what is too much",
        *(f"{_WIRE}/http2_frames.py", "Budget.earn", ("if self._left <= self._most:",)),
    ),
    Explained(
        "what the pattern of any scheme takes as well is only found sooner",
        f"{_WIRE}/http2_request.py",
        "_check_request",
        (
            'if scheme not in ("https", "http") or *',
            'if scheme not in ("HTTPS", "http") and *',
            'if scheme not in ("https", "HTTP") and *',
        ),
    ),
    Explained(
        "a space follows the status, and int() does not mind it",
        *(f"{_WIRE}/http2_response.py", "encode_head", ("status = int(start[9:13])",)),
    ),
    Explained(
        "without an escape there is nothing to decode",
        f"{_WIRE}/http2_request.py",
        "HeadReader._make_head",
        ('decode_path(path) if ("%" in path) or True else path,',),
    ),
    Explained(
        "a text of exactly one step is decoded in one step",
        "blazeio/content/forms.py",
        "_unquote",
        ("if len(text) < UNQUOTED_STEP_CHARS:",),
    ),
)
