"""What is typed: the APP argument, and options as other servers spell them. Pure."""

from collections.abc import Callable, Sequence
from typing import Final

from msgspec import Struct

from blazeio_supervisor.errors import UsageError

PROGRAM = "blazeio-supervisor"


class AppPath(Struct, frozen=True):
    """What to serve.

    Attributes:
        text: As the operator wrote it.
        module: Dotted name; "" for a script.
        attribute: Dotted path inside the module; "" for a script, and where the
            module is named alone: then the usual names are looked for in it.
        script: Path of the script; "" for a module.
    """

    text: str
    module: str = ""
    attribute: str = ""
    script: str = ""


def parse_app_path(text: str) -> AppPath:
    """Read an APP argument.

    Raises:
        ValueError: The operator's fault; the text says what is wrong.
    """
    if ":" not in text:
        if text.endswith(".py"):
            return AppPath(text, script=text)
        if all(part.isidentifier() for part in text.split(".")):
            return AppPath(text, module=text)
        raise ValueError(f"{text!r} is not an APP: write `module:attribute`")
    module, _, attribute = text.partition(":")
    if module.endswith(".py"):
        dotted = module.removesuffix(".py").replace("/", ".").lstrip(".")
        raise ValueError(
            f"{text!r} mixes a file and an attribute: "
            f"write `{dotted}:{attribute}` or `{module}`"
        )
    for part in (*module.split("."), *attribute.split(".")):
        if not part.isidentifier():
            raise ValueError(
                f"{text!r} is not `module:attribute`: {part!r} is not a Python name"
            )
    return AppPath(text, module=module, attribute=attribute)


# Options as other servers spell them: each becomes what we call it.


HOST, PORT = "127.0.0.1", "8000"
"""What goes with ``--port`` alone, and with ``--host`` alone."""

LOCAL_PROXIES: Final = "127.0.0.1,::1,unix"
"""Who is believed by ``--proxy-headers``, unless it is said."""

_ASGI_CLASSES: Final = ("asgi", "uvicorn", "hypercorn")
_WSGI_CLASSES: Final = ("sync", "gthread", "wsgi")


def _rename(own: str) -> Callable[[str], list[str]]:
    return lambda value: [own, value]


def _read_class(value: str) -> list[str]:
    """A worker class of gunicorn: it says which interface the app has."""
    name = value.lower()
    for interface, classes in (("asgi", _ASGI_CLASSES), ("wsgi", _WSGI_CLASSES)):
        if any(name == each or name.startswith(f"{each}.") for each in classes):
            return ["--interface", interface]
        if interface == "asgi" and "uvicorn" in name:
            return ["--interface", interface]
    raise UsageError(
        f"-k {value}: there are no worker classes: an ASGI app runs on the worker's "
        "event loop, a WSGI app in its threads (--threads N)"
    )


WITH_VALUE: Final[dict[str, Callable[[str], list[str]]]] = {
    "-w": _rename("--workers"),
    "-b": _rename("--bind"),
    "-k": _read_class,
    "--worker-class": _read_class,
}
"""From a spelling to our own words for it and its value."""

CALLED_HERE: Final[dict[str, str]] = {
    "--access-logfile": "--access-log",
    "--access-logformat": "--access-log-format",
    "--backpressure": "--max-in-flight",
    "--blocking-threads": "--threads",
    "--cert-reqs": "--client-cert",
    "--daemon": "blazeio-supervisor unit",
    "--error-logfile": "--log-file",
    "--keep-alive": "--keep-alive-timeout",
    "--limit-concurrency": "--max-in-flight",
    "--limit-max-requests": "--max-requests",
    "--limit-max-requests-jitter": "--max-requests-jitter",
    "--limit-request-field_size": "--max-field-bytes",
    "--limit-request-fields": "--max-field-count",
    "--limit-request-line": "--max-target-bytes",
    "--pid": "--pid-file",
    "--pythonpath": "--app-dir",
    "--ssl-ca": "--ca-certs",
    "--ssl-ca-certs": "--ca-certs",
    "--ssl-cert-reqs": "--client-cert",
    "--ssl-certfile": "--certfile",
    "--ssl-certificate": "--certfile",
    "--ssl-ciphers": "--ciphers",
    "--ssl-keyfile": "--keyfile",
    "--ssl-keyfile-password": "--keyfile-password-file",
    "--ssl-version": "--tls-min",
    "--statsd-host": "--metrics-bind",
    "--timeout-graceful-shutdown": "--graceful-timeout",
    "--timeout-keep-alive": "--keep-alive-timeout",
    "--uds": "--bind unix:/path",
    "--url-path-prefix": "--root-path",
    "--worker-connections": "--max-connections",
    "--working-dir": "--chdir",
    "-D": "blazeio-supervisor unit",
    "-c": "--config",
    "-e": "--env",
    "-n": "--name",
    "-p": "--pid-file",
    "-t": "--timeout",
}
"""From an option of another server to what is said of it, where it is no option here.
They are not understood as they are: most of them mean it a little differently."""

_ADDRESS: Final = ("--host", "--port")
_PROXY_SWITCHES: Final = ("--proxy-headers", "--no-proxy-headers")


def expand(words: Sequence[str]) -> list[str]:
    """Return the words of a command line in our own spelling.

    Raises:
        UsageError: A value is missing, or means nothing here.
    """
    expanded: list[str] = []
    address: dict[str, str] = {}
    believes_proxies = False
    left = list(words)
    while left:
        word = left.pop(0)
        name, equals, value = word.partition("=")
        if name in WITH_VALUE or name in _ADDRESS:
            if not equals:
                value = _take_value(name, left)
            if name in _ADDRESS:
                address[name] = value
            else:
                expanded += WITH_VALUE[name](value)
        elif word in _PROXY_SWITCHES:
            believes_proxies = word == _PROXY_SWITCHES[0]
        # A short option with its value in one word, as POSIX has it (XBD 12.2,
        # guideline 6).
        elif word[:2] in WITH_VALUE and word[:1] == "-" and word[1:2] != "-":
            expanded += WITH_VALUE[word[:2]](word[2:])  # -w4
        else:
            expanded.append(word)
    if address:
        expanded += ["--bind", _join_address(address)]
    allowed = "--forwarded-allow-ips"
    # uvicorn believes 127.0.0.1 by default, so ``--proxy-headers`` alone has to mean
    # somebody here as well; who is named explicitly wins.
    if believes_proxies and not any(each.startswith(allowed) for each in words):
        expanded += [allowed, LOCAL_PROXIES]
    return expanded


def _take_value(name: str, left: list[str]) -> str:
    if not left:
        raise UsageError(f"Option {name!r} requires an argument")
    return left.pop(0)


def _join_address(address: dict[str, str]) -> str:
    host, port = address.get("--host", HOST), address.get("--port", PORT)
    # An IPv6 address, as uvicorn takes it; behind it a port could not be told from its
    # last group without brackets (RFC 3986, section 3.2.2).
    if ":" in host and not host.startswith("["):
        host = f"[{host}]"
    return f"{host}:{port}"
