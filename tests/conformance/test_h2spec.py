"""h2spec (github.com/summerwind/h2spec, ``cmd/h2spec``), where it is installed.

Over TLS, in its strict mode. Without TLS the port speaks HTTP/1.1 as well, and answers
a preface that is none of HTTP/2 by a 400 of HTTP/1.1, which h2spec cannot read.
"""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import trustme

import blazeio as io
from blazeio.testing import TestServer

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]

CASES = 147


def test_every_case_of_h2spec_passes(tmp_path: Path) -> None:
    program = shutil.which("h2spec")
    if program is None:
        pytest.skip("h2spec is not installed")
    pair = tmp_path / "pair.pem"
    issued = trustme.CA().issue_cert("localhost", "127.0.0.1")
    issued.private_key_and_cert_chain_pem.write_to_path(str(pair))
    web = io.App(tls=io.TlsSettings(certfile=str(pair)))

    @web.add_route("/", methods=["GET", "POST"])
    async def echo(r: io.BlazeioServerProtocol) -> None:
        content = await r.read()
        await io.Deliver.text(r, f"hello, {len(content)} octets")

    with TestServer(web) as server:
        port = str(server.port)
        words = [program, "-h", "127.0.0.1", "-p", port, "-t", "-k", "-S", "-o", "10"]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    told = re.search(r"(\d+) tests, (\d+) passed", done.stdout)
    assert told, done.stdout + done.stderr
    assert (int(told[1]), int(told[2])) == (CASES, CASES), done.stdout
