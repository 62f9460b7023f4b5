from dataclasses import fields

import pytest

from blazeio.server.tls import TlsSettings
from blazeio_supervisor.config.http import Tls
from blazeio_supervisor.config.option import list_options
from blazeio_supervisor.errors import UsageError
from tests.supervisor.typed import read_settings

BY_SETTING = {option.of: option for option in list_options(Tls)}
DEFAULTS = {field.name: field.default for field in fields(TlsSettings)}


def test_each_setting_has_an_option_and_each_option_a_setting() -> None:
    assert BY_SETTING.keys() == DEFAULTS.keys()


@pytest.mark.parametrize(
    "field", ["tls_min", "client_cert", "handshake_timeout_s", "shutdown_timeout_s"]
)
def test_each_default_that_is_said_is_that_of_the_setting(field: str) -> None:
    option = BY_SETTING[field]
    assert option.kind.read(option.shown_default) == DEFAULTS[field]


def test_without_an_option_there_is_no_word_on_tls() -> None:
    assert read_settings().overrides.tls is None


def test_only_what_was_said_is_kept() -> None:
    options = ["--certfile=c", "--keyfile=k", "--tls-handshake-timeout=3"]
    said = read_settings(*options).overrides.tls
    assert said == {"certfile": "c", "keyfile": "k", "handshake_timeout_s": 3.0}


def test_other_certificates_come_with_their_keys_or_without() -> None:
    others = ["--other-certificate=a", "--other-certificate=b,b.key"]
    said = read_settings("--certfile=c", *others).tls
    assert said is not None
    assert said["other_certificates"] == (("a", None), ("b", "b.key"))


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--keyfile=k"], "--keyfile k: has no effect without --certfile"),
        (["--ca-certs=c"], "--ca-certs c: has no effect without --certfile"),
        (
            ["--certfile=c", "--client-cert=maybe"],
            "--client-cert maybe: expected none, optional or required",
        ),
        (
            ["--certfile=c", "--client-cert=required"],
            "--client-cert required: name who issues as --ca-certs",
        ),
        (
            ["--certfile=c", "--ca-certs=/etc/client_ca.pem"],
            "--ca-certs /etc/client_ca.pem: has no effect without --client-cert "
            "optional or required",
        ),
        (["--certfile=c", "--tls-min=1.1"], "--tls-min 1.1: expected 1.2 or 1.3"),
        (
            ["--certfile=c", "--tls-min=1.3", "--ciphers=x"],
            "--ciphers x: has no effect with --tls-min 1.3, whose --ciphers are "
            "OpenSSL's",
        ),
        (
            ["--certfile=c", "--tls-shutdown-timeout=nan"],
            "--tls-shutdown-timeout nan: expected seconds, 0.1 to 86400",
        ),
    ],
)
def test_what_cannot_be_is_said_in_the_words_of_the_command_line(
    options: list[str], line: str
) -> None:
    with pytest.raises(UsageError) as caught:
        read_settings(*options)
    assert str(caught.value) == line
