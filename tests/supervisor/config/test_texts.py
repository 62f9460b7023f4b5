import pytest

from blazeio_supervisor.config.types import Choice, Kind, Parsed, Text


def test_a_text_is_kept_as_it_is() -> None:
    assert Text("PATH").read(" a b ") == " a b "


def test_a_choice_is_read_in_any_case_and_written_small() -> None:
    level = Choice(("INFO", "ERROR"), "LEVEL")
    assert level.read("info") == "INFO"
    assert level.write("INFO") == "info"
    with pytest.raises(ValueError, match=r"^expected info or error$"):
        level.read("loud")


def test_a_parser_reads_and_a_format_writes() -> None:
    kind = Parsed(lambda text: text.split("="), "A=B", "=".join)
    assert kind.read("a=b") == ["a", "b"]
    assert kind.write(["a", "b"]) == "a=b"


@pytest.mark.parametrize("kind", [Text(), Parsed(str, "X"), Choice(("a", "b"), "X")])
def test_a_number_of_a_file_is_no_text(kind: Kind[str]) -> None:
    with pytest.raises(ValueError, match="got a whole number"):
        kind.read_native(1)
