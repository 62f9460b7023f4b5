"""Certificates and keys from files: each mistake is one line that names the file."""

import logging
import os
import re
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from blazeio.errors import ConfigurationError
from blazeio.server.tls import load_pair, read_password
from tests.support.tls_peer import Certificates

NOW = datetime.now(UTC)
DAY = timedelta(1)


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path)


@pytest.fixture
def cert(certificates: Certificates) -> Path:
    """A certificate with its key."""
    return certificates.issue("a.example")


def load(
    certfile: Path, keyfile: Path | None = None, password: str | None = None
) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    load_pair(context, certfile, keyfile, password)
    return context


def mistake_of(
    certfile: Path, keyfile: Path | None = None, password: str | None = None
) -> str:
    """The one line that it is refused with."""
    with pytest.raises(ConfigurationError) as raised:
        load(certfile, keyfile, password)
    message = str(raised.value)
    assert "\n" not in message
    assert message.startswith("TLS ")
    return message


def encrypt(path: Path, password: bytes, style: str = "PKCS8") -> Path:
    """The key in a file, encrypted, in a file of its own."""
    key = serialization.load_pem_private_key(path.read_bytes(), None)
    encrypted = path.with_suffix(".key")
    encrypted.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            getattr(serialization.PrivateFormat, style),
            serialization.BestAvailableEncryption(password),
        )
    )
    return encrypted


def test_key_and_certificate_may_share_a_file(cert: Path) -> None:
    assert load(cert).cert_store_stats()
    assert load(cert, cert).cert_store_stats()


def test_what_the_certificate_says_is_returned(cert: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    assert load_pair(context, cert, None, None).names == ("a.example",)


class TestFiles:
    def test_that_are_missing(self, cert: Path, tmp_path: Path) -> None:
        path = tmp_path / "none.pem"
        assert mistake_of(path) == f"TLS certfile {path}: no such file"
        assert mistake_of(cert, path) == f"TLS keyfile {path}: no such file"

    def test_that_are_folders(self, cert: Path, tmp_path: Path) -> None:
        message = f"{tmp_path}: is a directory; name the file in it"
        assert mistake_of(tmp_path) == f"TLS certfile {message}"
        assert mistake_of(cert, tmp_path) == f"TLS keyfile {message}"

    def test_that_may_not_be_read(self, cert: Path) -> None:
        cert.chmod(0)
        user = os.geteuid()
        if user == 0:
            os.seteuid(65534)  # root may read everything
        try:
            message = mistake_of(cert)
        finally:
            os.seteuid(user)
        assert re.search(r"pem: user \d+ may not read it$", message)

    def test_that_are_below_a_file(self, cert: Path) -> None:
        assert "Not a directory" in mistake_of(cert / "a.pem")


class TestCertificates:
    def test_that_are_none(self, tmp_path: Path, cert: Path) -> None:
        path = tmp_path / "text.pem"
        path.write_text("hello")
        assert mistake_of(path, cert).startswith(
            f"TLS certfile {path}: holds no PEM certificate; `openssl x509`"
        )

    def test_that_are_der(self, cert: Path) -> None:
        path = cert.with_suffix(".der")
        path.write_bytes(ssl.PEM_cert_to_DER_cert(_first_block(cert)))
        assert "`openssl x509` makes PEM of others" in mistake_of(path, cert)

    def test_that_are_the_key(self, cert: Path) -> None:
        path = encrypt(cert, b"x")
        assert mistake_of(path, cert).endswith("no PEM certificate; is it the keyfile?")

    def test_that_are_damaged(self, cert: Path) -> None:
        path = cert.with_suffix(".damaged")
        path.write_text(_first_block(cert).replace("MII", "AAA", 1))
        assert "its first certificate cannot be read" in mistake_of(path, cert)

    def test_whose_chain_is_damaged(self, cert: Path) -> None:
        path = cert.with_suffix(".damaged")
        block = _first_block(cert)
        path.write_text(cert.read_text() + block[:100] + "\n" + block[104:])
        assert f"TLS certfile {path}: a certificate in it is damaged" in mistake_of(
            path, cert
        )

    def test_that_openssl_finds_too_weak(self, tmp_path: Path) -> None:
        path = tmp_path / "weak.pem"
        path.write_bytes(_self_signed(rsa.generate_private_key(65537, 1024)))
        message = "OpenSSL refuses it (ee key too small); have a stronger one issued"
        assert mistake_of(path) == f"TLS certfile {path}: {message}"

    @pytest.mark.parametrize(
        ("begins_at", "ends_at", "words"),
        [
            (NOW - timedelta(9), NOW - timedelta(2), "it expired on"),
            (NOW + timedelta(2), NOW + timedelta(9), "it is not valid before"),
        ],
    )
    def test_that_are_not_valid_today_are_a_warning(
        self,
        certificates: Certificates,
        tmp_path: Path,
        caplog: pytest.LogCaptureFixture,
        begins_at: datetime,
        ends_at: datetime,
        words: str,
    ) -> None:
        leaf = certificates.authority.issue_cert(
            "a.example", not_before=begins_at, not_after=ends_at
        )
        path = tmp_path / "old.pem"
        leaf.private_key_and_cert_chain_pem.write_to_path(path)
        load(path)
        (record,) = caplog.records
        assert record.levelno == logging.WARNING
        assert f"{path}: {words}" in record.getMessage()


class TestKeys:
    def test_that_are_none(self, cert: Path) -> None:
        path = cert.with_suffix(".only")
        path.write_text(_first_block(cert))
        message = "holds no PEM private key; name the file that does as keyfile"
        assert mistake_of(path) == f"TLS keyfile {path}: {message}"

    @pytest.mark.parametrize("key_type", list(trustme.KeyType))
    def test_that_are_of_another_certificate(
        self, certificates: Certificates, cert: Path, key_type: trustme.KeyType
    ) -> None:
        leaf = certificates.authority.issue_cert("b.example", key_type=key_type)
        path = cert.with_name("b.key")
        leaf.private_key_pem.write_to_path(path)
        assert mistake_of(cert, path).startswith(
            f"TLS keyfile {path}: is not the key of the first certificate in {cert}"
        )

    def test_that_are_damaged(self, cert: Path) -> None:
        path = cert.with_suffix(".key")
        text = cert.read_text()
        path.write_text(text[:60] + text[80:])
        assert "TLS keyfile" in mistake_of(cert, path)
        assert "the key in it is damaged" in mistake_of(cert, path)


class TestPasswords:
    @pytest.mark.parametrize("style", ["PKCS8", "TraditionalOpenSSL"])
    def test_open_encrypted_keys(self, cert: Path, style: str) -> None:
        key = encrypt(cert, b"secret", style)
        load(cert, key, "secret")
        message = mistake_of(cert, key, "wrong")
        assert f"TLS keyfile {key}: the password does not open it" in message

    @pytest.mark.parametrize("style", ["PKCS8", "TraditionalOpenSSL"])
    def test_that_are_missing_are_not_asked_for(self, cert: Path, style: str) -> None:
        message = mistake_of(cert, encrypt(cert, b"secret", style))
        assert "is encrypted" in message
        assert "keyfile_password_file" in message

    def test_that_nobody_needs_do_no_harm(self, cert: Path) -> None:
        load(cert, None, "secret")

    @pytest.mark.parametrize("text", ["secret", "secret\n", "secret\r\n", "secret\nx"])
    def test_are_the_first_line_of_their_file(self, tmp_path: Path, text: str) -> None:
        path = tmp_path / "password"
        path.write_bytes(text.encode())
        assert read_password(path) == "secret"

    @pytest.mark.parametrize("text", ["", "\n", "x" * 1025])
    def test_of_no_possible_length_are_refused(self, tmp_path: Path, text: str) -> None:
        path = tmp_path / "password"
        path.write_text(text)
        with pytest.raises(ConfigurationError, match="1 to 1024 octets"):
            read_password(path)

    def test_may_be_none(self) -> None:
        assert read_password(None) is None


def _first_block(path: Path) -> str:
    text = path.read_text()
    start = text.index("-----BEGIN CERTIFICATE-----")
    end = "-----END CERTIFICATE-----\n"
    return text[start : text.index(end) + len(end)]


def _self_signed(key: rsa.RSAPrivateKey) -> bytes:
    name = x509.Name([])
    cert = x509.CertificateBuilder(
        name, name, key.public_key(), 1, NOW, NOW + DAY
    ).sign(key, hashes.SHA256())
    return cert.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
