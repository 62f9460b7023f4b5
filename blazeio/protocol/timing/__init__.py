"""How long a connection is waited for."""
