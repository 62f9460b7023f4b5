import pytest

from blazeio.content.representation import (
    ByteRange,
    Representation,
    Selection,
    Validators,
    select,
)

DATE = "Sun, 06 Nov 1994 08:49:37 GMT"
FOUND = Representation("text/css", 100, Validators('"a"', 784111777))
WHOLE = [(b"", ByteRange(0, 100))]


def answer(
    method: str = "GET", found: Representation = FOUND, **fields: str
) -> Selection:
    asked = {name.replace("_", "-"): value for name, value in fields.items()}
    return select(method, asked, found, 1e9, lambda: "frontier")


def test_without_conditions_the_whole_is_sent() -> None:
    selection = answer(accept="*/*")
    assert (selection.status, selection.parts) == (200, WHOLE)
    assert selection.fields == {
        "Content-Type": "text/css",
        "ETag": '"a"',
        "Last-Modified": DATE,
        "Accept-Ranges": "bytes",
        "Content-Length": 100,
    }


def test_a_coding_and_the_choice_of_it_are_said() -> None:
    coded = Representation("text/css", 1, FOUND.validators, "br", is_negotiated=True)
    fields = answer(found=coded).fields
    assert (fields["Content-Encoding"], fields["Vary"]) == ("br", "Accept-Encoding")


def test_an_empty_one_has_no_parts() -> None:
    empty = Representation("text/css", 0, FOUND.validators)
    selection = answer(found=empty, range="bytes=0-")
    assert (selection.status, selection.parts) == (200, [])
    assert selection.fields["Content-Length"] == 0


def test_one_part_is_sent_as_it_is() -> None:
    selection = answer(range="bytes=10-19")
    assert (selection.status, selection.parts) == (206, [(b"", ByteRange(10, 10))])
    assert selection.fields["Content-Range"] == "bytes 10-19/100"
    assert selection.fields["Content-Length"] == 10
    assert selection.fields["Content-Type"] == "text/css"


def test_several_parts_are_multipart() -> None:
    selection = answer(range="bytes=10-19,0-0")
    assert selection.status == 206
    content_type = "multipart/byteranges; boundary=frontier"
    assert selection.fields["Content-Type"] == content_type
    assert "Content-Range" not in selection.fields
    sizes = [len(before) + part.size for before, part in selection.parts]
    length = sum(sizes) + len(selection.ending)
    assert selection.fields["Content-Length"] == length


def test_what_cannot_be_satisfied_says_how_much_there_is() -> None:
    selection = answer(range="bytes=100-")
    assert (selection.status, selection.parts) == (416, [])
    assert selection.fields["Content-Range"] == "bytes */100"
    assert selection.fields["Content-Length"] == len(selection.ending)


def test_not_modified_keeps_what_a_cache_needs() -> None:
    selection = answer(if_none_match='"a"', range="bytes=0-1")
    assert (selection.status, selection.parts, selection.ending) == (304, [], b"")
    assert selection.fields == {"ETag": '"a"', "Last-Modified": DATE}


def test_a_failed_precondition_goes_before_a_range() -> None:
    assert answer(if_match='"b"', range="bytes=0-1").status == 412


@pytest.mark.parametrize(
    ("condition", "status"), [('"a"', 206), ('"b"', 200), ('W/"a"', 200), (DATE, 206)]
)
def test_a_range_of_another_state_gets_the_whole(condition: str, status: int) -> None:
    assert answer(range="bytes=0-1", if_range=condition).status == status


def test_if_range_without_a_range_is_ignored() -> None:
    assert answer(if_range='"b"').status == 200


def test_by_another_method_the_whole_is_sent() -> None:
    assert answer("POST", range="bytes=0-1", if_none_match="*").parts == WHOLE


def test_a_head_is_selected_as_a_get() -> None:
    assert answer("HEAD", if_none_match='"a"').status == 304


def test_a_304_says_what_it_varies_by() -> None:
    found = Representation("text/css", 1, FOUND.validators, is_negotiated=True)
    selection = answer(found=found, if_none_match='"a"')
    assert set(selection.fields) == {"ETag", "Last-Modified", "Vary"}


@pytest.mark.parametrize(
    ("fields", "status", "text"),
    [
        ({"if_match": '"other"'}, 412, b"Precondition Failed"),
        ({"range": "bytes=999999-"}, 416, b"Range Not Satisfiable"),
    ],
)
def test_an_error_says_its_reason(
    fields: dict[str, str], status: int, text: bytes
) -> None:
    selection = answer("GET", FOUND, **fields)
    assert (selection.status, selection.ending, selection.parts) == (status, text, [])
    assert selection.fields["Content-Type"] == "text/plain; charset=utf-8"
    assert selection.fields["Content-Length"] == len(text)


@pytest.mark.parametrize("value", ["*\xa0", "X*", "*\x0b"])
def test_an_asterisk_stands_alone(value: str) -> None:
    assert answer(if_match=value).status == 412
    assert answer(if_match="\t* ").status == 200
