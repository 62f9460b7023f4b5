"""An App that serves one folder with listings: ``blazeio-supervisor serve FOLDER``."""

import os

from blazeio.app.app import App

VARIABLE = "BLAZEIO_SERVED_FOLDER"
"""The environment names the folder: a worker imports this module by its name."""


def make_app() -> App:
    """Make the App.

    Raises:
        ConfigurationError: There is no such folder.
    """
    app: App = App("127.0.0.1", 8000)
    app.add_static("/", os.environ.get(VARIABLE) or ".", listing=True)
    return app
