"""The example API, and the trouble that the environment variable TROUBLE asks for."""

import importlib
import os
import signal
import threading
import time

import flask

from app import create_app as create_example

TROUBLE = os.environ.get("TROUBLE", "")

if TROUBLE == "import":
    importlib.import_module("no_such_module")
if TROUBLE == "slow boot":
    time.sleep(600)
if TROUBLE == "exits":
    os._exit(3)


def create_app():
    """The example's application with a few routes more."""
    app = create_example()
    if TROUBLE in ("500", "mute"):
        app.before_request(_misbehave)
    if TROUBLE == "crash":
        # Nothing in a container can kill its first process.
        how = signal.SIGTERM if os.getppid() == 1 else signal.SIGKILL
        threading.Timer(1.5, os.kill, (os.getppid(), how)).start()

    @app.post("/job/<name>")
    def job(name):
        import tasks

        tasks.note.delay(name, float(flask.request.args.get("seconds", 0)))
        return {"queued": name}, 202

    @app.post("/eat")
    def eat():
        return {"bytes": len(bytearray(int(flask.request.args["megabytes"]) * 1_000_000))}

    @app.get("/credential")
    def credential():
        with open(os.environ["PLANTED_FILE"]) as stream:
            return {"length": len(stream.read())}

    return app


def _misbehave():
    if TROUBLE == "mute":
        time.sleep(600)
    flask.abort(500)
