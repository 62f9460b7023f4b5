"""Basic credentials: RFC 7617.

May import: blazeio.errors. Pure.
"""

import base64

from blazeio.errors import LocalProtocolError


def basic_credentials(username: str, password: str) -> str:
    """Write the value of Authorization or Proxy-Authorization, in UTF-8.

    Raises:
        LocalProtocolError: The caller's fault: the name holds a colon, by which
            its reader would take the rest of it for the password; or one of them
            is no text. Neither is shown.
    """
    if ":" in username:
        message = "the name before a password cannot hold a colon (RFC 7617)"
        raise LocalProtocolError(message)
    try:
        pair = f"{username}:{password}".encode()
    except UnicodeEncodeError:
        message = "a name or password that UTF-8 cannot say"
        raise LocalProtocolError(message) from None
    return f"Basic {base64.b64encode(pair).decode('ascii')}"
