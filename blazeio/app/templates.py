"""``Templates``: pages by Jinja2, which the extra ``jinja`` brings."""

import asyncio
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from blazeio.app.deliver import HTML, Deliver
from blazeio.errors import ConfigurationError, FieldInput
from blazeio.protocol.request import BlazeioServerProtocol

if TYPE_CHECKING:
    pass

HTML_TYPE = HTML.decode().partition(": ")[2].strip()


class Templates:
    """The templates below a folder; autoescape is on.

    Args:
        folder: Where they are; or several, where the first that has a name wins.
        auto_reload: Check a file each time it is used: for development.
        names: Values that every template has, by name.

    Attributes:
        environment: Jinja2's own, for filters, tests and extensions.

    Raises:
        ConfigurationError: There is no such folder, or Jinja2 is not installed.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        *,
        auto_reload: bool = False,
        **names: Any,
    ) -> None:
        try:
            import jinja2
        except ImportError:
            message = "Templates needs Jinja2: pip install jinja2"
            raise ConfigurationError(message) from None
        if isinstance(folder, str | os.PathLike):
            folder = [folder]
        places = [os.path.abspath(each) for each in folder]
        for place in places:
            if not os.path.isdir(place):
                raise ConfigurationError(
                    f"Templates({place!r}): there is no such folder"
                )
        self.environment: jinja2.Environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(places),
            # For every template, and not by the ending of its name, as
            # ``select_autoescape`` of Jinja2 has it: ``page.j2`` would be open to
            # scripts.
            autoescape=True,
            enable_async=True,
            auto_reload=auto_reload,
        )
        self.environment.globals.update(names)
        self._known: dict[str, jinja2.Template] = {}

    async def render(
        self,
        r: BlazeioServerProtocol,
        name: str,
        /,
        *,
        status: int = 200,
        headers: FieldInput | None = None,
        content_type: str = HTML_TYPE,
        **values: Any,
    ) -> None:
        """Answer with a template.

        Args:
            r: The request; the template has it as ``r``, and its ``url_for``.
            name: The file, below the folder.
            status: 200 to 599.
            headers: Further header fields.
            content_type: The Content-Type of the response.
            values: The values of the template, by name.

        Raises:
            jinja2.TemplateError: The caller's fault: there is no such template, or it
            fails; nothing was sent.
            ClientDisconnected: The client is gone.
        """
        text = await self.text(name, r, **values)
        if content_type == HTML_TYPE:
            await Deliver.html(r, text, status, headers)
        else:
            octets = text.encode()
            await Deliver.bytes(r, octets, status, headers, content_type=content_type)

    async def text(
        self, name: str, r: BlazeioServerProtocol | None = None, /, **values: Any
    ) -> str:
        """Render a template; see ``render``.

        Raises:
            jinja2.TemplateError: The caller's fault: there is no such template, or it
            fails.
        """
        # Jinja2 has a cache too, but it can only be asked by ``get_template``, which
        # may read a file and so runs in a thread.
        template = self._known.get(name)
        if template is None:  # reading and compiling takes 1 to 50 ms
            template = await asyncio.to_thread(self.environment.get_template, name)
            if not self.environment.auto_reload:
                self._known[name] = template
        if r is not None:
            values = {"r": r, "url_for": r.url_for, **values}
        return await template.render_async(values)
