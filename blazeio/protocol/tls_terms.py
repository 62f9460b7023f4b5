"""What TLS is spoken on, and what was agreed; values.

May import: ssl.
"""

import ssl
from collections.abc import Mapping
from typing import Any

from msgspec import Struct


class TlsTerms(Struct, frozen=True):
    """What a listener needs to speak TLS; made before a fork, used after.

    Attributes:
        context: Certificates, ciphers and ticket keys; its
            ``sslobject_class`` is ``ServerSideTls``.
        handshake_timeout_s: From the accept to the end of the handshake.
        shutdown_timeout_s: In a close in stages, how long the client's end is
            awaited after ours.
    """

    context: ssl.SSLContext
    handshake_timeout_s: float
    shutdown_timeout_s: float


class TlsFacts(Struct, frozen=True):
    """What was agreed with a client; ``r.tls``.

    Attributes:
        version: "TLSv1.2" or "TLSv1.3".
        cipher: OpenSSL's name of the cipher suite.
        server_name: The name that the client asked for (SNI), in lower case;
            None if it named none.
        peer_certificate: Of the client, verified, as ``ssl.getpeercert`` gives
            it, not to be changed; None if it sent none.
    """

    version: str
    cipher: str
    server_name: str | None
    peer_certificate: Mapping[str, Any] | None


class ServerSideTls(ssl.SSLObject):
    """One connection's TLS; remembers the name that was asked for."""

    server_name: str | None = None
