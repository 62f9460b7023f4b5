"""Those of the wire: see ``explained.py``."""

from tests.mutants.explanation import Explained

_WIRE = "blazeio/wire"
WIRE: tuple[Explained, ...] = (
    Explained(
        "it is set before it is read: by the line of a chunk",
        *(f"{_WIRE}/chunked.py", "ChunkDecoder.__init__", ("self._remaining = 1",)),
    ),
    Explained(
        "the faster way is not taken, and the longer one comes to the same",
        f"{_WIRE}/chunked.py",
        "ChunkDecoder._decode_chunk_line",
        ("match = None if (self._held) or True else *", "match = None"),
    ),
    Explained(
        "the faster way is not taken, and the longer one comes to the same",
        f"{_WIRE}/chunked.py",
        "ChunkDecoder._decode_data",
        ("following = None",),
    ),
    Explained(
        "a slice of all octets is those octets",
        f"{_WIRE}/chunked.py",
        "ChunkDecoder._decode_data",
        ("pieces.append(octets[at:] if (at) or True else octets)",),
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
        *(f"{_WIRE}/heads.py", "split_list", ('*.strip("XX \\tXX")*',)),
    ),
    Explained(
        "the text is in lower case by then",
        f"{_WIRE}/framing.py",
        "parse_transfer_encoding",
        ('*strip("XX \\tXX")*',),
    ),
    Explained(
        "lines of a section that is as long as one may be are not too long",
        *(f"{_WIRE}/heads.py", "_check_limits", ("if len(octets) < limits.*",)),
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
        *(f"{_WIRE}/hpack.py", "_walk", ("if node <= 0:", "if node < 1:")),
    ),
    Explained(
        "such a line begins with its CRLF and its name; a head begins with neither",
        f"{_WIRE}/heads.py",
        "cut_line",
        (
            r'line_end = octets.find(b"\r\n", at + 3)',
            r'place = octets.count(b"\r\n", None, at)',
            r'place = octets.count(b"\r\n", 1, at)',
        ),
    ),
    Explained(
        "what is at its limit is read line by line then, and comes to the same",
        f"{_WIRE}/heads.py",
        "put_back",
        ("if len(name) + * >= limits.field_bytes:", "* < limits.field_count else None"),
    ),
    Explained(
        "what was searched before is searched again",
        f"{_WIRE}/heads.py",
        "parse_response_head",
        (r'end = octets.find(b"\r\n\r\n", None)', r'end = octets.find(b"\r\n\r\n", )'),
    ),
    Explained(
        "what begins with CRLF is refused before; else it was checked by a call before",
        f"{_WIRE}/heads.py",
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
        "the head has left by then",
        f"{_WIRE}/framing.py",
        "make_chunked",
        (
            'message = OutgoingMessage(b"XXXX", Framing.CHUNKED, *',
            "message = OutgoingMessage(*, Framing.CHUNKED, None, 2, *",
        ),
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
        f"{_WIRE}/http2_heads.py",
        "encode_field",
        (
            "index = _static_indexes.get((*), None)",
            "index = _static_indexes.get((*), )",
        ),
    ),
    Explained(
        "indexes go up to 61; those of the names that are never indexed are above 15,"
        " and leave a prefix of ones",
        f"{_WIRE}/http2_heads.py",
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
        *(f"{_WIRE}/headers.py", "*", ("index = None",)),
    ),
    Explained(
        "what is kept is not looked up, and made again",
        *(f"{_WIRE}/grammar.py", "*", ("known = None", "is_plain = None")),
    ),
    Explained(
        "what is kept is not looked up, and made again",
        f"{_WIRE}/http2_heads.py",
        "encode_*",
        ("block = None", "kept = None"),
    ),
    Explained(
        "what is kept is not looked up, and made again",
        *(f"{_WIRE}/hpack.py", "decode_huffman", ("step = None",)),
    ),
    Explained(
        "control octets are in none of our heads",
        f"{_WIRE}/http2_heads.py",
        "encode_*",
        (
            r'start, *lines = head.rstrip(None).split(b"\r\n")',
            "name, value = raw_name.lower(), value.strip(None)",
        ),
    ),
    Explained(
        "the longer way writes the same octets",
        f"{_WIRE}/http2_heads.py",
        "encode_line",
        ('if name == b"content-length" and len(value) < _MOST_SHORT_DIGITS:',),
    ),
    Explained(
        "what was searched before is searched again",
        f"{_WIRE}/request.py",
        "parse_head",
        (
            "end = * if (start > scanned) or True else scanned*",
            "end = * if start >= scanned else scanned*",
            "return parse_head(octets, limits, _skip_empty_lines(octets, start), )",
        ),
    ),
    Explained(
        "CRLF CRLF at the first octet are two empty lines, which are ignored",
        *(f"{_WIRE}/request.py", "parse_head", ("*, scanned: int = 1",)),
    ),
    Explained(
        "the faster way is not taken, and the longer one comes to the same",
        f"{_WIRE}/request.py",
        "parse_*",
        (
            "kept = None",
            "if kept is None and _SHORT_BYTES < end *",
            "* end < _LONGEST_CUT_BYTES:",
            "* size >= _LONGEST_CUT_BYTES:",
            "if size > _SHORT_BYTES:",
            "if (at := octets.rfind(COOKIE_MARK)) > 1:",
            "elif (at := octets.rfind(AUTHORIZATION_MARK)) > 1:",
            "head = None",
        ),
    ),
    Explained(
        "no head begins with the CRLF before a field",
        f"{_WIRE}/request.py",
        "parse_whole",
        ("*find(*_MARK)) >= 1:", "*find(*_MARK)) > 2:"),
    ),
    Explained(
        "the faster way is not taken, and the longer one comes to the same",
        f"{_WIRE}/request.py",
        "_parse_alone",
        (
            r'line, _, fields = octets[:-4].rpartition(b"\r\n")',
            r'line, _, fields = octets[:+4].partition(b"\r\n")',
            r'line, _, fields = octets[:-5].partition(b"\r\n")',
            r'line, _, fields = octets[:-4].partition(b"XX\r\nXX")',
            "section = None",
            'if section is not None and line.find(b"XX?XX") > 0:',
            "head = None",
            "if head is None and section.limits is limits:",
            "head = _parse_around(*) if (size >= _SHORT_BYTES) or True else None",
            "head = _parse_around(*) if size > _SHORT_BYTES else None",
        ),
    ),
    Explained(
        "it is the same for each ? behind a method",
        f"{_WIRE}/request.py",
        "_parse_alone",
        ('* and line.rfind(b"?") > 0:', '*.find(b"?") >= 0:', '*.find(b"?") > 1:'),
    ),
    Explained(
        "two heads as one have an empty line among their fields, which is refused",
        f"{_WIRE}/request.py",
        "_parse_alone",
        (r'if octets.rfind(b"\r\n\r\n") + 4 != size:',),
    ),
    Explained(
        "a line begins with CRLF and its name, and a head with neither",
        f"{_WIRE}/request.py",
        "_recall_around",
        (
            r'line_end = octets.find(b"\r\n", at + 3)',
            r'place = octets.count(b"\r\n", None, at)',
            r'place = octets.count(b"\r\n", 1, at)',
        ),
    ),
    Explained(
        "what is left would have two empty lines, and no head that is cached has two",
        f"{_WIRE}/request.py",
        "_recall_around",
        (
            r'or octets[at + 2 : at] == b"\r\n"',
            r'or octets[at - 3 : at] == b"\r\n"',
            r'or octets[at - 2 : at] == b"XX\r\nXX"',
        ),
    ),
    Explained(
        "at the end is as well where so many lines are before",
        *(f"{_WIRE}/request.py", "_recall_around", ("if len(behind) == 5:*",)),
    ),
    Explained(
        "it is the same for each ? behind a method",
        f"{_WIRE}/request.py",
        "_recall_section",
        (
            'if octets.find(b"?", None, line_end) < 0:',
            'if octets.rfind(b"?", 0, line_end) < 0:',
            'if octets.find(b"?", 1, line_end) < 0:',
            'if octets.find(b"?", 0, line_end) <= 0:',
            'if octets.find(b"?", 0, line_end) < 1:',
        ),
    ),
    Explained(
        "a line right behind the request line leaves a CRLF, with which none begins",
        f"{_WIRE}/request.py",
        "_recall_section",
        (
            'before = octets[line_end + 2 : at] if (at > line_end) or True else b""',
            'before = octets[line_end + 2 : at] if at >= line_end else b""',
            'before = octets[line_end + 2 : at] if at > line_end else b"XXXX"',
        ),
    ),
    Explained(
        "of two such lines the other one is left over, and so nothing is cached",
        *(f"{_WIRE}/request.py", "_parse_around", ("at = rest.rfind(mark)",)),
    ),
    Explained(
        "no head begins with the CRLF before a field",
        *(f"{_WIRE}/request.py", "_parse_around", ("if at >= 0:", "if at > 1:")),
    ),
    Explained(
        "what is at its limit is read line by line then, and comes to the same",
        f"{_WIRE}/request.py",
        "_parse_around",
        ("* or len(octets) >= limits.head_bytes:",),
    ),
    Explained(
        "in each form the query is behind the first ?, where _make_head has found it",
        f"{_WIRE}/request.py",
        "_parse_lines",
        ("return replace(head, path=path, headers=headers, host=host)",),
    ),
    Explained(
        "_parse_minor says the same of it",
        f"{_WIRE}/grammar.py",
        "parse_request_line",
        (
            'minor = 1 if (version == "HTTP/1.1") and False else *',
            'minor = 1 if version == "XXHTTP/1.1XX" else *',
        ),
    ),
    Explained(
        "it is replaced by itself",
        f"{_WIRE}/request.py",
        "_decide_host",
        (
            'if host and host != headers.get("XXhostXX"):',
            'if host and host != headers.get("HOST"):',
        ),
    ),
    Explained(
        "an empty line was skipped before; and a line was checked by an earlier call",
        f"{_WIRE}/request.py",
        "_judge_partial_head",
        ("if line_end <= 0:", "if line_end < 1:", "elif line_end > scanned:*"),
    ),
    Explained(
        "what is in front of the start has no space, nor is a target the first octet",
        f"{_WIRE}/grammar.py",
        "judge_partial_line",
        (
            'target_start = octets.find(b" ", None) + 1',
            'target_start = octets.find(b" ", ) + 1',
            "if target_end <= 0:",
            "if target_end < 1:",
        ),
    ),
    Explained(
        "it is too long, whatever it is",
        f"{_WIRE}/grammar.py",
        "judge_partial_line",
        ("_refuse_target(str(octets[target_start:], ), limits)",),
    ),
    Explained(
        "it is set before it is read: by each read, and by whoever is told of a stream",
        *(
            f"{_WIRE}/http2_*.py",
            "*.__init__",
            ("self._now = 1.0", "self.user: Any = *"),
        ),
    ),
    Explained(
        "the first flush comes one octet earlier",
        f"{_WIRE}/http2_sending.py",
        "Sending.__init__",
        ("self._out_bytes = 1",),
    ),
    Explained(
        "no block is this text",
        *(
            f"{_WIRE}/http2_heads.py",
            "HeadReader.__init__",
            ('self._last = b"XXXX"',),
        ),
    ),
    Explained(
        "numbers in a bounded cache: one more, one less, or some hundreds more",
        f"{_WIRE}/http2_connection.py",
        "Multiplexer.*",
        (
            "if len(self._reset) > _CACHED_RESET:",
            "if len(self._reset) >= _CACHED_RESET:",
            "if len(self._ended) >= 2 * _CACHED_ENDED:",
            "if len(self._ended) > 3 * _CACHED_ENDED:",
        ),
    ),
    Explained(
        "it is looked at again with what follows",
        f"{_WIRE}/http2_connection.py",
        "Multiplexer._read_preface",
        ("if len(octets) <= len(PREFACE):",),
    ),
    Explained(
        "nothing is sent on a stream that was reset, so it is there",
        f"{_WIRE}/http2_connection.py",
        "Multiplexer._forget_ended",
        ("if self.streams.pop(stream.stream_id, ) is not None:",),
    ),
    Explained(
        "what is kept is not looked up, and made again",
        f"{_WIRE}/http2_heads.py",
        "_check_*",
        (
            "if not (_cached_names.recent.get(name) and _cached_names.recall(name)):",
            "is_plain = None",
            "if len(name) < _LONGEST_NAME_BYTES:",
            "_cached_names.keep(name, False)",
        ),
    ),
    Explained(
        "a block of that very length is not kept, and read again",
        f"{_WIRE}/http2_heads.py",
        "HeadReader.*",
        ("* len(block) < _LONGEST_CACHED_BYTES*",),
    ),
    Explained(
        "neither has a port",
        f"{_WIRE}/http2_heads.py",
        "_make_connect",
        ('authority = pseudo.get(":authority", "XXXX")',),
    ),
    Explained(
        "what goes the general way comes to the same",
        f"{_WIRE}/http2_sending.py",
        "Sending.respond",
        (
            "not 1 < size <= _JOINED_BYTES",
            "not 0 < size < _JOINED_BYTES",
            "or len(block) >= LEAST_FRAME_BYTES",
            "or size >= stream.send_window",
            "or size >= self._window",
        ),
    ),
    Explained(
        "a stream that has no window, or nothing to send, is left out at its turn",
        f"{_WIRE}/http2_sending.py",
        "Sending.*",
        (
            "if not stream.has_turn and stream.send_window >= 0:",
            "if stream.waiting or stream.send_window > 0:",
            "if stream.waiting and stream.send_window >= 0:",
        ),
    ),
    Explained(
        "in one piece or in two, they are the same octets",
        f"{_WIRE}/http2_sending.py",
        "Sending.*",
        (
            "if size < _JOINED_BYTES:",
            'content = parts[0] if (len(parts) == 1) and False else b"".join(parts)',
        ),
    ),
    Explained(
        "what is kept is not looked up, and made again",
        f"{_WIRE}/headers.py",
        "*",
        (
            "line = None",
            "known = None",
            "known = _cached_names.recent.get(text) and _cached_names.recall(text)",
        ),
    ),
    Explained(
        "a section of that very length is not kept, and read again",
        f"{_WIRE}/heads.py",
        "read_header_section",
        ("* and len(octets) < LONGEST_CACHED_BYTES:",),
    ),
    Explained(
        "no program sends all shared names at once",
        f"{_WIRE}/headers.py",
        "_serialize_pairs",
        ("and seen < SHARED_RESPONSE_NAMES",),
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
        "what the pattern of any scheme takes as well is only found sooner",
        f"{_WIRE}/http2_heads.py",
        "_check_request",
        (
            'if scheme not in ("HTTPS", "http") and *',
            'if scheme not in ("https", "HTTP") and *',
            'if scheme not in ("XXhttpsXX", "http") and *',
            'if scheme not in ("https", "XXhttpXX") and *',
        ),
    ),
    Explained(
        "a space follows the status, and int() does not mind it",
        *(f"{_WIRE}/http2_heads.py", "encode_head", ("status = int(start[9:13])",)),
    ),
    Explained(
        "without an escape there is nothing to decode",
        f"{_WIRE}/http2_heads.py",
        "HeadReader._make_head",
        ('decode_path(path) if ("%" in path) or True else path,',),
    ),
)
