"""blazeio: an asyncio HTTP framework that works at the transport layer."""
