"""RFC 9112 framing as values: octets to messages and back. Pure: no I/O, no clock."""

from typing import Final

from blazeio.wire import grammar

IS_COMPILED: Final = grammar.__file__.endswith(".so")
"""This room runs as machine code, made of the same files by mypyc; see
``deploy/compiled_wheel.py``. Never with ``BLAZEIO_PURE=1`` in the environment."""
