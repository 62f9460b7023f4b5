"""Those of the client's rules: see ``explained.py``."""

from tests.mutants.explanation import Explained

CLIENT: tuple[Explained, ...] = ()
