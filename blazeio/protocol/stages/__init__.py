"""The stages of a connection: its phases, its handler's task, its end."""
