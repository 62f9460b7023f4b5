"""Those of the fleet: see ``explained.py``."""

from tests.mutants.explanation import Explained

FLEET: tuple[Explained, ...] = ()
