"""Listening sockets: one per slot, owned by the master."""
