"""Connections to servers: how they are made, lent and read."""
