"""A WebSocket that echoes, by picows; HTTP gets a 404.

``python picows_echo.py PORT``
"""

import sys
from typing import Any

import picows
import uvloop


class Echo(picows.WSListener):  # type: ignore[misc]
    def on_ws_frame(self, transport: Any, frame: Any) -> None:
        transport.send(frame.msg_type, frame.get_payload_as_bytes())


def listen(request: picows.WSUpgradeRequest) -> Any:
    if request.path == b"/echo":
        return Echo()
    answer = picows.WSUpgradeResponse.create_error_response(404, b"")
    return picows.WSUpgradeResponseWithListener(answer, None)


async def main() -> None:
    server = await picows.ws_create_server(listen, "127.0.0.1", int(sys.argv[1]))
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
