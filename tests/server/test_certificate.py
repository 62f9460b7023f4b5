"""X.509: the names and the validity of a certificate."""

import ssl
from datetime import UTC, datetime, timedelta

import pytest
import trustme

from blazeio.server.tls import Certificate, read_certificate

AUTHORITY = trustme.CA(key_type=trustme.KeyType.ECDSA)
NOT_AFTER = datetime(2055, 1, 2, 3, 4, 5, tzinfo=UTC)
"""Written as GeneralizedTime, since its year has four digits that matter."""


def issue(*names: str, key_type: trustme.KeyType = trustme.KeyType.ECDSA) -> str:
    """A certificate for these names, followed by its key."""
    leaf = AUTHORITY.issue_cert(*names, key_type=key_type, not_after=NOT_AFTER)
    return leaf.private_key_and_cert_chain_pem.bytes().decode()


def issue_der() -> bytes:
    leaf = AUTHORITY.issue_cert("a.example", "*.b.example")
    return ssl.PEM_cert_to_DER_cert(leaf.cert_chain_pems[0].bytes().decode())


def read(pem: str) -> Certificate:
    certificate = read_certificate(pem)
    assert certificate is not None
    return certificate


@pytest.mark.parametrize("key_type", list(trustme.KeyType))
def test_names_are_those_of_the_extension(key_type: trustme.KeyType) -> None:
    pem = issue("A.example", "*.b.example", "192.0.2.1", key_type=key_type)
    assert read(pem).names == ("a.example", "*.b.example")


def test_a_certificate_may_have_no_name() -> None:
    assert read(issue("192.0.2.1")).names == ()
    assert read(AUTHORITY.cert_pem.bytes().decode()).names == ()


def test_validity_is_read_in_both_ways_of_writing_times() -> None:
    certificate = read(issue("a.example"))
    assert certificate.begins_at < datetime.now(UTC) - timedelta(hours=1)
    assert certificate.ends_at == NOT_AFTER


def test_times_agree_with_openssl() -> None:
    pem = AUTHORITY.cert_pem.bytes().decode()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=pem)
    (theirs,) = context.get_ca_certs()
    ours = read(pem)
    for ours_at, theirs_at in (
        (ours.begins_at, theirs["notBefore"]),
        (ours.ends_at, theirs["notAfter"]),
    ):
        assert ours_at.timestamp() == ssl.cert_time_to_seconds(str(theirs_at))


def test_two_digits_of_a_year_are_those_from_1950_to_2049() -> None:
    der = ssl.PEM_cert_to_DER_cert(AUTHORITY.cert_pem.bytes().decode())
    first = der.index(b"\x17\x0d") + 2  # notBefore, as UTCTime
    for year, text in ((1950, b"50"), (1999, b"99"), (2049, b"49")):
        edited = der[:first] + text + der[first + 2 :]
        pem = ssl.DER_cert_to_PEM_cert(edited)
        assert read(pem).begins_at.year == year


def test_the_first_certificate_of_a_chain_counts() -> None:
    pem = issue("first.example") + issue("second.example")
    assert read(pem).names == ("first.example",)


def test_text_without_a_certificate_has_none() -> None:
    assert read_certificate("") is None
    assert read_certificate("-----BEGIN CERTIFICATE-----") is None


def test_what_is_damaged_is_a_value_error() -> None:
    der = issue_der()
    for end in range(1, len(der)):
        with pytest.raises(ValueError, match=r"."):
            read_certificate(ssl.DER_cert_to_PEM_cert(der[:end]))


def test_what_is_no_base64_is_a_value_error() -> None:
    pem = "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----"
    with pytest.raises(ValueError, match=r"."):
        read_certificate(pem)


def test_flipped_octets_never_raise_anything_else() -> None:
    der = bytearray(issue_der())
    names: set[str] = set()
    for place in range(len(der)):
        for flip in (0x01, 0x80, 0xFF):
            der[place] ^= flip
            try:
                names.update(read(ssl.DER_cert_to_PEM_cert(bytes(der))).names)
            except ValueError:
                pass  # most flips harm nothing that is read
            der[place] ^= flip
    assert "a.example" in names
