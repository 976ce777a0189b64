"""What the API answers."""

from __future__ import annotations

import hashlib
import math
import sqlite3
import time
from collections.abc import Iterator

from flask import Blueprint, Response, current_app, jsonify, render_template, request
from werkzeug.exceptions import BadRequest

from . import database

blueprint = Blueprint("api", __name__)

READ_SIZE = 64 * 1024  # bytes of an upload that are in memory at a time
CHUNKS_LIMIT = 1000


@blueprint.get("/")
def index() -> Response:
    """Which code is answering."""
    config = current_app.config
    return jsonify(app=config["NAME"], version=config["VERSION"], release=config["RELEASE"])


@blueprint.get("/healthz")
def healthz() -> tuple[Response, int]:
    """Healthy means: the database can be written, the one thing this application cannot work without."""
    try:
        database.check_writable()
    except (sqlite3.Error, OSError) as error:
        return jsonify(status="failing", database=str(error)), 503
    return jsonify(status="ok", database="writable"), 200


@blueprint.post("/echo")
def echo() -> Response:
    """The JSON that came in (null for other content), and what the application received in bytes."""
    body = request.get_data(cache=True)
    content = request.get_json() if request.is_json else None
    return jsonify(json=content, length=len(body), content_type=request.content_type)


@blueprint.get("/whoami")
def whoami() -> Response:
    """The client as the application sees it, through the proxy."""
    return jsonify(
        client=request.remote_addr,
        scheme=request.scheme,
        host=request.host,
        request_id=request.headers.get("X-Request-ID"),
    )


@blueprint.get("/slow")
def slow() -> Response:
    """Take ``seconds`` to answer: for trying out timeouts and deployments under load."""
    seconds = _seconds(request.args.get("seconds", "1"), limit=current_app.config["SLOW_LIMIT"])
    time.sleep(seconds)
    return jsonify(slept=seconds)


@blueprint.post("/upload")
def upload() -> Response:
    """How many bytes came in, and their SHA-256; a body of any size takes little memory."""
    digest, size = hashlib.sha256(), 0
    while piece := request.stream.read(READ_SIZE):
        digest.update(piece)
        size += len(piece)
    return jsonify(size=size, sha256=digest.hexdigest())


@blueprint.get("/stream")
def stream() -> Response:
    """``chunks`` numbered lines spread over ``seconds``, each sent as soon as it is made."""
    seconds = _seconds(request.args.get("seconds", "1"), limit=current_app.config["SLOW_LIMIT"])
    chunks = _count(request.args.get("chunks", "10"), limit=CHUNKS_LIMIT)
    return Response(_lines(chunks, seconds), mimetype="text/plain")


@blueprint.get("/page")
def page() -> str:
    """A page for people, with a style sheet and a script that nginx serves by itself."""
    return render_template("page.html", config=current_app.config, visits=database.count_visit("/page"))


def _lines(chunks: int, seconds: float) -> Iterator[str]:
    """The lines of a stream, ``seconds / chunks`` apart."""
    for number in range(1, chunks + 1):
        time.sleep(seconds / chunks)
        yield f"line {number} of {chunks}\n"


def _count(text: str, limit: int) -> int:
    """Read a whole number of 1 to ``limit``, or answer 400."""
    if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= limit):
        raise BadRequest(f"chunks must be a whole number from 1 to {limit}, not {text!r}")
    return int(text)


def _seconds(text: str, limit: float) -> float:
    """Read a duration of 0 to ``limit`` seconds, or answer 400."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= limit:  # false for NaN, too
        raise BadRequest(f"seconds must be a number from 0 to {limit:g}, not {text!r}")
    return seconds
