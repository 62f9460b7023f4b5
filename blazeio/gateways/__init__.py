"""Gateways: apps of other interfaces (ASGI 3, WSGI), served as handlers."""
