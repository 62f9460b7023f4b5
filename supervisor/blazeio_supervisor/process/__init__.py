"""Making, naming and ending processes, and talking with them."""
