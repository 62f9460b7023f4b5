"""Formats are compiled once; each atom says what its table says."""

import json
import os
import re
import time
from collections.abc import AsyncIterator
from datetime import datetime

import pytest

from blazeio.content.forwarded import parse_allow_list
from blazeio.errors import ConfigurationError
from blazeio.limits import Limits
from blazeio.protocol.carrier import Trust
from blazeio.server.log_format import ATOMS, compile_format
from tests.protocol.serving import R, Served, chunks, request
from tests.support.clock import wait_until
from tests.support.tree import REPOSITORY

BROWSER = "Mozilla/5.0 (X11; Linux x86_64)"
TRUST = Trust(forwarded_allow_ips=parse_allow_list("127.0.0.1"))
DOCUMENT = REPOSITORY / "docs" / "reference" / "access-log.md"


class Lines:
    """A log that keeps its lines."""

    def __init__(self) -> None:
        self.form = compile_format("combined", "")
        self.lines: list[str] = []

    def record(self, r: R) -> None:
        self.form.read_clock()
        self.lines.append(self.form.compose(r))

    def close(self) -> None:
        pass


class Site:
    """A server with a log of one line."""

    def __init__(self, served: Served, log: Lines) -> None:
        self._served = served
        self._log = log

    async def line(self, text: str, octets: bytes, method: str = "GET") -> str:
        """What a format says of the response to one request."""
        self._log.lines.clear()
        self._log.form = compile_format(text, "worker 3")
        await self._served.exchange(octets, method=method)
        await wait_until(lambda: self._log.lines)
        (line,) = self._log.lines
        assert line.index("\n") == len(line) - 1
        return line[:-1]


async def handle(r: R) -> None:
    await r.read()
    if r.path == "/stream":
        await r.write("one")
        await r.write("two")
    else:
        r.reply(b"hello", 203)


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    log = Lines()
    served = Served.start(handle, Limits(), trust=TRUST, access_log=log)
    yield Site(served, log)
    await served.end()


async def test_the_combined_format_is_that_of_apache_and_the_duration(
    site: Site,
) -> None:
    fields = (f"User-Agent: {BROWSER}", "Referer: http://a.test/")
    line = await site.line("combined", request("GET", "/a?b=c", *fields))
    assert re.fullmatch(
        r"127\.0\.0\.1 - - \[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d \+0000\] "
        r'"GET /a\?b=c HTTP/1\.1" 203 5 "http://a\.test/" '
        r'"Mozilla/5\.0 \(X11; Linux x86_64\)" \d+',
        line,
    )


async def test_what_is_not_there_is_a_dash(site: Site) -> None:
    text = '"{referer}" {user_agent} {query} {field:x-a}'
    assert await site.line(text, request("GET")) == '"-" - - -'


async def test_json_has_a_member_for_each_atom(site: Site) -> None:
    before = time.time()
    line = await site.line("json", request("GET", "/a?b=c", f"User-Agent: {BROWSER}"))
    entry = json.loads(line)
    assert 0 < entry.pop("duration_us") < 5_000_000
    assert 1024 <= entry.pop("client_port") <= 65_535
    at = datetime.fromisoformat(entry.pop("time_iso"))
    assert int(before) <= at.timestamp() <= time.time()
    assert entry == {
        "worker": "worker 3",
        "client_host": "127.0.0.1",
        "scheme": "http",
        "method": "GET",
        "target": "/a?b=c",
        "version": "HTTP/1.1",
        "status": 203,
        "content_bytes": 5,
        "outcome": "complete",
        "referer": None,
        "user_agent": BROWSER,
    }


async def test_json_of_chosen_atoms(site: Site) -> None:
    text = "json:method, status,field:X-Request-Id,field:X-None"
    line = await site.line(text, request("GET", "/", "X-Request-Id: 7"))
    assert line == '{"method":"GET","status":203,"x-request-id":"7","x-none":null}'


@pytest.mark.parametrize(
    ("atom", "octets", "said"),
    [
        ("worker", request("GET"), "worker 3"),
        pytest.param("pid", request("GET"), str(os.getpid()), id="pid"),
        ("client_host", request("GET"), "127.0.0.1"),
        ("client_host", request("GET", "/", "X-Forwarded-For: 192.0.2.1"), "192.0.2.1"),
        ("client_port", request("GET", "/", "X-Forwarded-For: 192.0.2.1:7"), "7"),
        ("client_port", request("GET", "/", "X-Forwarded-For: 192.0.2.1"), "-"),
        ("scheme", request("GET"), "http"),
        ("scheme", request("GET", "/", "X-Forwarded-Proto: https"), "https"),
        ("authority", request("GET"), "a"),
        ("authority", request("GET", "http://b.test:81/"), "b.test:81"),
        ("authority", request("GET", "/", "X-Forwarded-Host: c.test"), "c.test"),
        ("authority", b"GET / HTTP/1.0\r\n\r\n", "-"),
        ("method", request("get"), "get"),
        ("target", request("GET", "/%41?b=%0A"), "/%41?b=%0A"),
        ("path", request("GET", "/%41%0A%22?b"), r"/A\n\""),
        ("path", request("GET", "/%E2%82%AC"), r"/\u20ac"),
        ("query", request("GET", "/?a=b&c"), "a=b&c"),
        ("version", request("GET"), "HTTP/1.1"),
        ("version", b"GET / HTTP/1.0\r\n\r\n", "HTTP/1.0"),
        ("status", request("GET"), "203"),
        ("content_bytes", request("GET"), "5"),
        ("content_bytes", request("GET", "/stream"), "6"),
        ("content_bytes", b"GET /stream HTTP/1.0\r\n\r\n", "6"),
        ("received_bytes", request("GET"), "0"),
        (
            "received_bytes",
            request("POST", "/", "Content-Length: 7") + b"content",
            "7",
        ),
        (
            "received_bytes",
            request("POST", "/", "Transfer-Encoding: chunked") + chunks(b"12", b"3"),
            "3",
        ),
        ("outcome", request("GET"), "complete"),
        ("referer", request("GET", "/", "Referer: a"), "a"),
        ("user_agent", request("GET", "/", "User-Agent: a"), "a"),
        ("field:X-A", request("GET", "/", "x-a: 1", "X-A: 2"), "1, 2"),
        ("field:host", request("GET"), "a"),
    ],
)
async def test_an_atom_says(site: Site, atom: str, octets: bytes, said: str) -> None:
    assert await site.line("{" + atom + "}", octets) == said


@pytest.mark.parametrize("target", ["/", "/stream"])
async def test_no_content_goes_to_head(site: Site, target: str) -> None:
    line = await site.line("{content_bytes}", request("HEAD", target), "HEAD")
    assert line == "0"


async def test_the_time_is_that_of_the_response(site: Site) -> None:
    line = await site.line("{time} {time_iso} {duration_us}", request("GET"))
    clf, zone, iso, duration = line.split(" ")
    assert zone == "+0000"
    now = time.time()
    parsed = time.strptime(clf + " UTC", "%d/%b/%Y:%H:%M:%S %Z")
    assert time.gmtime(now - 5) <= parsed <= time.gmtime(now)
    assert iso.startswith(time.strftime("%Y-%m-%dT%H:", parsed))
    assert 0 < int(duration) < 5_000_000


async def test_braces_and_percent_signs_are_text(site: Site) -> None:
    text = "{{{method}}} 100% {{}} 'q' \"Q\" \\ {status}%s \xe9"
    line = await site.line(text, request("GET"))
    assert line == "{GET} 100% {} 'q' \"Q\" \\ 203%s \xe9"


@pytest.mark.parametrize("text", ["combined", "json", '"{user_agent}"', "{field:x}"])
@pytest.mark.parametrize(
    "value",
    [
        '" 200 0 "-" "-"',
        "\\",
        "\\n",
        '\\"',
        "\xff\xfe",
        '\xe2\x80\xa8","status":500,"x":"',
        "%s %(a)s {status} {0}",
        "a\tb",
    ],
)
async def test_no_field_leaves_its_place(site: Site, text: str, value: str) -> None:
    fields = (f"User-Agent: {value}", f"X: {value}", f"Referer: {value}")
    octets = request("GET", '/"?\\', "-: -").replace(
        b"-: -", "\r\n".join(fields).encode("latin-1")
    )
    line = await site.line(text, octets)
    assert line.isascii()
    assert line.isprintable()
    if text == "json":
        entry = json.loads(line)
        assert (entry["user_agent"], entry["status"]) == (value, 203)
        assert entry["target"] == '/"?\\'
    elif text == "combined":
        assert len(re.findall(r'(?<!\\)(?:\\\\)*"', line)) == 6
    elif '"' in text:
        inner = line[1:-1].replace('\\"', '"').encode().decode("unicode_escape")
        assert inner == value


# What is refused


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "expected combined, json, json:ATOM,ATOM or text with {atoms}"),
        ("Combined", "expected combined, json"),
        ("{statsu}", "no atom 'statsu'; did you mean status?; or field:NAME"),
        ("{zzz}", "no atom 'zzz'; known: time, time_iso, worker"),
        ("{}", "no atom ''; known: "),
        ("{0}", "no atom '0'; known: "),
        ("json:", "no atom ''; known: "),
        ("json:method,", "no atom ''; known: "),
        ("{field}", "no atom 'field'; known: "),
        ("{field:}", "no atom 'field'; known: "),
        ("{field:a b}", "no atom 'field:a b'"),
        ("{status:d}", "no atom 'status:d'; did you mean status?"),
        ("{r.headers}", "no atom 'r.headers'"),
        ("{status!r}", "!r has no meaning here"),
        ("{status", "expected '}' before end of string"),
        ("status}", "expected combined"),
        ("{status}}", "Single '}' encountered in format string"),
        ("{status}\n{method}", "control characters"),
    ],
)
def test_a_format_that_means_nothing_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        compile_format(text, "0")
    assert reason in str(caught.value)
    assert str(caught.value).startswith("access log format")


# What is documented


def test_the_document_lists_each_atom_with_its_meaning() -> None:
    row = re.compile(r"^\| `(\w+)` \| (.+) \|$", re.MULTILINE)
    rows = row.findall(DOCUMENT.read_text().partition("## Atoms")[2])
    assert rows == [(name, atom.meaning) for name, atom in ATOMS.items()]
