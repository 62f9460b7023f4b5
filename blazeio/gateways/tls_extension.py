"""The ``tls`` extension of ASGI: what was agreed on a connection. Pure.

ASGI TLS Extension 0.2.
"""

import ssl
from collections.abc import Mapping
from typing import Any, Final

_VERSIONS: Final = {"TLSv1.2": 0x0303, "TLSv1.3": 0x0304}
_SUITE_BITS: Final = 0xFFFF
"""OpenSSL puts the protocol above the number of IANA's registry."""

# RFC 4514 section 3: attribute types that have a short name; the others are written
# as OpenSSL calls them.
_SHORT_NAMES: Final = {
    "commonName": "CN",
    "countryName": "C",
    "domainComponent": "DC",
    "localityName": "L",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "stateOrProvinceName": "ST",
    "streetAddress": "STREET",
    "userId": "UID",
}
_ESCAPED: Final = frozenset('"+,;<>\\')


def describe_tls(tls: ssl.SSLObject) -> dict[str, Any]:
    """Return the value of ``extensions["tls"]``."""
    certificate = tls.getpeercert(binary_form=True)
    subject = tls.getpeercert() or {}
    return {
        "server_cert": None,
        # The client's own certificate alone: ``ssl`` tells neither the rest of the
        # chain before Python 3.13, nor the certificate that we have shown.
        "client_cert_chain": _list_chain(certificate),
        "client_cert_name": write_name(subject) if certificate else None,
        "client_cert_error": None,
        "tls_version": _VERSIONS.get(tls.version() or ""),
        "cipher_suite": _find_suite(tls),
    }


def _list_chain(certificate: bytes | None) -> list[str]:
    return [] if certificate is None else [ssl.DER_cert_to_PEM_cert(certificate)]


def _find_suite(tls: ssl.SSLObject) -> int | None:
    agreed = tls.cipher()
    if agreed is None:
        return None
    # The connection tells the suite by its name alone; the number is found among those
    # that the context has.
    for suite in tls.context.get_ciphers():
        if suite["name"] == agreed[0]:
            return int(suite["id"]) & _SUITE_BITS
    return None


def write_name(certificate: Mapping[str, Any]) -> str:
    """Write the subject of a certificate as RFC 4514 has it, the last part first.

    Args:
        certificate: As ``getpeercert`` gives it.
    """
    names = certificate.get("subject", ())
    return ",".join("+".join(_write_part(*each) for each in rdn) for rdn in names[::-1])


def _write_part(kind: str, value: str) -> str:
    return f"{_SHORT_NAMES.get(kind, kind)}={_escape(value)}"


def _escape(value: str) -> str:
    """RFC 4514 section 2.4."""
    escaped = "".join(f"\\{each}" if each in _ESCAPED else each for each in value)
    escaped = escaped.replace("\0", "\\00")
    if escaped[:1] in (" ", "#"):
        escaped = "\\" + escaped
    if len(value) > 1 and value.endswith(" "):
        escaped = escaped[:-1] + "\\ "
    return escaped
