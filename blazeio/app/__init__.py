"""What an application is written against: App, routes, Request, Deliver."""
