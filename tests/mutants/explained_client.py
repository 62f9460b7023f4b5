"""Those of the client's rules: see ``explained.py``."""

from tests.mutants.explanation import Explained

CLIENT: tuple[Explained, ...] = (
    Explained(
        "only where no other than FIPS algorithms are allowed MD5 would be refused",
        "blazeio/client/digest.py",
        "DigestChallenge._hash",
        ("return hashlib.new(name, octets, *",),
    ),
    Explained(
        "an X needs no escape",
        "blazeio/client/digest.py",
        "DigestChallenge._name",
        ("*percent_encode(username, safe='XXXX')*",),
    ),
    Explained(
        "no challenge is found at the end",
        *("blazeio/client/digest.py", "_parse_digests", ("while at <= len(field):",)),
    ),
    Explained(
        "neither is true",
        "blazeio/client/digest.py",
        "_read",
        ('parameters.get("userhash", "XXXX").lower() == "true",',),
    ),
)
