"""App, routes and dispatch; Request, Deliver: what an application writes against."""
