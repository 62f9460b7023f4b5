"""Multipart bodies, written by hand."""

from blazeio.content.parsers import Event

BOUNDARY = "b0undary"


def part(disposition: str, content: bytes | str, *lines: str) -> bytes:
    """One part, its delimiter in front."""
    fields = [f"Content-Disposition: form-data; {disposition}", *lines]
    head = "\r\n".join([f"--{BOUNDARY}", *fields, "", ""]).encode()
    return head + (content.encode() if isinstance(content, str) else content) + b"\r\n"


def form(*parts: bytes) -> bytes:
    """A whole form."""
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def joined(events: list[Event]) -> list[Event]:
    """The events, with the octets of each file in one piece."""
    whole: list[Event] = []
    for event in events:
        if isinstance(event, bytes) and whole and isinstance(whole[-1], bytes):
            whole[-1] += event
        else:
            whole.append(event)
    return whole
