"""An app that answers, and tells who nginx says a client is."""

from __future__ import annotations


def app(environ, start_response):
    """Answer."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    told = [environ.get(f"HTTP_X_CLIENT_CERT_{name}", "") for name in ("VERIFY", "SUBJECT")]
    return [f"{' '.join(told)}\n".encode() if environ["PATH_INFO"].endswith("/who") else b"hello\n"]
