"""Those of the client's rules: see ``explained.py``."""

from tests.mutants.explanation import Explained

_CLIENT = "blazeio/client"
CLIENT: tuple[Explained, ...] = (
    Explained(
        "what is not there is no value that counts, and neither is XXXX",
        f"{_CLIENT}/cookies.py",
        "parse_set_cookie",
        (
            'max_age = attributes.get("max-age", "XXXX")',
            'path = attributes.get("path", "XXXX")',
            'parse_cookie_date(attributes.get("expires", "XXXX")),',
        ),
    ),
    Explained(
        "the three letters of each month are in the text once, at a place of a month",
        *(f"{_CLIENT}/cookies.py", "_month_of", ("place = _MONTHS.rfind(*",)),
    ),
    Explained(
        "ordinals say which came first",
        *(f"{_CLIENT}/cookies.py", "CookieJar.*", ("self._ordinal += 2",)),
    ),
    Explained(
        "a suffix that is the host itself is for that host alone either way",
        *(f"{_CLIENT}/cookies.py", "CookieJar._accept", ("domain = None",)),
    ),
    Explained(
        "when the heap is made anew changes only what that costs",
        f"{_CLIENT}/cookies.py",
        "CookieJar._evict_of_all",
        ("if not queue or len(queue) *",),
    ),
    Explained(
        "neither ends in a dot",
        f"{_CLIENT}/cookies.py",
        "_read_domain",
        ('*not (parts.hostname or "XXXX").endswith(".")*',),
    ),
    Explained(
        "only where no other than FIPS algorithms are allowed MD5 would be refused",
        f"{_CLIENT}/auth.py",
        "DigestChallenge._hash",
        ("return hashlib.new(name, octets, *",),
    ),
    Explained(
        "an X needs no escape",
        f"{_CLIENT}/auth.py",
        "DigestChallenge._name",
        ("*percent_encode(username, safe='XXXX')*",),
    ),
    Explained(
        "no challenge is found at the end",
        *(f"{_CLIENT}/auth.py", "_parse_digests", ("while at <= len(field):",)),
    ),
    Explained(
        "neither is true",
        f"{_CLIENT}/auth.py",
        "_read",
        ('parameters.get("userhash", "XXXX").lower() == "true",',),
    ),
    Explained(
        "no two tickets have one number, and which came first is all that it says",
        f"{_CLIENT}/pool.py",
        "*",
        (
            "if last is None or last.number <= ticket.number:",
            "*(lambda each: each.number <= ticket.number, waiting))",
            "self._asked_count += 2",
            "self._asked_count = 1",
            "if first is None or oldest.number <= first.number:",
        ),
    ),
    Explained(
        "nothing is opened any more",
        *(f"{_CLIENT}/pool.py", "Pool.close_all", ("self._opening_count = 1",)),
    ),
    Explained(
        "where there is room, nobody who could have it waits for it",
        *(f"{_CLIENT}/pool.py", "Pool._place", ("starved = * or True else None",)),
    ),
    Explained(
        "an origin with a connection is among those of the pool",
        f"{_CLIENT}/pool.py",
        "Pool._forget",
        ("self._by_origin.pop(of_origin.origin, )",),
    ),
    Explained(
        "it is Python's own default",
        *(f"{_CLIENT}/url.py", "read_host", ("name = unquote(name, )",)),
    ),
    Explained(
        "a name of ASCII comes out the same, by tables that take 10 ms to import",
        f"{_CLIENT}/url.py",
        "read_host",
        ("name = name.lower() if (name.isascii()) and False else _to_ascii(name)",),
    ),
    Explained(
        "any number below 0 is none",
        f"{_CLIENT}/url.py",
        "_read_*",
        ("* if len(parts) < 5 else [-2]", "return -2*"),
    ),
    Explained(
        "0 is 0 as an octal number",
        f"{_CLIENT}/url.py",
        "_read_number",
        ('return int(part, 8 if len(part) >= 1 and part[0] == "0" else 10)',),
    ),
    Explained(
        "both that are compared are written so",
        *(f"{_CLIENT}/url.py", "_canonical", ("host = host.upper()",)),
    ),
    Explained(
        "names of fields are found in any case",
        f"{_CLIENT}/request.py",
        "RedirectHandler.*",
        (
            'locations = set(headers.get_all("LOCATION"))',
            'fields = headers.get_all("WWW-AUTHENTICATE")',
        ),
    ),
    Explained(
        "both that are compared are written so",
        f"{_CLIENT}/request.py",
        "_name",
        ('return (name if isinstance(name, str) else str(name, "latin-1")).upper()',),
    ),
    Explained(
        "any version from 1.1 on has chunks",
        f"{_CLIENT}/request.py",
        "frame_request",
        ("head, framing, length, 2, is_persistent=not block.wants_close",),
    ),
    Explained(
        "the first part is the same, whatever the rest is split into",
        *(f"{_CLIENT}/url.py", "show_url", ('port = re.split(r"[/?#]", rest, *',)),
    ),
)
