"""Replacing the master's own code under a running service: same PID, nothing lost."""
