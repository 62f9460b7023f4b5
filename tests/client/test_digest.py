from hashlib import md5

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blazeio.client.auth import (
    DigestChallenge,
    choose_digest,
    explain_refusal,
)

# RFC 7616 section 3.9.1.
NONCE = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v"
OPAQUE = "FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"
CNONCE = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"
RFC_FIELDS = [
    f'Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm={name}, '
    f'nonce="{NONCE}", opaque="{OPAQUE}"'
    for name in ("MD5", "SHA-256")
]


def answer(fields: list[str]) -> str:
    challenge = choose_digest(fields)
    assert challenge is not None
    return challenge.answer(
        "Mufasa", "Circle of Life", "GET", "/dir/index.html", cnonce=CNONCE
    )


@pytest.mark.parametrize(
    ("field", "response"),
    [
        (RFC_FIELDS[0], "8ca523f5e9506fed4657c9700eebdbec"),
        (
            RFC_FIELDS[1],
            "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
        ),
    ],
)
def test_the_example_of_the_rfc(field: str, response: str) -> None:
    algorithm = "MD5" if len(response) == 32 else "SHA-256"
    assert answer([field]) == (
        'Digest username="Mufasa", realm="http-auth@example.org", '
        f'nonce="{NONCE}", uri="/dir/index.html", response="{response}", '
        f'algorithm={algorithm}, opaque="{OPAQUE}", qop=auth, nc=00000001, '
        f'cnonce="{CNONCE}"'
    )


def test_a_hidden_name_as_in_the_example_of_the_rfc() -> None:
    field = (
        'Digest realm="api@example.org", qop="auth", algorithm=SHA-512-256, '
        'nonce="5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK", '
        'opaque="HRPCssKJSGjCrkzDg8OhwpzCiGPChXYjwrI2QmXDnsOS", '
        "charset=UTF-8, userhash=true"
    )
    challenge = choose_digest([field])
    assert challenge is not None
    told = challenge.answer(
        "J\u00e4s\u00f8n Doe",
        "Secret, or not?",
        "GET",
        "/doe.json",
        cnonce="NTg6RKcb9boFIAS3KrFK9BGeh+niz/sm",
    )
    assert (
        'username="793263caabb707a56211940d90411ea4a575adeccb7e360aeb624ed06ece9b0b"'
        in told
    )
    assert told.endswith('NTg6RKcb9boFIAS3KrFK9BGeh+niz/sm"')


def test_the_best_algorithm_is_chosen() -> None:
    challenge = choose_digest([*RFC_FIELDS, 'Digest realm="r", nonce="n"'])
    assert challenge is not None
    assert challenge.algorithm == "SHA-256"


FIELDS = {
    'Digest realm="r", nonce="n"': DigestChallenge("r", "n", qop=""),
    "digest REALM=r,Nonce=n,qop=auth": DigestChallenge("r", "n"),
    'Digest realm="r", nonce="n", qop="auth-int, auth"': DigestChallenge("r", "n"),
    'Digest realm="r", nonce="n", userhash=TRUE': DigestChallenge(
        "r", "n", qop="", hides_username=True
    ),
    'Digest realm="a, \\"b\\"", nonce="n=", qop=auth-int': DigestChallenge(
        'a, "b"', "n=", qop="auth-int"
    ),
    'Basic realm="x", Digest realm="r", nonce="n", stale=true': DigestChallenge(
        "r", "n", qop=""
    ),
    'Negotiate, Bearer abc==, Digest realm="r", nonce="n"': DigestChallenge(
        "r", "n", qop=""
    ),
    'Digest realm="r", nonce="n", algorithm=md5-SESS, opaque="", Basic realm="x"': (
        DigestChallenge("r", "n", "md5-SESS", "", "")
    ),
}


@pytest.mark.parametrize(("field", "challenge"), FIELDS.items())
def test_a_challenge_is_found(field: str, challenge: DigestChallenge) -> None:
    assert choose_digest([field]) == challenge


@pytest.mark.parametrize(
    "field",
    [
        "",
        "Digest",
        'Basic realm="r"',
        'Digest realm="r"',
        'Digest nonce="n"',
        'Digest realm="r", nonce="n", algorithm=X',
        'Digest realm="r", nonce="n", qop=other',
        'Digest realm="r, nonce="n"',
    ],
)
def test_what_cannot_be_answered_is_none(field: str) -> None:
    assert choose_digest([field]) is None


@pytest.mark.parametrize(
    ("field", "reason"),
    [
        ('Digest realm="r", nonce="n", algorithm=X', "algorithm 'X' is not known"),
        ('Digest realm="r", nonce="n", algorithm="\\"a\\"b"', "is not known"),
        ('Digest realm="r", nonce="n", algorithm=-sess', "algorithm '-sess' is not"),
        ('Digest realm="r", nonce="n", qop=other', "qop 'other' is not known"),
        ('Digest nonce="n"', "it has no realm"),
        ('Digest realm="r"', "it has no nonce"),
        (f'Digest realm="{"r" * 4097}", nonce="n"', "its realm has more than 4096"),
        (f'Digest realm="{"r" * 4096}", nonce="{"n" * 4096}"', None),
        (f'Digest realm="r", nonce="{"n" * 5000}"', "its nonce has more than 4096"),
        (f'Digest realm="r", nonce="n", opaque="{"o" * 5000}"', "its opaque has more"),
        ('Basic realm="x", Digest realm="r"', "it has no nonce"),
        ('Basic realm="x"', None),
        ("", None),
        ('Digest realm="r", nonce="n", algorithm=X, Digest realm="r",nonce="n"', None),
    ],
)
def test_why_it_cannot_be_answered_is_told(field: str, reason: str | None) -> None:
    told = explain_refusal([field])
    assert (told is None) is (reason is None)
    assert (reason or "") in (told or "")
    assert len(told or "") < 200


def test_what_the_server_sent_is_hashed_as_its_octets() -> None:
    realm = "R\xe9alm".encode()  # UTF-8, as it comes in a field
    challenge = choose_digest([f'Digest realm="{realm.decode("latin-1")}", nonce="n"'])
    assert challenge is not None
    told = challenge.answer("\xfc", "p\xfc", "GET", "/x", cnonce="c")
    secret = md5("\xfc:".encode() + realm + ":p\xfc".encode()).hexdigest()
    asked = md5(b"GET:/x").hexdigest()
    response = md5(f"{secret}:n:{asked}".encode()).hexdigest()
    assert f'response="{response}"' in told
    assert f'realm="{realm.decode("latin-1")}"' in told


@pytest.mark.parametrize("value", ['a"b', "a\\b", '"', "\\", "a, x=y", "\t"])
def test_what_the_server_sent_cannot_leave_its_quotes(value: str) -> None:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    field = f'Digest realm="{escaped}", nonce="{escaped}", opaque="{escaped}"'
    challenge = choose_digest([field])
    assert challenge is not None
    assert (challenge.realm, challenge.nonce, challenge.opaque) == (value,) * 3
    told = challenge.answer("u", "p", "GET", "/", cnonce="c")
    for name in ("realm", "nonce", "opaque"):
        assert f'{name}="{escaped}"' in told


def test_content_is_hashed_where_the_server_wants_it() -> None:
    challenge = DigestChallenge("r", "n", qop="auth-int")
    told = {
        challenge.answer("u", "p", "POST", "/", cnonce="c", content=content)
        for content in (b"", b"a")
    }
    assert len(told) == 2


def respond(secret: str, proved: str, asked: str) -> str:
    """The response of RFC 7616 section 3.4.1, by MD5."""
    text = ":".join([md5(secret.encode()).hexdigest(), proved, ""])
    return md5(f"{text}{md5(asked.encode()).hexdigest()}".encode()).hexdigest()


def test_a_request_without_content_has_the_hash_of_none() -> None:
    challenge = DigestChallenge("r", "n", qop="auth-int")
    told = challenge.answer("u", "p", "GET", "/x", cnonce="c")
    asked = f"GET:/x:{md5(b'').hexdigest()}"
    assert f'response="{respond("u:r:p", "n:00000001:c:auth-int", asked)}"' in told


@pytest.mark.parametrize("algorithm", ["MD5-sess", "md5-SESS"])
def test_the_secret_of_a_session_has_its_nonces(algorithm: str) -> None:
    challenge = DigestChallenge("r", "n", algorithm)
    told = challenge.answer("u", "p", "GET", "/x", cnonce="c")
    secret = f"{md5(b'u:r:p').hexdigest()}:n:c"
    assert f'response="{respond(secret, "n:00000001:c:auth", "GET:/x")}"' in told


def test_each_request_of_a_nonce_has_its_number() -> None:
    told = DigestChallenge("r", "n").answer("u", "p", "GET", "/", cnonce="c", count=255)
    assert "nc=000000ff" in told


def test_a_name_that_is_not_ascii_is_encoded() -> None:
    told = DigestChallenge("r", "n").answer("ü/'X", "p", "GET", "/", cnonce="c")
    assert told.startswith("Digest username*=UTF-8''%C3%BC%2F%27X, ")


@given(st.text(alphabet='aA=",\\ \t'))
def test_no_field_is_too_strange(field: str) -> None:
    choose_digest([field, f"Digest {field}"])
