"""Random range requests, to us and to nginx: ``make ranges``.

``python -m tests.conformance.range_peers COUNT [SEED]`` sends the same requests
for the same file to both and prints those that were answered differently; the
last line is the count.
"""

import contextlib
import hashlib
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.support.clock import block_until
from tests.support.peer import BlockingPeer
from tests.support.response import Response

SIZE = 10_007
MODIFIED_S = 1_600_000_000
HERE = Path(__file__).parent
NGINX = """
daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 64; }}
http {{
  access_log off; keepalive_requests 1000000000; default_type application/octet-stream;
  client_body_temp_path {folder}; proxy_temp_path {folder};
  fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};
  server {{ listen unix:{folder}/nginx.sock; root {folder}/home; }}
}}
"""


def find_nginx() -> str | None:
    """The program, which may be where only root looks."""
    return shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


Parts = tuple[tuple[str, str, str], ...]
"""Content-Type, Content-Range and a digest of the octets of each part."""


class Answer(NamedTuple):
    """What has to be equal."""

    status: int
    content_range: str | None
    length: str | None
    parts: Parts


class Asked(NamedTuple):
    """A request, but for what names the peer."""

    method: str
    value: str
    condition: str


def make_file(folder: Path) -> None:
    """The file that both serve."""
    (folder / "home").mkdir()
    path = folder / "home" / "file.bin"
    path.write_bytes(random.Random(SIZE).randbytes(SIZE))
    os.utime(path, (MODIFIED_S, MODIFIED_S))


@contextlib.contextmanager
def serving_nginx(program: str, folder: Path) -> Iterator[BlockingPeer]:
    """Serve ``folder/home`` by nginx; a connection to it."""
    config = folder / "nginx.conf"
    config.write_text(NGINX.format(folder=folder))
    command = [program, "-c", str(config), "-e", str(folder / "error.log")]
    process = subprocess.Popen(command)
    try:
        with await_socket(process, folder / "nginx.sock") as peer:
            yield peer
    finally:
        process.terminate()
        process.wait()


def await_socket(process: subprocess.Popen[bytes], path: Path) -> BlockingPeer:
    """Connect as soon as somebody listens."""

    def is_there() -> bool:
        assert process.poll() is None, "nginx has ended"
        with socket.socket(socket.AF_UNIX) as sock:
            return path.exists() and sock.connect_ex(str(path)) == 0

    block_until(is_there, 5, "nginx listens")
    return BlockingPeer(str(path))


def compare(ours: BlockingPeer, theirs: BlockingPeer, count: int, seed: int) -> int:
    """Send the requests; print the differences.

    Returns:
        How many there were.
    """
    chance = random.Random(seed)
    validators = [ask(each, Asked("GET", "", "")) for each in (ours, theirs)]
    differences = 0
    for _ in range(count):
        asked = make_request(chance)
        answers = [
            read_answer(ask(peer, asked, validator), asked.method)
            for peer, validator in zip((ours, theirs), validators, strict=True)
        ]
        if answers[0] != answers[1]:
            differences += 1
            print(asked, *answers, sep="\n  ")
    return differences


def ask(
    peer: BlockingPeer, asked: Asked, validator: Response | None = None
) -> Response:
    """One request; ``condition`` names the field of the validator to send."""
    lines = [f"{asked.method} /file.bin HTTP/1.1", "Host: a"]
    if asked.value:
        lines.append(f"Range: {asked.value}")
    if asked.condition:
        known = validator.field(asked.condition) if validator is not None else None
        lines.append(f"If-Range: {known or asked.condition}")
    peer.send("\r\n".join([*lines, "", ""]).encode())
    return peer.read_response(method=asked.method)


def make_request(chance: random.Random) -> Asked:
    """Most are right, some are odd, some are wrong."""
    members = [make_member(chance) for _ in range(chance.choice([1, 1, 1, 2, 3, 8]))]
    separator = chance.choice([",", ",", ", ", " ,"])
    unit = chance.choice(["bytes="] * 20 + ["Bytes=", "lines=", "bytes"])
    conditions = [""] * 6 + ["etag", "last-modified", '"other"', "yesterday"]
    return Asked(
        chance.choice(["GET"] * 9 + ["HEAD"]),
        unit + separator.join(members),
        chance.choice(conditions),
    )


def make_member(chance: random.Random) -> str:
    """One range; first and last are more often near than far."""
    near = chance.choice([3, 100, SIZE, SIZE + 5, 10**15])
    first = chance.randrange(near)
    last = first + chance.randrange(-2, chance.choice([5, 2000, SIZE]))
    wrong = ["-", "", "a-b", "--5", f"{first}", f"{first}-x", f"+{first}-{first}"]
    kinds = [f"{first}-{max(last, 0)}"] * 12 + [f"{first}-"] * 3 + [f"-{first}"] * 3
    return chance.choice([*kinds * 4, *wrong])


def read_answer(response: Response, method: str) -> Answer:
    """What has to be equal of it: not the boundary, not an error's text."""
    content_type = response.field("content-type") or ""
    boundary = content_type.partition("boundary=")[2]
    length = response.field("content-length")
    parts: Parts = ()
    if response.status not in (200, 206):
        length = None
    elif method == "HEAD":
        length = None if boundary else length
    elif boundary:
        length, parts = None, read_parts(response.body, boundary)
    else:
        parts = ((content_type, "", digest(response.body)),)
    return Answer(response.status, response.field("content-range"), length, parts)


def digest(octets: bytes) -> str:
    """Short enough to be printed."""
    return hashlib.sha256(octets).hexdigest()


def read_parts(body: bytes, boundary: str) -> Parts:
    """Take a multipart/byteranges content apart."""
    before, *parts, ending = body.split(f"\r\n--{boundary}".encode())
    assert (before, ending) == (b"", b"--\r\n")
    found = []
    for part in parts:
        head, _, octets = part.partition(b"\r\n\r\n")
        lines = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
        found.append((lines["Content-Type"], lines["Content-Range"], digest(octets)))
    return tuple(found)


@contextlib.contextmanager
def serving_us(folder: Path) -> Iterator[BlockingPeer]:
    """Serve ``folder/home`` by ``StaticServer``; a connection to it."""
    command = [sys.executable, str(HERE / "range_target.py"), str(folder)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        banner = process.stderr.readline()
        port = re.search(r"127\.0\.0\.1:(\d+)", banner)
        assert port is not None, banner
        with BlockingPeer("127.0.0.1", int(port[1])) as peer:
            yield peer
    finally:
        process.terminate()
        process.communicate()


def run(program: str, folder: Path, count: int, seed: int) -> int:
    """Start both, compare.

    Returns:
        How many answers differed.
    """
    make_file(folder)
    with serving_us(folder) as ours, serving_nginx(program, folder) as theirs:
        return compare(ours, theirs, count, seed)


def main() -> None:
    """All of it; exit status 1 when an answer differed."""
    count, seed = int(sys.argv[1]), int((sys.argv[2:] or ["1"])[0])
    program = find_nginx()
    if program is None:
        sys.exit("this needs nginx: apt-get install nginx-light")
    with tempfile.TemporaryDirectory(prefix="ranges-") as name:
        differences = run(program, Path(name), count, seed)
    print(f"{count} requests, {differences} answered differently (seed {seed})")
    sys.exit(bool(differences))


if __name__ == "__main__":
    main()
