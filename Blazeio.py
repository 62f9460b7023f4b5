"""``import Blazeio as io``: the same module object as ``import blazeio``."""

import sys

import blazeio

sys.modules[__name__] = blazeio
