"""Words that many sentences for the operator have in common."""


def count_of(count: int, noun: str) -> str:
    """Write so many of it: ``1 worker``, ``3 workers``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def asked_for(by: str) -> str:
    """Say who has ordered something: ``asked for by SIGHUP``."""
    return f"asked for by {by}" if by else "asked for"
