"""TLS of one connection, on the server's side."""
