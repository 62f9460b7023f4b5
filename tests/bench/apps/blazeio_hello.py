"""The JSON hello for us: by the supervisor, or ``python blazeio_hello.py PORT``."""

import sys

import blazeio as io

web = io.App("127.0.0.1", int(sys.argv[1]) if __name__ == "__main__" else 0)


@web.add_route
async def hello(r: io.BlazeioServerProtocol, route: str = "/") -> None:
    await io.Deliver.json(r, {"hello": "world"})


if __name__ == "__main__":
    web.runner()
