from datetime import UTC, datetime

import pytest
import trustme

from blazeio_supervisor.cli.doctor import read_expiry


def write_pem(content: bytes) -> bytes:
    head, foot = b"-----BEGIN CERTIFICATE-----\n", b"\n-----END CERTIFICATE-----\n"
    return head + content + foot


END = datetime(2031, 2, 3, 4, 5, 6, tzinfo=UTC)


@pytest.mark.parametrize("end", [END, END.replace(year=2055), END.replace(year=1999)])
def test_the_end_of_a_certificate_is_read(end: datetime) -> None:
    begin = end.replace(year=end.year - 1)
    issued = trustme.CA().issue_cert("a.example", not_before=begin, not_after=end)
    assert read_expiry(issued.cert_chain_pems[0].bytes()) == end


def test_the_first_of_a_chain_is_the_servers_own() -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("a.example", not_after=END)
    chain = issued.cert_chain_pems[0].bytes() + authority.cert_pem.bytes()
    assert read_expiry(chain) == END


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        (b"", "no certificate in it"),
        (b"\xff\n", "no certificate in it"),
        (write_pem(b"AAAA"), "cannot be read"),
        (write_pem(b"MAA="), "cannot be read"),
        (write_pem(b"A"), "cannot be read"),
    ],
)
def test_what_is_none_is_said_to_be_none(octets: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        read_expiry(octets)
