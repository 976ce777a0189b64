"""Asks the server of this container what a deployment would ask it, and ends with 1 unless it answers well."""

import json
import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def main() -> str | int:
    """What is wrong with the answer, or 0."""
    sys.path.insert(0, str(HERE))  # python -I looks for no modules beside this file
    from ansible_collections.webops.wsgi.plugins.module_utils.release import health

    asked = health.Health(**json.loads((HERE / "health.json").read_text()))
    return health.ask(Path(os.environ["WSGI_SOCKET"]), asked).fault or 0


sys.exit(main())
