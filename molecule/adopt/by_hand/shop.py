"""An app as somebody has it on a host: settings from its environment, a file that it keeps."""

from __future__ import annotations

import os

from flask import Flask, jsonify


def create_app() -> Flask:
    """The factory that the unit names."""
    app = Flask(__name__)

    @app.get("/")
    def index() -> object:
        return jsonify(level=os.environ["LOG_LEVEL"], known=os.environ["SECRET_KEY"] == "correct horse")

    return app
