"""An app that answers."""


def app(_environ, start_response):
    """Answer."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello\n"]
