"""A line protocol without HTTP: the main handler takes each connection.

blazeio-supervisor raw_protocol:web --app-dir examples --workers 4
printf 'set colour blue\nget colour\n' | nc 127.0.0.1 8000
"""

import blazeio as io

web = io.App("127.0.0.1", 8000)

LINE_BYTES = 1024


@web.main_handler
async def serve_lines(r):
    values = {}
    line = b""
    async for octets in r.request():
        *lines, line = (line + octets).split(b"\n")
        for each in lines:
            await r.writer(answer(each.split(), values) + b"\n")
        if len(line) > LINE_BYTES:
            return


def answer(words, values):
    match words:
        case [b"set", name, value]:
            values[name] = value
            return b"ok"
        case [b"get", name]:
            return values.get(name, b"nothing")
    return b"set NAME VALUE, or get NAME"


if __name__ == "__main__":
    web.runner()
