"""Basic credentials: RFC 7617.

May import: blazeio.errors. Pure.
"""

import base64

from blazeio.errors import LocalProtocolError


def basic_credentials(username: str, password: str) -> str:
    """Write the value of Authorization or Proxy-Authorization, in UTF-8.

    Raises:
        LocalProtocolError: The caller's fault: the name holds a colon, by which
            its reader would take the rest of it for the password.
    """
    if ":" in username:
        message = "the name before a password cannot hold a colon (RFC 7617)"
        raise LocalProtocolError(message)
    pair = f"{username}:{password}".encode()
    return f"Basic {base64.b64encode(pair).decode('ascii')}"
