"""Responses as a client receives them: RFC 9112 sections 4, 6.3 and 9.3."""
