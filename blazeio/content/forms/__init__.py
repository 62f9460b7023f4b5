"""Forms as values: urlencoded, multipart, and the names that clients give files."""
