"""Where a connection is; the picture is in ``connection``."""

IDLE, HEAD, CONTENT, DRAINING, TUNNEL, CLOSED = range(6)

NAMES = ("IDLE", "HEAD", "CONTENT", "DRAINING", "TUNNEL", "CLOSED")
