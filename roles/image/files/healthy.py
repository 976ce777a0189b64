"""Asks the server of this container what a deployment would ask it, and ends with 1 unless it answers well."""

import json
import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))  # python -I leaves it out

from health import Health, ask  # noqa: E402

answer = ask(Path(os.environ["WSGI_SOCKET"]), Health(**json.loads((HERE / "health.json").read_text())))
sys.exit(answer.fault or 0)
