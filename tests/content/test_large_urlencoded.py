"""Large urlencoded text is read as small text is, in memory that is bounded."""

import tracemalloc
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

import blazeio.content.forms as module
from blazeio.content.forms import UNQUOTED_STEP_CHARS, parse_urlencoded

PARTS = ["a", "b", "=", "&", "%", "%4", "%41", "%C3", "%C3%A4", "+", "ä", "%zz", "%%"]


@given(st.lists(st.sampled_from(PARTS), max_size=60).map("".join), st.integers(4, 20))
def test_in_steps_it_is_the_same(text: str, step: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "UNQUOTED_STEP_CHARS", step)
        found = parse_urlencoded(text, 1000).pairs
    assert found == parse_qsl(text, keep_blank_values=True, errors="replace")


def test_more_fields_than_allowed_are_refused_whatever_the_size() -> None:
    with pytest.raises(ValueError, match="Max number of fields"):
        parse_urlencoded("a&" * UNQUOTED_STEP_CHARS, 10)


@pytest.mark.long
def test_escapes_take_little_more_memory_than_their_text() -> None:
    text = "a=" + "%41" * 1_000_000
    tracemalloc.start()
    try:
        params = parse_urlencoded(text, 10)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert params["a"] == "A" * 1_000_000
    assert peak_bytes < 6 * len(text)
