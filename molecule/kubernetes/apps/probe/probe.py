"""An app that tells what reaches it, and fails as its environment says."""

import os
import sys
import time

from flask import Flask, jsonify, request

fault = os.environ.get("FAULT", "")
time.sleep(float(os.environ.get("IMPORT_SECONDS", "0")))
if fault == "crash":
    raise RuntimeError("the database of the probe has no such table")

app = Flask(__name__)


@app.get("/")
def index():
    return jsonify(release=os.environ.get("RELEASE", ""), secret=len(os.environ.get("SECRET_KEY", "")))


@app.get("/healthz")
def healthz():
    return ("no", 503) if fault == "unready" else ("ok", 200)


@app.get("/slow")
def slow():
    time.sleep(1)
    return jsonify(release=os.environ.get("RELEASE", ""))


@app.post("/echo")
def echo():
    return jsonify(bytes=len(request.get_data()))


@app.get("/seen")
def seen():
    return jsonify(
        address=request.remote_addr, scheme=request.scheme, host=request.host, secure=request.is_secure, url=request.url
    )


@app.get("/inside")
def inside():
    token = "/var/run/secrets/kubernetes.io/serviceaccount/token"
    return jsonify(
        token=os.path.exists(token),
        services=[name for name in os.environ if name.endswith("_SERVICE_HOST")],
        user=os.getuid(),
        processes=os.environ.get("WEB_CONCURRENCY", ""),
        file=open(os.environ["SETTINGS"]).read() if "SETTINGS" in os.environ else "",
    )


@app.get("/burn")
def burn():
    end = time.monotonic() + 0.1
    while time.monotonic() < end:
        pass
    return "ok"


def migrate():
    print("the migration of the probe begins", flush=True)
    if fault == "migration":
        sys.exit("the migration of the probe found two heads")
