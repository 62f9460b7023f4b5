"""Those of the sockets: see ``explained.py``."""

from tests.mutants.explanation import Explained

SOCKETS: tuple[Explained, ...] = ()
