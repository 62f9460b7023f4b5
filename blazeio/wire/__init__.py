"""RFC 9112 framing as values: octets to messages and back. Pure: no I/O, no clock."""
