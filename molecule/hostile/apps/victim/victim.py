"""The app next door. What it keeps to itself has "planted-in-" in it."""

from __future__ import annotations

import os
import pathlib
import sys

import flask

CODE = "planted-in-code"
DATA = pathlib.Path(__file__).parent / "data"


def create_app() -> flask.Flask:
    """The application."""
    app = flask.Flask(__name__, static_folder=None)
    app.get("/")(home)
    app.get("/healthz")(lambda: "well")
    for path in ("/private/", "/inside/", "/cached/private/"):
        app.get(f"{path}<name>", endpoint=path)(private)
    app.get("/cached/open/<name>")(cached)
    app.post("/log/<line>")(log)
    return app


def home() -> dict[str, object]:
    """Whether everything it has is there."""
    credential = pathlib.Path(os.environ["CREDENTIALS_DIRECTORY"], "planted.pem").read_text()
    kept = {"diary": len((DATA / "diary.txt").read_text()), "secret": len(os.environ["PLANTED"])}
    return {"app": "victim", "release": os.environ["WSGI_RELEASE"], "credential": len(credential), **kept}


def private(name: str) -> dict[str, str]:
    """Not for everybody."""
    return {"name": name, "private": "planted-in-private"}


def cached(name: str) -> dict[str, str]:
    """A page that nginx may keep."""
    return {"name": name, "app": "victim", "kept": "planted-in-cache"}


def log(line: str) -> dict[str, str]:
    """Write a line to the journal."""
    print(line, file=sys.stderr, flush=True)
    return {"logged": line}
