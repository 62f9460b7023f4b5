"""Routes in a class and as functions, with a page from memory.

cd examples/site && python app.py
blazeio-supervisor examples/site/app.py --workers 4
"""
# ruff: noqa: N804, N805, N813 - named as the first users write it

from os import path

import Blazeio as io

web = io.App("0.0.0.0", 8000)


# OOP IMPLEMENTATION
class Server:
    @classmethod
    async def setup(app):
        app = app()
        # Methods that start with _ but not __ are endpoints; every _ of their
        # name becomes a / of their route.
        await web.append_class_routes(app)

        app.static = await io.IN_MEMORY_STATIC_CACHE.init(
            run_time_cache={"/page/index.html": {"route": "/"}},
            chunk_size=1024,
            home_dir=path.abspath(path.dirname(__file__)),
        )

        return app

    async def before_middleware(app, r):
        r.store = {"json_data": await io.Request.body_or_params(r)}

    # /redirect
    async def _redirect(app, r):
        # Redirect users to the IP endpoint
        await io.Deliver.redirect(r, "/api/ip")

    # handle undefined endpoints and serve static files
    async def handle_all_middleware(app, r):
        await app.static.handler(r, override="/page/index.html")  # answers / too

    # /api/ip
    async def _api_ip(app, r):
        data = {"ip": str(r.ip_host) + str(r.ip_port)}

        await io.Deliver.json(r, data)


# FP Implementation
@web.add_route
async def this_function_name_wont_be_used_as_the_route_if_overriden_in_the_route_param(
    r, route="/fp"
):
    message = "Hello from some functional endpoint"

    # Send a text response
    await io.Deliver.text(r, message)


if __name__ == "__main__":
    io.loop.run_until_complete(Server.setup())
    web.runner()
