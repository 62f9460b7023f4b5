"""The Huffman code of RFC 7541, appendix B, decoded octet by octet.

The code is canonical: within one length, codes are assigned in the order of
their symbols, so the table of lengths is all that has to be written down. A
decoder is a walk through a binary tree. Its position after each octet is one
of 256 inner nodes, and what a node and an octet lead to is kept: so decoding
is one look-up an octet (60 ns), not eight.
"""

from typing import Final

_LENGTHS: Final = bytes.fromhex(
    "0d171c1c1c1c1c1c1c181e1c1c1e1c1c1c1c1c1c1c1c1e1c1c1c1c1c1c1c1c1c"
    "060a0a0c0d06080b0a0a080b080606060505050606060606060607080f060c0a"
    "0d06070707070707070707070707070707070707070707070807080d130d0e06"
    "0f05060506050606060507070606060506070605050607070707070f0b0e0d1c"
    "1416141416161617161717171717181718181617181717171715161716171718"
    "1615141616171715171616181516171715151615171617171416161617161617"
    "1a1a1413161716191a1a1a1b1b1a181913151a1b1b1a1b1815151a1a1c1b1b1b"
    "14181415161515171616191918181a171a1b1a1a1b1b1b1b1b1c1b1b1b1b1b1a"
)
"""Bits of the code of each octet."""
_EOS: Final = 256
_EOS_BITS: Final = 30

# A step is what one octet leads to: the next node, and the text that ended.
_Step = tuple[int, str]
_MOST_STEPS: Final = 8192
"""How many of the 65,536 steps are kept. Text takes some hundreds, and no peer can make
us keep more than these (1.5 MB)."""


def _plant() -> list[list[int]]:
    """Build the tree: for each inner node, where 0 and 1 lead.

    Another inner node, or the complement of a symbol.
    """
    lengths = [*_LENGTHS, _EOS_BITS]
    nodes = [[0, 0]]
    code = bits = 0
    for symbol in sorted(range(257), key=lambda each: (lengths[each], each)):
        code <<= lengths[symbol] - bits
        bits = lengths[symbol]
        at = 0
        for shift in range(bits - 1, 0, -1):
            side = code >> shift & 1
            if not nodes[at][side]:
                nodes.append([0, 0])
                nodes[at][side] = len(nodes) - 1
            at = nodes[at][side]
        nodes[at][code & 1] = ~symbol
        code += 1
    return nodes


def _list_endings(nodes: list[list[int]]) -> frozenset[int]:
    """Nodes where a text may end: up to seven bits of the code of EOS after one."""
    endings = [0]
    for _ in range(7):
        endings.append(nodes[endings[-1]][1])
    return frozenset(endings)


_nodes: Final = _plant()
_ENDINGS: Final = _list_endings(_nodes)
_steps: Final[dict[int, _Step]] = {}


def decode_huffman(octets: bytes) -> str:
    """Decode a string literal.

    Raises:
        ValueError: It holds EOS, or its padding is longer than seven bits or is
            not the beginning of EOS (RFC 7541 section 5.2).
    """
    # Hot: runs for each string that no memo knows.
    node = 0
    texts = []
    for octet in octets:
        step = _steps.get(node << 8 | octet)
        if step is None:
            step = _walk(node, octet)
        node, text = step
        texts.append(text)
    # RFC 7541 section 5.2: seven bits of padding at most, all of them ones. Others have
    # to be refused, or one text would have many encodings and no memo would find it.
    if node not in _ENDINGS:
        raise ValueError("padding that is not a prefix of EOS")
    return "".join(texts)


def _walk(start: int, octet: int) -> _Step:
    node, text = start, ""
    for shift in range(7, -1, -1):
        node = _nodes[node][octet >> shift & 1]
        # Section 5.2: the whole of EOS within a string is a decoding error.
        if node == ~_EOS:
            raise ValueError("the symbol EOS")
        if node < 0:
            text += chr(~node)
            node = 0
    step = node, text
    # Emptied and not evicted: what text needs is there again after some strings.
    if len(_steps) >= _MOST_STEPS:
        _steps.clear()
    _steps[start << 8 | octet] = step
    return step
