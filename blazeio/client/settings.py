"""What can be set of a session: frozen, checked when it is made."""

from dataclasses import dataclass, field, fields
from math import inf
from pathlib import Path
from typing import Literal

from blazeio.client.proxy import read_host
from blazeio.errors import ConfigurationError


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """How long a request is waited for; seconds. None: no bound.

    Each ends the request with an error of its own, and with it everything that
    waits beneath. What a caller does between reads is not counted, but in the
    total.

    Attributes:
        pool_s: For a connection to become free; PoolTimeout.
        connect_s: For one to be made: name, TCP and TLS; ConnectTimeout.
        write_s: For the server to go on reading the request; WriteTimeout.
        continue_s: For the 100 that ``expect_continue`` asks for; then the
            content is sent without it (RFC 9110 section 10.1.1).
        head_s: From the whole request to the head of the response; HeadTimeout.
        read_s: For the next octet of its content; ReadTimeout.
        total_s: From the call to the last octet, or to the 101 of an upgrade;
            TotalTimeout.

    Raises:
        ConfigurationError: One is not more than 0.
    """

    pool_s: float | None = None
    connect_s: float | None = 10.0
    write_s: float | None = 60.0
    continue_s: float = 1.0
    head_s: float | None = 60.0
    read_s: float | None = 60.0
    total_s: float | None = None

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if value is None and each.name != "continue_s":
                continue
            if not isinstance(value, int | float) or not 0 < value < inf:
                message = f"timeout {each.name}={value!r}: expected more than 0"
                raise ConfigurationError(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolLimits:
    """The bounds of a session's connections.

    Attributes:
        connections: Most of them, open or being opened; who asks then waits.
        connections_per_origin: The same, for each scheme, host and port.
        idle_s: How long one is kept that nobody uses, seconds; less where the
            server says so by Keep-Alive.

    Raises:
        ConfigurationError: One of them cannot be.
    """

    connections: int = 100
    connections_per_origin: int = 100
    idle_s: float = 15.0

    def __post_init__(self) -> None:
        for name, least in (
            ("connections", 1),
            ("connections_per_origin", 1),
            ("idle_s", 0),
        ):
            value = getattr(self, name)
            if not isinstance(value, int | float) or not least <= value < inf:
                message = f"pool {name}={value!r}: expected a number >= {least}"
                raise ConfigurationError(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientTls:
    """How https is spoken. Files are PEM.

    Attributes:
        ca_file: Who may issue the server's certificate; None: whom the system
            trusts.
        certfile: A certificate of ours, for servers that ask for one.
        keyfile: Its private key; None: it is in ``certfile``.
        keyfile_password: Of the key, where it is encrypted.
        server_name: The name asked for and verified; None: that of the URL.
        is_verified: False: any certificate will do. Whoever is between can read
            and change everything; for tests.
        tls_min: The least version spoken, "1.2" or "1.3".

    Raises:
        ConfigurationError: One has no effect without another, or cannot be. The
            files are looked at when the first connection is made.
    """

    ca_file: str | Path | None = None
    certfile: str | Path | None = None
    keyfile: str | Path | None = None
    keyfile_password: str | None = field(default=None, repr=False)
    server_name: str | None = None
    is_verified: bool = True
    tls_min: Literal["1.2", "1.3"] = "1.2"

    def __post_init__(self) -> None:
        if self.keyfile is not None and self.certfile is None:
            message = "has no effect without certfile"
            raise ConfigurationError(f"TLS keyfile {self.keyfile}: {message}")
        if self.ca_file is not None and not self.is_verified:
            message = "has no effect where nothing is verified"
            raise ConfigurationError(f"TLS ca_file {self.ca_file}: {message}")
        if self.server_name is not None:
            try:
                read_host(self.server_name)
            except ValueError as error:
                raise ConfigurationError(f"TLS server_name: {error}") from None
        if self.tls_min not in ("1.2", "1.3"):
            message = f"TLS tls_min {self.tls_min!r}: expected 1.2, 1.3"
            raise ConfigurationError(message)
