"""nginx as a reverse proxy in front of an example."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.conformance.range_peers import await_socket
from tests.support.peer import BlockingPeer

CONFIG = """
daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 64; }}
http {{
  access_log off; client_max_body_size 0;
  client_body_temp_path {folder}; proxy_temp_path {folder};
  fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};
  map $http_upgrade $onwards {{ default ""; websocket upgrade; }}
  upstream app {{ server 127.0.0.1:{port}; keepalive 4; }}
  server {{
    listen unix:{folder}/nginx.sock;
    location / {{
      proxy_pass http://app; proxy_http_version 1.1;
      proxy_set_header Connection $onwards; proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Host $http_host;
      proxy_request_buffering off; proxy_buffering off;
    }}
  }}
}}
"""


@contextlib.contextmanager
def nginx_before(program: str, port: int, folder: Path) -> Iterator[BlockingPeer]:
    """A connection to nginx, which keeps some to 127.0.0.1:port alive."""
    config = folder / "nginx.conf"
    config.write_text(CONFIG.format(folder=folder, port=port))
    process = subprocess.Popen(
        [program, "-c", str(config), "-e", str(folder / "error.log")]
    )
    try:
        with await_socket(process, folder / "nginx.sock") as peer:
            yield peer
    finally:
        process.terminate()
        process.wait()
