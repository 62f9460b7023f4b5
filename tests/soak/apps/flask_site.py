"""What the soak serves, as a Flask app."""

import os
import time

from flask import Flask, request

web = Flask(__name__)


@web.get("/")
def pid() -> str:
    return str(os.getpid())


@web.post("/echo")
def echo() -> bytes:
    return request.get_data()


@web.get("/slow")
def slow() -> str:
    time.sleep(0.4)
    return "late"


@web.get("/block")
def block() -> str:
    time.sleep(float(request.query_string or 8))
    return "late"
