"""A service of a repository of several, as `uv init` makes it: no package, run where it lies."""

import json
from importlib.metadata import version

import bottle
import prices

app = bottle.Bottle()


@app.get("/")
def total():
    """What three pieces cost, and the version of bottle, of which there are newer ones than the lock's."""
    return json.dumps({"total": prices.total(3), "bottle": version("bottle")})
