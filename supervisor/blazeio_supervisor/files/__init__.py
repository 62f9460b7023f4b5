"""Files that a process opens by name, and whom their names belong to."""
