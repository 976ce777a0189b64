"""An app as somebody has it on a host: it says what its environment says, and who it is."""

from __future__ import annotations

import os
from pathlib import Path

from flask import Flask, jsonify


def create_app() -> Flask:
    """The factory that some units name."""
    app = Flask(__name__)

    @app.get("/")
    def index() -> object:
        return jsonify(app=os.environ["APP"], level=os.environ["LOG_LEVEL"], known=os.environ["SECRET_KEY"] == "horse")

    return app


if Path(__file__).with_name("broken").exists():
    raise RuntimeError("the copy of the code is broken")
app = create_app()
