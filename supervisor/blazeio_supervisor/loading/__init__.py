"""Finding an app, importing it, and looking at what the import left behind."""
