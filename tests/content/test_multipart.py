from typing import Any

import pytest

from blazeio.content.parsers import (
    Event,
    Field,
    FileHead,
    MultipartDecoder,
    parse_boundary,
)
from blazeio.errors import RemoteProtocolError
from blazeio.limits import Limits
from tests.content.bodies import BOUNDARY, form, joined, part

STEPS = [1, 7, 1_000_000]


def decode(body: bytes, step: int = 1_000_000, **limits: Any) -> list[Event]:
    decoder = MultipartDecoder(BOUNDARY, Limits(**limits))
    events: list[Event] = []
    for start in range(0, len(body), step):
        events += decoder.feed(body[start : start + step])
    decoder.end()
    return joined(events)


def refused(body: bytes, step: int = 1_000_000, **limits: Any) -> tuple[int, str]:
    with pytest.raises(RemoteProtocolError) as caught:
        decode(body, step, **limits)
    return caught.value.status_hint, str(caught.value)


@pytest.mark.parametrize("step", STEPS)
def test_fields_and_files_come_in_their_order(step: int) -> None:
    body = form(
        part('name="title"', "für dich"),
        part(
            'name="file"; filename="a.bin"', b"\x00\r\n--\xff", "Content-Type: A/B; c=d"
        ),
        part('name="after"', ""),
        part('name="file"; filename="b"', ""),
    )
    assert decode(body, step) == [
        Field("title", "für dich"),
        FileHead("file", "a.bin", "a/b"),
        b"\x00\r\n--\xff",
        None,
        Field("after", ""),
        FileHead("file", "b", ""),
        None,
    ]


@pytest.mark.parametrize("step", STEPS)
def test_a_form_may_be_empty(step: int) -> None:
    assert decode(form(), step) == []


@pytest.mark.parametrize("step", STEPS)
def test_a_line_end_before_and_anything_after_a_form_are_dropped(step: int) -> None:
    body = b"\r\n" + form(part('name="a"', "1")) + b"epilogue\r\n--b0undary\r\n"
    assert decode(body, step) == [Field("a", "1")]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(
    "start",
    [b"preamble\r\n", b"\r\n\r\n", b"--b\r\n", b"\r" * 99 + b"\r\n", b"x\n\r\n"],
)
def test_a_preamble_is_skipped(start: bytes, step: int) -> None:
    assert decode(start + form(part('name="a"', "1")), step) == [Field("a", "1")]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("start", [b"\n", b"\r", b"-", b"preamble", b"preamble\n"])
def test_a_boundary_that_begins_no_line_is_400(start: bytes, step: int) -> None:
    status, text = refused(start + form(part('name="a"', "1")), step)
    assert (status, text) == (400, "the form does not begin with its boundary")


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("body", [b"", b"no form", b"--b", b"\r\n--"])
def test_a_form_without_its_boundary_is_400(body: bytes, step: int) -> None:
    assert refused(body, step)[0] == 400


@pytest.mark.parametrize("step", STEPS)
def test_a_preamble_has_a_bound(step: int) -> None:
    form_of = form(part('name="a"', "1"))
    body = b"x" * 100 + b"\r\n" + form_of
    assert decode(body, step, form_field_bytes=100) == [Field("a", "1")]
    refusal = 413, "the preamble of the form is larger than 100 octets"
    for size in (101, 200):
        longer = b"x" * size + b"\r\n" + form_of
        assert refused(longer, step, form_field_bytes=100) == refusal


@pytest.mark.parametrize("step", STEPS)
def test_a_form_of_another_boundary_says_that_its_own_is_missing(step: int) -> None:
    text = "the form is malformed: its boundary is not in it"
    assert refused(b"--other\r\n\r\n--other--", step) == (400, text)


@pytest.mark.parametrize(
    ("disposition", "filename"),
    [
        ('filename="a b.txt"', "a b.txt"),
        ("filename=a.txt", "a.txt"),
        ('filename="für.txt"', "für.txt"),
        ('filename="%22a%22%0D%0A.txt"', '"a"\r\n.txt'),
        (r'filename="\"a\".txt"', '"a".txt'),
        (r'filename="C:\dir\a.txt"', "a.txt"),
        ('filename="../a.txt"', "../a.txt"),
        ("filename*=utf-8''f%C3%BCr.txt", "für.txt"),
        ("filename=\"f_r.txt\"; filename*=UTF-8''f%C3%BCr.txt", "für.txt"),
        ('filename="a.txt"; filename*=nonsense', "a.txt"),
        ("filename=\"a; filename*=utf-8''b\"", "a; filename*=utf-8''b"),
    ],
)
def test_a_file_is_called_as_the_client_calls_it(
    disposition: str, filename: str
) -> None:
    head, *_ = decode(form(part(f'name="f"; {disposition}', "x")))
    assert isinstance(head, FileHead)
    assert head.filename == filename


def test_a_name_may_be_quoted_like_a_filename() -> None:
    assert decode(form(part('name="a %22b%22"', "1"))) == [Field('a "b"', "1")]


def test_the_safe_name_of_a_file_is_no_path() -> None:
    assert FileHead("f", "../../a.txt", "").safe_filename == "a.txt"


@pytest.mark.parametrize("step", STEPS)
def test_a_file_input_that_was_left_empty_is_no_file(step: int) -> None:
    empty = part('name="f"; filename=""', "", "Content-Type: application/octet-stream")
    assert decode(form(empty, part('name="a"', "1")), step) == [Field("a", "1")]


@pytest.mark.parametrize("step", STEPS)
def test_a_file_without_a_name_is_one_if_it_has_content(step: int) -> None:
    assert decode(form(part('name="f"; filename=""', "x")), step) == [
        FileHead("f", "", ""),
        b"x",
        None,
    ]


@pytest.mark.parametrize(
    ("label", "octets", "value"),
    [
        ("utf-8", b"\xc3\xbc", "ü"),
        ("UTF8", b"\xff", "\ufffd"),
        ("iso-8859-1", b"\xfc", "ü"),
        ("windows-1252", b"\x80", "€"),
        ("Shift_JIS", b"\x83\x65", "テ"),
    ],
)
def test_a_field_is_read_in_its_charset(label: str, octets: bytes, value: str) -> None:
    typed = part('name="a"', octets, f"Content-Type: text/plain; charset={label}")
    assert decode(form(typed)) == [Field("a", value)]
    told = part('name="_charset_"', label)
    assert decode(form(told, part('name="a"', octets)))[1:] == [Field("a", value)]


@pytest.mark.parametrize("label", ["idna", "zip", "unicode_escape", "iso-8859-99", "x"])
def test_an_unknown_charset_is_400(label: str) -> None:
    typed = part('name="a"', "x", f"Content-Type: text/plain; charset={label}")
    status, text = refused(form(typed))
    assert status == 400
    assert text == f"the form has a field in an unknown charset, {label!r}"


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\r",
        b"--b0und",
        form(part('name="a"', "1"))[:-4],
        form(part('name="a"', "1")).replace(b"\r\n", b"\n"),
        form(b"--b0undary\r\n\r\nx\r\n"),
        form(b"--b0undary\r\nContent-Type: text/plain\r\n\r\nx\r\n"),
        form(b"--b0undary\r\nContent-Disposition: attachment; name=a\r\n\r\nx\r\n"),
        form(b"--b0undary\r\nno colon\r\n\r\nx\r\n"),
        form(b"--b0undary\r\nContent-Disposition: form-data; name=\xff\r\n\r\nx\r\n"),
        form(part('name="a"', "12", "Content-Length: 1")),
    ],
)
def test_what_is_malformed_is_400(body: bytes, step: int) -> None:
    status, text = refused(body, step)
    assert status == 400
    assert text.startswith("the form is malformed: ")


@pytest.mark.parametrize("step", STEPS)
def test_why_a_form_is_malformed_is_said(step: int) -> None:
    whole = form(part('name="a"', "1"))
    text = "the form is malformed: Unexpected end of multipart stream (parser closed)"
    assert refused(whole[:-4], step) == (400, text)
    whole = form(part('name="a"', "1", "X-A: 1\0"))
    text = "the form is malformed: Invalid line break in segment header"
    assert refused(whole, step) == (400, text)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("disposition", ['name="a"', 'name="a"; filename="b"'])
def test_a_boundary_within_a_part_is_400_however_it_is_cut(
    disposition: str, step: int
) -> None:
    body = form(
        part(disposition, b"x\r\n--b0undaryX y\r\n"), part('name="c"', "z" * 99)
    )
    assert refused(body, step) == (
        400,
        "the form is malformed: Unexpected bytes after boundary",
    )


def test_nothing_is_fed_when_there_is_nothing() -> None:
    assert MultipartDecoder(BOUNDARY, Limits()).feed(b"") == []


BOUNDED = [
    ("form_field_count", 2, [part('name="a"', "1")], "has more than 2 fields"),
    ("form_file_count", 2, [part('name="a"; filename="b"', "1")], "more than 2 files"),
]


@pytest.mark.parametrize(("bound", "most", "parts", "reason"), BOUNDED)
def test_more_parts_than_the_bound_are_413(
    bound: str, most: int, parts: list[bytes], reason: str
) -> None:
    assert decode(form(*parts * most), **{bound: most})
    status, text = refused(form(*parts * (most + 1)), **{bound: most})
    assert (status, reason in text) == (413, True)


@pytest.mark.parametrize("step", STEPS)
def test_a_field_larger_than_the_bound_is_413(step: int) -> None:
    body = form(part('name="a"', "x" * 100))
    assert decode(body, step, form_field_bytes=100)
    assert refused(body, step, form_field_bytes=99) == (
        413,
        "a field of the form is larger than 99 octets",
    )


def test_a_file_may_be_larger_than_a_field() -> None:
    body = form(part('name="a"; filename="b"', "x" * 100))
    assert decode(body, form_field_bytes=10, collected_bytes=10)


def test_fields_that_are_too_large_together_are_413() -> None:
    body = form(*[part('name="a"', "x" * 9)] * 10)
    assert decode(body, collected_bytes=100)
    assert refused(body, collected_bytes=99) == (
        413,
        "the fields of the form are larger than 99 octets",
    )


@pytest.mark.parametrize("step", STEPS)
def test_a_long_line_before_a_part_is_413(step: int) -> None:
    body = form(part('name="a"', "1", "X-Long: " + "x" * 92))
    assert decode(body, step, part_field_bytes=101)
    assert refused(body, step, part_field_bytes=98)[0] == 413


@pytest.mark.parametrize("step", STEPS)
def test_many_lines_before_a_part_are_413(step: int) -> None:
    body = form(part('name="a"', "1", "X-A: 1", "X-B: 2"))
    assert decode(body, step, part_field_count=3)
    assert refused(body, step, part_field_count=2)[0] == 413


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ("multipart/form-data; boundary=abc", "abc"),
        ('multipart/form-data; charset=utf-8; Boundary="a b"', "a b"),
        ("multipart/form-data; boundary=" + "x" * 70, "x" * 70),
        ("multipart/form-data; boundary=----=_Part_1", "----=_Part_1"),
        (
            "multipart/form-data; boundary=----------ThIs_Is_tHe_bouNdaRY_$",
            "----------ThIs_Is_tHe_bouNdaRY_$",
        ),
        (
            'multipart/form-data; boundary="a<b>[c]{d}|~^`!#%&*;"',
            "a<b>[c]{d}|~^`!#%&*;",
        ),
    ],
)
def test_the_boundary_is_read(content_type: str, boundary: str) -> None:
    assert parse_boundary(content_type) == boundary


@pytest.mark.parametrize(
    "content_type",
    [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        'multipart/form-data; boundary=""',
        'multipart/form-data; boundary="a "',
        'multipart/form-data; boundary="ä"',
        "multipart/form-data; boundary=" + "x" * 71,
        "multipart/form-data; boundary=a; boundary=b",
    ],
)
def test_a_boundary_that_cannot_be_one_is_400(content_type: str) -> None:
    with pytest.raises(
        RemoteProtocolError, match="the Content-Type of the form"
    ) as error:
        parse_boundary(content_type)
    assert error.value.status_hint == 400
