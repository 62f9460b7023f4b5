from quart import Quart, Response, jsonify, redirect, request, websocket

app = Quart(__name__)


@app.before_serving
async def begin():
    app.config["BEGUN"] = True


@app.get("/")
async def root():
    return jsonify(hello="world", begun=app.config["BEGUN"])


@app.get("/items/<int:number>")
async def item(number):
    return {"number": number, "q": request.args.get("q")}


@app.post("/echo")
async def echo():
    return Response(await request.get_data(), mimetype="text/plain")


@app.post("/form")
async def form():
    return dict(await request.form)


@app.post("/upload")
async def upload():
    files = await request.files
    content = files["file"].read()
    return {"name": files["file"].filename, "size": len(content)}


@app.get("/stream")
async def stream():
    async def parts():
        for number in range(20):
            yield f"{number}\n".encode()

    return parts(), 200, {"Content-Type": "text/plain"}


@app.get("/redirect")
async def redirected():
    return redirect("/")


@app.get("/boom")
async def boom():
    raise ValueError("a fault of the app")


@app.websocket("/ws")
async def ws():
    while True:
        text = await websocket.receive()
        await websocket.send(f"got {text}")
