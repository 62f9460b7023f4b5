"""``security_headers``: fields by which browsers protect the users of an app."""

from blazeio.errors import ConfigurationError

HSTS_S = 365 * 24 * 3600
"""What browsers want for their preload lists, at least."""


def security_headers(
    *,
    content_security_policy: str | None = None,
    hsts_s: int | None = None,
    frame_options: str | None = "DENY",
    referrer_policy: str | None = "strict-origin-when-cross-origin",
    opener_policy: str | None = "same-origin",
    permissions_policy: str | None = None,
) -> dict[str, str]:
    """Make fields for ``App(headers=io.security_headers())``.

    X-Content-Type-Options is always among them. A handler's own field counts more.

    Args:
        content_security_policy: What a page may load and run, ``default-src 'self'``;
            None: nothing is said.
        hsts_s: For so long browsers come back over HTTPS alone, seconds; ``HSTS_S``
            is a year. None: nothing is said. It cannot be taken back before.
        frame_options: ``DENY`` or ``SAMEORIGIN``: who may show a page in a frame.
        referrer_policy: What other sites are told of where a user comes from.
        opener_policy: Whether pages of other origins keep a hold of our window.
        permissions_policy: Which features pages may use, ``camera=()``.

    Raises:
        ConfigurationError: One of them cannot be.
    """
    if frame_options not in (None, "DENY", "SAMEORIGIN"):
        reason = "expected 'DENY', 'SAMEORIGIN' or None"
        raise ConfigurationError(f"frame_options={frame_options!r:.80}: {reason}")
    if hsts_s is not None and (not isinstance(hsts_s, int) or hsts_s < 0):
        raise ConfigurationError(f"hsts_s={hsts_s!r:.80}: expected seconds")
    fields = {
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": frame_options,
        "Referrer-Policy": referrer_policy,
        "Cross-Origin-Opener-Policy": opener_policy,
        "Permissions-Policy": permissions_policy,
        "Content-Security-Policy": content_security_policy,
        "Strict-Transport-Security": (
            None if hsts_s is None else f"max-age={hsts_s}; includeSubDomains"
        ),
    }
    return {name: value for name, value in fields.items() if value is not None}
