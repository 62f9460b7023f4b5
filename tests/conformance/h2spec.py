"""h2spec (github.com/summerwind/h2spec, ``cmd/h2spec``) against a server over TLS.

    make h2spec                 # finds h2spec by PATH

In its strict mode. Without TLS the port speaks HTTP/1.1 as well, and answers a preface
that is none of HTTP/2 by a 400 of HTTP/1.1, which h2spec cannot read.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import trustme

import blazeio as io
from blazeio.testing import TestServer

CASES = 147
TIMEOUT_S = 300


def make_app(folder: Path) -> io.App:
    """An app that answers what h2spec asks, over TLS."""
    pair = folder / "pair.pem"
    issued = trustme.CA().issue_cert("localhost", "127.0.0.1")
    issued.private_key_and_cert_chain_pem.write_to_path(str(pair))
    web = io.App(tls=io.TlsSettings(certfile=str(pair)))

    @web.add_route("/", methods=["GET", "POST"])
    async def echo(r: io.BlazeioServerProtocol) -> None:
        content = await r.read()
        await io.Deliver.text(r, f"hello, {len(content)} octets")

    return web


def main() -> int:
    """Run all cases; return the exit code."""
    program = shutil.which("h2spec")
    if program is None:
        print("h2spec is not installed: go install its cmd/h2spec")
        return 2
    with (
        tempfile.TemporaryDirectory() as folder,
        TestServer(make_app(Path(folder))) as server,
    ):
        port = str(server.port)
        words = [program, "-h", "127.0.0.1", "-p", port, "-t", "-k", "-S", "-o", "10"]
        done = subprocess.run(
            words, capture_output=True, text=True, check=False, timeout=TIMEOUT_S
        )
    print(done.stdout + done.stderr)
    told = re.search(r"(\d+) tests, (\d+) passed", done.stdout)
    passed = told is not None and (int(told[1]), int(told[2])) == (CASES, CASES)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
