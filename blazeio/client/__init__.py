"""The HTTP client: sessions, the pool beneath them, and the rules they follow."""
