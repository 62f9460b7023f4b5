"""How many connections this process can hold."""

import resource

RESERVED_DESCRIPTORS = 64
"""Left for the app: files, upstream connections, logs."""


def raise_descriptor_limit() -> int:
    """Raise the soft limit of open descriptors to the hard one.

    Returns:
        The soft limit now in force. A refusal is no error: some sandboxes
        forbid it, and the limit that is stays.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError):
            return soft
    return hard


def most_connections() -> int:
    """What the descriptor limit leaves for connections; at least 16."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(soft - RESERVED_DESCRIPTORS, 16)
