"""Which part of a representation answers a request, if any. Pure."""
