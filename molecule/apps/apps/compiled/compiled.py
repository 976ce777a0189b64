"""Tells how its compiled part, and its server's, came here: a wheel that was built here is of no manylinux platform."""

from importlib import metadata

import flask
import markupsafe._speedups

app = flask.Flask(__name__)


@app.get("/")
def index():
    return {"tags": _tags("markupsafe") + _tags("uwsgi"), "escaped": markupsafe._speedups._escape_inner("<b>")}


def _tags(package):
    wheel = metadata.distribution(package).read_text("WHEEL") or ""
    return [line.removeprefix("Tag: ") for line in wheel.splitlines() if line.startswith("Tag: ")]
