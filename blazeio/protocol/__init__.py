"""The asyncio shell of one connection: buffers, flow control, deadlines, and ``r``."""
