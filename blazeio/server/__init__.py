"""Accepting, counting and draining the connections of one event loop."""
