"""A folder as an HTML page.

May import: nothing of blazeio. Pure.
"""

from collections.abc import Sequence
from html import escape
from urllib.parse import quote


def render_listing(path: str, names: Sequence[str]) -> bytes:
    """Render the page.

    Args:
        path: As the client asked for it.
        names: What is in the folder; links lead to them.
    """
    title = escape(path)
    # "./": a name such as "javascript:x" is no scheme then
    items = "".join(
        f'<li><a href="./{quote(name)}">{escape(name)}</a>\n' for name in names
    )
    return (
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        f"<title>{title}</title>\n<h1>{title}</h1>\n<ul>\n{items}</ul>\n</html>\n"
    ).encode()
