"""Asking and ordering a running service: its control socket and the verbs."""
