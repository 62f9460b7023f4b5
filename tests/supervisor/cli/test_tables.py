from blazeio_supervisor.cli.output import Column, fit_table

COLUMNS: tuple[Column[int], ...] = (
    Column("n", str),
    Column("name", lambda n: f"row {n}", rank=1, is_text=True),
    Column("square", lambda n: str(n * n), rank=2),
)


def fit(width: int, note: str = "", *rows: int) -> list[str]:
    return fit_table(COLUMNS, rows or (1, 12), lambda _: note, width)


def test_numbers_stand_to_the_right_and_texts_to_the_left() -> None:
    assert fit(80) == [" n name   square", " 1 row 1       1", "12 row 12    144"]


def test_a_wide_terminal_has_two_spaces_between_columns() -> None:
    assert fit(100)[0] == " n  name    square"


def test_what_matters_least_goes_first() -> None:
    assert fit(15)[0] == " n name"
    assert fit(6)[0] == " n"


def test_what_matters_most_is_cut_at_last() -> None:
    assert fit(1) == [" ", " ", "1"]


def test_a_note_takes_the_place_of_a_column_and_is_cut_in_the_end() -> None:
    assert fit(28, "adopted by slot 7, late")[1] == " 1 row 1  adopted by slot 7,"
    assert fit(24, "adopted by slot 7, late")[1] == " 1 adopted by slot 7, la"


def test_no_row_is_a_table_all_the_same() -> None:
    assert fit_table(COLUMNS, [], lambda _: "", 80) == ["n name square"]
