"""``top``: the service as it lives, on a terminal."""
