"""The command line: what serves an app, and the verbs for a running service."""
