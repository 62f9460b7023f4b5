from dataclasses import fields

import pytest

from blazeio.server.tls import TlsSettings
from blazeio_supervisor.errors import UsageError
from blazeio_supervisor.options.overrides.tls import BY_FIELD, read_tls
from tests.supervisor.typed import given


def test_each_setting_has_an_option_and_each_option_a_setting() -> None:
    assert BY_FIELD.keys() == {field.name for field in fields(TlsSettings)}


@pytest.mark.parametrize("field", ["tls_min", "client_cert"])
def test_each_default_that_is_said_is_that_of_the_setting(field: str) -> None:
    (default,) = [f.default for f in fields(TlsSettings) if f.name == field]
    assert f"[default: {default}]" in (BY_FIELD[field].help or "")


@pytest.mark.parametrize("field", ["handshake_timeout_s", "shutdown_timeout_s"])
def test_each_timeout_says_its_default(field: str) -> None:
    (default,) = [f.default for f in fields(TlsSettings) if f.name == field]
    assert f"[default: {default:g}]" in (BY_FIELD[field].help or "")


def test_without_an_option_there_is_no_word_on_tls() -> None:
    assert read_tls(given()) is None


def test_only_what_was_said_is_kept() -> None:
    said = read_tls(given("--certfile=c", "--keyfile=k", "--tls-handshake-timeout=3"))
    assert said == {"certfile": "c", "keyfile": "k", "handshake_timeout_s": 3.0}


def test_other_certificates_come_with_their_keys_or_without() -> None:
    said = read_tls(
        given("--certfile=c", "--other-certificate=a", "--other-certificate=b,b.key")
    )
    assert said is not None
    assert said["other_certificates"] == (("a", None), ("b", "b.key"))


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--keyfile=k"], "--keyfile: has no effect without --certfile"),
        (["--client-ca=c"], "--client-ca: has no effect without --certfile"),
        (
            ["--certfile=c", "--client-cert=maybe"],
            "--client-cert maybe: expected none, optional, required",
        ),
        (
            ["--certfile=c", "--client-cert=required"],
            "--client-cert required: name who issues as --client-ca",
        ),
        (
            ["--certfile=c", "--client-ca=/etc/client_ca.pem"],
            "--client-ca /etc/client_ca.pem: has no effect without --client-cert "
            "optional or required",
        ),
        (["--certfile=c", "--tls-min=1.1"], "--tls-min 1.1: expected 1.2, 1.3"),
        (
            ["--certfile=c", "--tls-min=1.3", "--ciphers=x"],
            "--ciphers x: has no effect with --tls-min 1.3, whose --ciphers are "
            "OpenSSL's",
        ),
        (
            ["--certfile=c", "--tls-shutdown-timeout=nan"],
            "--tls-shutdown-timeout nan: expected more than 0",
        ),
    ],
)
def test_what_cannot_be_is_said_in_the_words_of_the_command_line(
    options: list[str], line: str
) -> None:
    with pytest.raises(UsageError) as caught:
        read_tls(given(*options))
    assert str(caught.value) == line
