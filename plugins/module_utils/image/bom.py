# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an image is made of, in the words of CycloneDX: https://cyclonedx.org/docs/1.5/json/."""

from __future__ import annotations

import email.parser
import json
from email.message import Message
from pathlib import Path
from typing import Any

from ansible_collections.webops.wsgi.plugins.module_utils.build.requirements import requirement_name


def bill_of_materials(venv: Path, app: str, version: str) -> str:
    """The distributions in a virtual environment; equal ones give equal text."""
    found = sorted(venv.glob("lib/python*/site-packages/*.dist-info/METADATA"))
    parser = email.parser.Parser()
    components = [_component(parser.parsestr(file.read_text(errors="replace"), headersonly=True)) for file in found]
    bill = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": {"type": "application", "name": app, "version": version}},
        "components": sorted(components, key=lambda component: str(component["name"])),
    }
    return json.dumps(bill, indent=1) + "\n"


def _component(metadata: Message) -> dict[str, Any]:
    name, version = requirement_name(str(metadata["Name"])), str(metadata["Version"])
    purl = f"pkg:pypi/{name}@{version}"
    found: dict[str, Any] = {"type": "library", "name": name, "version": version, "purl": purl, "bom-ref": purl}
    licence = metadata.get("License-Expression")
    return {**found, "licenses": [{"expression": str(licence)}]} if licence else found
