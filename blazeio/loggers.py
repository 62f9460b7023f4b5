"""The loggers of this package, which stay on whatever an app configures.

``logging.config.dictConfig`` and ``fileConfig`` disable every logger that exists
and that they do not name, unless ``disable_existing_loggers`` is False. An app that
follows the examples of the standard library would so lose the tracebacks of its own
handlers. Level, handlers and propagation of these loggers are the app's to set, by
their names (``blazeio`` is the parent of all); being disabled in passing is not.
"""

import logging


class _LastingLogger(logging.Logger):
    @property
    def disabled(self) -> bool:
        """False: see the module."""
        return False

    @disabled.setter
    def disabled(self, value: bool) -> None:
        pass  # dictConfig sets it to False, too, where the app names the logger


def get_logger(name: str) -> logging.Logger:
    """Return the logger of a room of this package, such as ``blazeio.server``."""
    logger = logging.getLogger(name)
    logger.__class__ = _LastingLogger  # the manager keeps one object for each name
    return logger
