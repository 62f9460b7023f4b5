"""What a response gives: its whole content, its events, a file."""
