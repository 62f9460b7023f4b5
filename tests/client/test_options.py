import inspect

import pytest

import blazeio as io
from blazeio.client.context import ClientContext
from blazeio.client.settings import PoolOptions, RequestOptions, SingleOptions


def list_named(function: object) -> set[str]:
    parameters = inspect.signature(function).parameters.values()  # type: ignore[arg-type]
    return {each.name for each in parameters if each.kind is each.KEYWORD_ONLY}


def test_options_of_a_request_are_what_a_session_asks_with() -> None:
    assert RequestOptions.__annotations__.keys() == list_named(ClientContext.ask)


def test_options_of_a_pool_are_what_a_session_is_made_with() -> None:
    # fields may be given by position, too
    assert PoolOptions.__annotations__.keys() == list_named(io.Session) | {"headers"}


def test_session_with_a_url_takes_both() -> None:
    both = PoolOptions.__annotations__.keys() | RequestOptions.__annotations__.keys()
    assert SingleOptions.__annotations__.keys() == both


async def test_unknown_option_is_seen_by_the_type_checker_and_named_when_run() -> None:
    async with io.Session() as session:
        with pytest.raises(TypeError, match="'timeout'"):
            session.get("http://127.0.0.1/", timeout=3)  # type: ignore[call-arg]
