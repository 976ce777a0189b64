"""A small Flask API: the application factory.

Run it on your own machine with ``flask --app app run --debug``; in production gunicorn calls ``app:create_app()``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from flask import Flask, Response, jsonify
from werkzeug.exceptions import HTTPException
from werkzeug.middleware.proxy_fix import ProxyFix

from . import database, views

__version__ = "1.0.0"


def create_app(config: Mapping[str, Any] | None = None) -> Flask:
    """Build the application.

    ``config`` overrides the settings below; the tests use it.
    """
    app = Flask(__name__, instance_relative_config=True)
    app.config.from_mapping(
        NAME=os.environ.get("WSGI_APP", "api"),
        VERSION=__version__,
        RELEASE=os.environ.get("WSGI_RELEASE", "development"),
        STATE_DIRECTORY=_state_directory() or app.instance_path,
        SLOW_LIMIT=60.0,
    )
    app.config.from_mapping(config or {})

    # Exactly one proxy (nginx) stands in front: believe the last hop's X-Forwarded-* and nothing a client adds itself.
    app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1, x_host=1)  # type: ignore[method-assign]

    app.teardown_appcontext(database.close)
    app.register_error_handler(HTTPException, _error_as_json)
    app.register_blueprint(views.blueprint)
    return app


def _state_directory() -> str:
    """The directory systemd's StateDirectory= gives the service; empty outside systemd."""
    return os.environ.get("STATE_DIRECTORY", "").split(":")[0]


def _error_as_json(error: HTTPException) -> tuple[Response, int]:
    """Answer every HTTP error in the language of the API."""
    return jsonify(error=error.name, detail=error.description), error.code or 500
