"""Those of the content: see ``explained.py``."""

from tests.mutants.explanation import Explained

_CONTENT = "blazeio/content"
CONTENT: tuple[Explained, ...] = (
    Explained(
        "a text of exactly one step is decoded in one step",
        f"{_CONTENT}/forms.py",
        "_unquote",
        ("if len(text) < UNQUOTED_STEP_CHARS:",),
    ),
)
