"""The lines of the log: how they are written, and where they go."""
