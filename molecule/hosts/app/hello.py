"""An app that says how it was started, and refuses to start, or names it does not know, as frameworks do."""

from __future__ import annotations

import json
import locale
import os
import sys

if os.environ["ASKED_TO"] == "fail":
    raise RuntimeError("as it was asked to")


def app(environ, start_response):
    """Answer."""
    known = "*" not in environ["HTTP_HOST"]
    start_response("200 OK" if known else "400 Bad Request", [("Content-Type", "application/json")])
    told = {
        "method": environ["REQUEST_METHOD"],
        "encodings": [locale.getpreferredencoding(), sys.getfilesystemencoding()],
        "release": os.environ["WSGI_RELEASE"],
        "asked_to": os.environ["ASKED_TO"],
    }
    return [json.dumps(told).encode()]
