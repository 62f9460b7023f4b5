from flask import Flask, Response, jsonify, redirect, request, send_file, session

app = Flask(__name__)
app.secret_key = "secret"


@app.get("/")
def root():
    return jsonify(hello="world")


@app.get("/items/<int:number>")
def item(number):
    return {"number": number, "q": request.args.get("q"), "path": request.full_path}


@app.post("/echo")
def echo():
    return Response(request.get_data(), mimetype="text/plain")


@app.post("/form")
def form():
    return request.form.to_dict()


@app.post("/upload")
def upload():
    file = request.files["file"]
    return {"name": file.filename, "size": len(file.read())}


@app.post("/stream-in")
def stream_in():
    size = 0
    while piece := request.stream.read(1000):
        size += len(piece)
    return {"size": size}


@app.get("/stream")
def stream():
    return Response((f"{number}\n" for number in range(20)), mimetype="text/plain")


@app.get("/session")
def in_session():
    session["visits"] = session.get("visits", 0) + 1
    return dict(session)


@app.get("/cookies")
def cookies():
    response = Response("cookies")
    response.set_cookie("a", "1")
    response.set_cookie("b", "2")
    return response


@app.get("/file")
def file():
    return send_file(__file__, mimetype="text/plain", conditional=True)


@app.get("/redirect")
def redirected():
    return redirect("/")


@app.get("/empty")
def empty():
    return "", 204


@app.get("/boom")
def boom():
    raise ValueError("a fault of the app")


@app.get("/\u00e9")
def accent():
    return {"path": request.path}
