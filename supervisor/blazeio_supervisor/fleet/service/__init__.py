"""Whether the service runs at all, and with how many workers."""
