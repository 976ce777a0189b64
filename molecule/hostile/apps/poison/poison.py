"""Tells how the attacks of its own build went."""

from __future__ import annotations

import importlib.resources

import flask


def create_app() -> flask.Flask:
    """The application."""
    app = flask.Flask(__name__, static_folder=None)
    report = importlib.resources.files("poison_report") / "report.json"
    app.get("/")(lambda: flask.Response(report.read_text(), mimetype="application/json"))
    return app
