"""From a request to its handler, and from what that raises to an answer."""
