import pytest
from hypothesis import given
from hypothesis import strategies as st

from blazeio.content.forms import (
    ComposedForm,
    FilePart,
    FormValue,
    compose_form,
)
from blazeio.content.parsers import (
    Event,
    Field,
    FileHead,
    MultipartDecoder,
    parse_boundary,
)
from blazeio.errors import InvalidArgument, LocalProtocolError
from blazeio.limits import Limits

BOUNDARY = "0123456789abcdef"
PNG = FilePart("image", "a.png", b"\x89PNG\r\n", 6)


def joined(form: ComposedForm[bytes]) -> bytes:
    pieces = [piece for before, file in form.files for piece in (before, file.content)]
    return b"".join([*pieces, form.ending])


def decode(form: ComposedForm[bytes]) -> list[Event]:
    decoder = MultipartDecoder(parse_boundary(form.content_type), Limits())
    events = decoder.feed(joined(form))
    decoder.end()
    return events


def test_fields_come_before_files() -> None:
    fields: dict[str, FormValue | list[FormValue]] = {"a": "ü", "b": [1, b"\xc3\xbc"]}
    form = compose_form(fields, [PNG], BOUNDARY)
    assert decode(form) == [
        Field("a", "ü"),
        Field("b", "1"),
        Field("b", "ü"),
        FileHead("image", "a.png", "image/png"),
        b"\x89PNG\r\n",
        None,
    ]


def test_the_octets_are_those_that_browsers_send() -> None:
    form = compose_form({"a": "1"}, [FilePart("f", 'x"\r\n.txt', b"hi", 2)], "B")
    assert joined(form) == (
        b'--B\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n'
        b'--B\r\nContent-Disposition: form-data; name="f"; '
        b'filename="x%22%0D%0A.txt"\r\n'
        b"Content-Type: text/plain; charset=utf-8\r\n\r\nhi\r\n--B--\r\n"
    )
    assert form.content_type == "multipart/form-data; boundary=B"


def test_the_size_is_known_before_anything_is_sent() -> None:
    form = compose_form({"a": "ü"}, [PNG, PNG], BOUNDARY)
    assert form.size_bytes == len(joined(form))


def test_the_size_is_unknown_where_that_of_a_file_is() -> None:
    form = compose_form({}, [PNG, FilePart("f", "x", b"")], BOUNDARY)
    assert form.size_bytes is None


def test_a_form_without_parts_is_one_too() -> None:
    assert joined(compose_form({}, [], "B")) == b"--B--\r\n"


def test_a_media_type_is_taken_as_it_is_given() -> None:
    form = compose_form({}, [FilePart("f", "x.txt", b"", 0, "a/b; c=d")], BOUNDARY)
    assert b"\r\nContent-Type: a/b; c=d\r\n" in form.files[0][0]


def test_what_no_field_can_have_is_refused() -> None:
    with pytest.raises(
        InvalidArgument, match=r"^form: the value of 'a' is None: leave"
    ):
        compose_form({"a": None}, [], BOUNDARY)  # type: ignore[arg-type]


def test_a_media_type_that_adds_a_line_is_refused() -> None:
    file = FilePart("f", "x", b"", 0, "a/b\r\nX: y")
    with pytest.raises(LocalProtocolError, match="is not a media type"):
        compose_form({}, [file], BOUNDARY)


NAMES = st.text(
    # "%" is not escaped by the standard, so that %22 may be read as a quote.
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters='"\\%'),
    min_size=1,
)
CONTENT = st.binary(max_size=20)


@given(
    st.lists(st.tuples(NAMES, CONTENT), max_size=3),
    st.lists(
        st.builds(lambda n, f, c: FilePart(n, f, c, len(c)), NAMES, NAMES, CONTENT)
    ),
)
def test_what_was_composed_is_what_a_server_reads(
    fields: list[tuple[str, bytes]], files: list[FilePart[bytes]]
) -> None:
    form = compose_form(fields, files, BOUNDARY)
    expected: list[Event] = [
        Field(name, value.decode(errors="replace")) for name, value in fields
    ]
    for each in files:
        head = FileHead(each.name, each.filename, "application/octet-stream")
        expected += [head, each.content, None] if each.content else [head, None]
    assert form.size_bytes == len(joined(form))
    got = [
        FileHead(each.name, each.filename, "application/octet-stream")
        if isinstance(each, FileHead)
        else each
        for each in decode(form)
    ]
    assert got == expected
