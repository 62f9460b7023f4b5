"""The master: it owns sockets and processes, and imports no app."""
