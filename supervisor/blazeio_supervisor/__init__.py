"""blazeio-supervisor: the pre-fork runner."""
