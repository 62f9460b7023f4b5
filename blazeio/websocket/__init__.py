"""WebSockets: messages both ways, on both sides of a connection."""
