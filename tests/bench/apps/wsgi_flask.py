"""The hello of Flask."""

from flask import Flask, Response

app = Flask(__name__)


@app.get("/")
def hello() -> Response:
    return Response("Hello, world!", content_type="text/plain")
