"""An app that answers."""


def app(environ, start_response):
    """Answer."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello\n"]
