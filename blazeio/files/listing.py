"""A folder as an HTML page.

May import: nothing of blazeio. Pure.
"""

import os
from collections.abc import Sequence
from html import escape
from urllib.parse import quote

from blazeio.escaping import escape_line


def render_listing(path: str, names: Sequence[str]) -> bytes:
    """Render the page.

    Args:
        path: As the client asked for it.
        names: What is in the folder; links lead to them.
    """
    title = escape(escape_line(path))
    # "./": a name such as "javascript:x" is no scheme then
    items = "".join(
        f'<li><a href="./{quote(os.fsencode(name))}">{escape(escape_line(name))}</a>\n'
        for name in names
    )
    return (
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        f"<title>{title}</title>\n<h1>{title}</h1>\n<ul>\n{items}</ul>\n</html>\n"
    ).encode()
