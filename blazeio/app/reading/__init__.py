"""What a handler asks a request for: its JSON, its form, its files."""
