"""The lines of the access log: what they say, and where they go."""
