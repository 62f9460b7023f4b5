import re
from dataclasses import dataclass

import pytest

from blazeio_supervisor.config.option import Option, Section, list_options, option
from blazeio_supervisor.config.settings import Settings, list_all_options
from blazeio_supervisor.config.types import Count, Flag, Seconds, Text

OPTIONS = list(list_all_options())
each_option = pytest.mark.parametrize("option", OPTIONS, ids=lambda each: each.flag)


@dataclass(frozen=True, kw_only=True)
class Sails(Section):
    title = "Sails"

    port: str = option(Text("PORT"), "Where to.")
    sails: int = option(Count(), "How many.", initial="3")
    rest_s: float = option(Seconds(), "How long.", default=0.5)
    flag: bool = option(Flag(), "Shown.", default=True)


PORT, SAILS, REST, FLAG = list_options(Sails)


def test_one_name_is_spelt_in_three_ways() -> None:
    assert (REST.field, REST.key) == ("rest_s", "rest")
    assert (REST.flag, REST.variable) == ("--rest", "BLAZEIO_REST")
    assert FLAG.spellings == ["--flag/--no-flag", "flag"]
    assert SAILS.section == "Sails"


def test_a_default_is_said_in_words_as_typed_or_not_at_all() -> None:
    shown = [each.shown_default for each in (PORT, SAILS, REST, FLAG)]
    assert shown == ["", "3", "0.5", ""]
    assert PORT.is_argument
    assert not SAILS.is_argument


def test_what_is_declared_is_a_field_with_its_default() -> None:
    sails = Sails(folder="/", port="Dover", sails=1)
    assert (sails.rest_s, sails.flag) == (0.5, True)


@each_option
def test_each_option_says_what_it_does_and_what_it_takes(option: Option) -> None:
    assert len(option.help.split()) > 1
    assert option.help.endswith(".")
    assert option.kind.metavar or isinstance(option.kind, Flag)


@each_option
def test_each_default_can_be_read_again(option: Option) -> None:
    default = getattr(Settings, option.field, None)
    written = option.kind.write(default) if option.has_default else None
    if written:
        assert option.kind.read_native(written) == default


def test_each_option_that_a_help_text_names_exists() -> None:
    named = {
        word
        for option in OPTIONS
        for word in re.findall(r"--[a-z][a-z-]+", option.help + option.default_text)
    }
    flags = {flag for each in OPTIONS for flag in each.spellings[0].split("/")}
    assert named <= flags | {"--config"}


def test_no_two_options_have_one_name() -> None:
    assert len({option.key for option in OPTIONS}) == len(OPTIONS)
    assert len({option.field for option in OPTIONS}) == len(OPTIONS)
