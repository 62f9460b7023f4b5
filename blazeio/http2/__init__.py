"""HTTP/2 for the server: one connection carries many requests at once."""
