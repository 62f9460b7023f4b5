import pytest

from blazeio_supervisor.options.unit.quoting import quote_variable, quote_words


@pytest.mark.parametrize(
    ("word", "written"),
    [
        ("app:web", "app:web"),
        ("--bind=[::1]:80", '"--bind=[::1]:80"'),
        ("a b", '"a b"'),
        ("", '""'),
        ("50%", '"50%%"'),
        ("$HOME", '"$$HOME"'),
        ('say "a\\b"', '"say \\"a\\\\b\\""'),
        ("a\nb", '"a\\nb"'),
    ],
)
def test_a_word_is_one_word_again_when_systemd_reads_it(
    word: str, written: str
) -> None:
    assert quote_words([word, "x"]) == f"{written} x"


def test_in_a_variable_a_dollar_is_plain() -> None:
    assert quote_variable("A", "$b %c") == '"A=$b %%c"'
