"""Those of the content: see ``explained.py``."""

from tests.mutants.explanation import Explained

_CONTENT = "blazeio/content"
CONTENT: tuple[Explained, ...] = (
    Explained(
        "a text of exactly one step is decoded in one step",
        f"{_CONTENT}/forms.py",
        "_unquote",
        ("if len(text) < UNQUOTED_STEP_CHARS:",),
    ),
    Explained(
        "a level more or less: they are decoded to the same",
        f"{_CONTENT}/codings.py",
        "*",
        (
            "def br(data: bytes, quality: int = 6) -> bytes:",
            "self._stream = zlib.compressobj(wbits=31)",
        ),
    ),
    Explained(
        "a module of Python 3.14: an older one goes on to the next name",
        f"{_CONTENT}/codings.py",
        "find_zstd",
        ('for name in ("* "backports.zstd"):',),
    ),
    Explained(
        "one member more or less than a bound of a thousand",
        f"{_CONTENT}/codings.py",
        "_Members.*",
        (
            "self._members = 1",
            "self._taken_bytes = 1",
            "if self._members >= FREE_MEMBERS + *",
        ),
    ),
    Explained(
        "where nothing is a start, neither no octets nor one are",
        *(f"{_CONTENT}/codings.py", "_Members._find_next", ("longest = * else 1",)),
    ),
    Explained(
        "a whole number is above a fraction where it is above its whole part",
        f"{_CONTENT}/codings.py",
        "_Members._find_next",
        ("if self._members > FREE_MEMBERS + self._taken_bytes / BYTES_OF_MEMBER:",),
    ),
    Explained(
        "what zlib holds back of its output is far less than a piece",
        f"{_CONTENT}/codings.py",
        "_GzipDecoder._decompress",
        ('while not stream.eof and (piece := stream.decompress(b"", )):',),
    ),
    Explained(
        "one octet more or less than a bound of 16 MiB",
        f"{_CONTENT}/codings.py",
        "ContentDecoder._count",
        ("if self._decoded_bytes >= bound:",),
    ),
    Explained(
        "nothing is done with another field",
        f"{_CONTENT}/parsers.py",
        "EventStreamParser._take_field",
        ("- * case _: *",),
    ),
    Explained(
        "a text of exactly one step is decoded in one step",
        f"{_CONTENT}/forms.py",
        "parse_urlencoded",
        ("if len(text) < UNQUOTED_STEP_CHARS:",),
    ),
    Explained(
        "it is the default of the library",
        f"{_CONTENT}/forms.py",
        "*",
        (
            "text, keep_blank_values=True, max_num_fields=field_count",
            "return unquote(text, )",
        ),
    ),
    Explained(
        "a step of nothing adds nothing",
        *(f"{_CONTENT}/forms.py", "_unquote", ("while at <= len(text):",)),
    ),
    Explained(
        "a step may end before any escape, or between two: none of them is cut",
        f"{_CONTENT}/forms.py",
        "_unquote",
        (
            'escape = text.find("%", end - 2, None)*',
            'escape = text.find("%", end - 2, )*',
            'escape = text.rfind("%", end - 2, end)*',
            'escape = text.find("%", end - 3, end)*',
        ),
    ),
    Explained(
        "no step ends at the first character",
        f"{_CONTENT}/forms.py",
        "_unquote",
        ("end = escape if escape > 0 else end", "end = escape if escape >= 1 else end"),
    ),
    Explained(
        "a dict is a mapping as well",
        f"{_CONTENT}/forms.py",
        "iterate_fields",
        ("pairs = form.items() if (isinstance(form, dict)) and False *",),
    ),
    Explained(
        "Headers do not mind the case of a name",
        f"{_CONTENT}/forwarded.py",
        "resolve_client",
        (
            'for name in ("X-FORWARDED-FOR", *)',
            'for name in (*, "X-FORWARDED-PROTO", *)',
            'for name in (*, "X-FORWARDED-HOST")',
            'forwarded = headers.get("FORWARDED")',
        ),
    ),
    Explained(
        "those that are split off in vain are left out all the same",
        f"{_CONTENT}/forwarded.py",
        "_split_backwards",
        ('entries = value.rsplit(",", )[-MOST_HOPS:]',),
    ),
    Explained(
        "one more turn finds an element of nothing",
        f"{_CONTENT}/forwarded.py",
        "_read_forwarded",
        ("if at >= len(backwards):",),
    ),
    Explained(
        "what has exactly this size is decoded with the collector or without",
        f"{_CONTENT}/forms.py",
        "decode_without_gc",
        ("if len(octets) <= LARGE_BYTES or not gc.isenabled():",),
    ),
    Explained(
        "the longer way comes to the same",
        f"{_CONTENT}/field_values.py",
        "choose_media_type",
        ('if accept is None or accept == "XX*/*XX":',),
    ),
    Explained(
        "no type is called so, and no weight is found in it",
        f"{_CONTENT}/field_values.py",
        "_read_member",
        (
            'return "XXXX", 0.0',
            'return "", 1.0',
            'weight = _WEIGHT.search(member["parameters"] or "XXXX")',
        ),
    ),
    Explained(
        "a type has one slash",
        f"{_CONTENT}/field_values.py",
        "_weight_of",
        ("ranges = (media_type, f\"{media_type.rpartition('/')[0]}/*\", *)",),
    ),
    Explained(
        "it is set before it is read: by the beginning of a part",
        f"{_CONTENT}/parsers.py",
        "MultipartDecoder.__init__",
        (
            'self._segment: MultipartSegment | None = ""',
            "self._is_file = True",
        ),
    ),
    Explained(
        "a suffix has a whole number of octets",
        f"{_CONTENT}/parsers.py",
        "_shortened",
        ("if not stem or len(suffix) > LONGEST_BYTES / 2:",),
    ),
    Explained(
        "a line end is in front of what begins a form",
        f"{_CONTENT}/parsers.py",
        "MultipartDecoder._skip_preamble",
        (
            "end = at if at > 0 else *",
            "end = at if at >= 1 else *",
            "if at <= 0:",
            "if at < 1:",
        ),
    ),
    Explained(
        "one octet more than needed is kept",
        f"{_CONTENT}/parsers.py",
        "MultipartDecoder._skip_preamble",
        ("end = at if at >= 0 else max(len(octets) - len(opening) - 2, 0)",),
    ),
    Explained(
        "each part has this field, or the parser refuses it; in any case",
        f"{_CONTENT}/parsers.py",
        "_filename_of",
        (
            'disposition = segment.header(*Content-Disposition", *)',
            'disposition = segment.header("content-disposition", "")',
            'disposition = segment.header("CONTENT-DISPOSITION", "")',
        ),
    ),
    Explained(
        "what stands for a text in quotes is not read",
        f"{_CONTENT}/parsers.py",
        "_filename_of",
        ("found = _FILENAME_EXTENDED.search(_QUOTED.sub('XX\"\"XX', disposition))",),
    ),
    Explained(
        "of too many ranges the whole is sent, however they are split",
        f"{_CONTENT}/representation.py",
        "decide_ranges",
        (
            'members = match["ranges"].split(",", )',
            'members = match["ranges"].rsplit(",", MOST_RANGES)',
        ),
    ),
)
