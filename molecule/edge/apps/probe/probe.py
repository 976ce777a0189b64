"""An app that shows what the proxy in front of it does: it counts, streams, echoes, fails and dies on request."""

from __future__ import annotations

import itertools
import os
import pathlib
import time
from collections.abc import Iterator

from flask import Flask, Response, jsonify, request
from flask_sock import Server, Sock

app = Flask(__name__, static_folder=None)
sock = Sock(app)
state = pathlib.Path(os.environ.get("STATE_DIRECTORY", ".").split(":")[0])
answers = itertools.count(1)


@app.get("/")
@app.route("/api/<path:_path>", methods=["GET", "POST", "PUT", "DELETE"])
def hello(_path: str = "") -> Response:
    """Anything that works."""
    return jsonify(app=os.environ.get("WSGI_APP"), method=request.method)


@app.get("/seen")
@app.get("/seen/trusting")
@app.get("/api/read/seen")
def seen() -> Response:
    """The request as it arrived."""
    seen = {"client": request.remote_addr, "scheme": request.scheme, "uri": request.environ["RAW_URI"]}
    return jsonify(**seen, headers=dict(request.headers))


@app.get("/cached/<path:_path>")
@app.get("/micro")
def counted(_path: str = "") -> Response:
    """Another number whenever the app is asked; what it says of caching is in the query."""
    if (state / "fails").exists():
        return Response("failing", status=500)
    time.sleep(float(request.args.get("seconds", 0)))
    answer = jsonify(count=next(answers), user=request.headers.get("Authorization"))
    if "control" in request.args:
        answer.headers["Cache-Control"] = request.args["control"]
    if "nginx" in request.args:
        answer.headers["X-Accel-Expires"] = request.args["nginx"]
    if "cookie" in request.args:
        answer.set_cookie("session", "of-one-client")
    return answer


@app.get("/events")
def events() -> Response:
    """Three server-sent events, each when the client has said by C(keep) that it has the one before."""
    name = request.args["name"]

    def stream() -> Iterator[str]:
        for number in range(3):
            yield f"data: {number}\n\n"
            while not (state / "uploads" / f"{name}-{number}").exists():
                time.sleep(0.05)

    return Response(stream(), mimetype="text/event-stream")


@app.get("/events/large")
def large() -> Response:
    """As many bytes as asked for."""
    return Response(bytes(int(request.args["bytes"])), mimetype="application/octet-stream")


@sock.route("/socket")
def echo(socket: Server) -> None:
    """Says what it hears."""
    while True:
        socket.send(socket.receive())


@app.route("/upload", methods=["POST", "PUT"])
@app.route("/small/upload", methods=["POST", "PUT"])
def upload() -> Response:
    """How many bytes came in, read as they come."""
    pieces = iter(lambda: request.stream.read(65536), b"")
    first = next(pieces, b"")
    started = time.monotonic()
    return jsonify(length=len(first) + sum(map(len, pieces)), seconds=time.monotonic() - started)


@app.get("/leads-to/<path:path>")
def leads_to(path: str) -> Response:
    """Leaves the answer to nginx."""
    return Response(headers={"X-Accel-Redirect": f"/{path}"})


@app.put("/swap/<folder>")
def swap(folder: str) -> Response:
    """Put a link in the place of a directory of the app's own; without C(?link) put the directory back."""
    place, aside = state / folder, state / f"{folder}-aside"
    if place.is_symlink():
        place.unlink()
        aside.rename(place)
    if "link" in request.args:
        place.rename(aside)
        place.symlink_to(request.args["link"])
    return jsonify(swapped=folder)


@app.get("/looks/<path:path>")
def looks(path: str) -> Response:
    """What the app finds at a path of the host: the names in a directory, a file's beginning, or why it does not."""
    place = pathlib.Path("/", path)
    try:
        names = sorted(os.listdir(place)) if place.is_dir() else [place.read_text(errors="replace")[:200]]
    except OSError as error:
        return jsonify(error=error.strerror)
    return jsonify(found=names)


@app.put("/keep/<name>")
def keep(name: str) -> Response:
    """Keep what is sent, for others to fetch; C(?link) makes a link to a file instead, C(?to) names where."""
    place = state / request.args.get("to", "uploads") / name
    place.unlink(missing_ok=True)
    if "link" in request.args:
        place.symlink_to(request.args["link"])
    else:
        place.write_bytes(request.get_data())
    return jsonify(kept=name)


@app.route("/dies-once/<name>", methods=["GET", "POST"])
def dies_once(name: str) -> Response:
    """The first request of a name takes the worker down with it."""
    mark = state / f"died-{name}"
    if not mark.exists():
        mark.touch()
        os._exit(1)
    return jsonify(survived=name)


@app.get("/own-headers")
def own_headers() -> Response:
    """Headers that the proxy would send as well."""
    return Response("own", headers={"X-Frame-Options": "DENY", "X-Content-Type-Options": "own", "X-Request-ID": "own"})


@app.get("/cookies/<int:count>/<int:size>")
def cookies(count: int, size: int) -> Response:
    """So many cookies, each of that many bytes."""
    answer = jsonify(cookies=count)
    for number in range(count):
        answer.headers.add("Set-Cookie", f"c{number}={'x' * size}")
    return answer


@app.get("/status/<int:status>")
def status(status: int) -> Response:
    """An error of the app's own."""
    return Response(f"the app says {status}", status=status)
