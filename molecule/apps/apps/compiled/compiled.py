"""Tells how its compiled part came here: a wheel that was built here is of no manylinux platform."""

from importlib import metadata

import flask
import markupsafe._speedups

app = flask.Flask(__name__)


@app.get("/")
def index():
    wheel = metadata.distribution("markupsafe").read_text("WHEEL") or ""
    tags = [line.removeprefix("Tag: ") for line in wheel.splitlines() if line.startswith("Tag: ")]
    return {"tags": tags, "escaped": markupsafe._speedups._escape_inner("<b>")}
