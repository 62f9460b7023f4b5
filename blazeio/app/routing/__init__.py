"""Which handler serves a request: paths, parameters, methods, sub-apps. Pure."""
