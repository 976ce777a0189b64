# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where things are in the directory of a Compose project, and what its releases are."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.webops.wsgi.plugins.module_utils.host.files import write_file

NUMBER = "@RELEASE@"  # stands for a release's number in what the controller has rendered
PROVED, FAILED = "proved", "failed"  # files of a release that has passed, or not passed, its health check
ABOUT = "release.json"
WORDS = ("y", "n", "yes", "no", "on", "off", "true", "false", "null")  # that YAML takes for something else


@dataclass(frozen=True)
class Paths:
    """The places of a project.

    Attributes:
        root: Its directory.
    """

    root: Path

    @property
    def compose_file(self) -> Path:
        """What Compose reads."""
        return self.root / "compose.yaml"

    def app(self, app: str) -> Path:
        """An app's directory."""
        return self.root / "apps" / app

    def release(self, app: str, number: str) -> Path:
        """A release's files, which nginx's container sees as well."""
        return self.app(app) / "releases" / number

    def secrets(self, app: str, number: str = "") -> Path:
        """A release's files that only its containers see."""
        return self.root / "secrets" / app / number

    def current(self, app: str) -> Path:
        """The link that decides which release serves."""
        return self.app(app) / "current"

    def serving(self, app: str) -> str:
        """The number of the release that serves; empty for none."""
        link = self.current(app)
        return os.path.basename(os.readlink(link)) if link.is_symlink() else ""

    def apps(self) -> list[str]:
        """All apps that the project has anything of."""
        folder = self.root / "apps"
        return sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []

    def numbers(self, app: str) -> list[str]:
        """The app's releases, the newest first."""
        folder = self.app(app) / "releases"
        found = [entry.name for entry in folder.iterdir() if entry.name.isdecimal()] if folder.is_dir() else []
        return sorted(found, key=int, reverse=True)

    def about(self, app: str, number: str) -> dict[str, Any]:
        """What a release was made of; empty where nobody knows."""
        try:
            return dict(json.loads((self.release(app, number) / ABOUT).read_text()))
        except (OSError, ValueError):
            return {}

    def is_marked(self, app: str, number: str, mark: str) -> bool:
        """Whether a release is proved, or has failed."""
        return (self.release(app, number) / mark).exists()

    def mark(self, app: str, number: str, mark: str) -> None:
        """Note that a release is proved, or has failed."""
        other = FAILED if mark == PROVED else PROVED
        (self.release(app, number) / other).unlink(missing_ok=True)
        write_file(self.release(app, number) / mark, "")

    def good(self, app: str) -> list[str]:
        """The releases that may be gone back to, the newest first."""
        return [number for number in self.numbers(app) if self.is_marked(app, number, PROVED)]


def numbered(value: Any, number: str) -> Any:
    """What the controller has rendered, for a release of this number."""
    return json.loads(json.dumps(value).replace(NUMBER, number))


def write_release(paths: Paths, app: str, number: str, about: Mapping[str, Any], files: Mapping[str, Any]) -> None:
    """Write a release's files; what it was made of comes last, and says that it is whole."""
    folder = paths.release(app, number)
    folder.mkdir(parents=True, exist_ok=True)
    for name, file in files.items():
        write_file(folder / name, file["text"], int(file["mode"]))
    for name, target in (("app", "public"), ("socket", "sock"), ("instance", "")):
        link = folder / name
        link.unlink(missing_ok=True)
        # As nginx's container sees it.
        link.symlink_to(f"/sockets/{app}/{number}/{target}".rstrip("/"))
    write_file(folder / ABOUT, json.dumps(about, indent=1) + "\n")


def to_yaml(value: Any, indent: int = 0) -> str:
    """Plain data as YAML for people; a host may have no library that writes it."""
    pad = "  " * indent
    if isinstance(value, Mapping) and value:
        return "".join(f"{pad}{_key(key)}:{_below(item, indent)}" for key, item in value.items())
    if isinstance(value, list) and value:
        return "".join(f"{pad}-{_item(item, indent)}" for item in value)
    return f"{pad}{json.dumps(value, ensure_ascii=False)}\n"


def _key(key: Any) -> str:
    text = str(key)
    plain = re.fullmatch(r"[A-Za-z][A-Za-z0-9_.-]*", text) and text.lower() not in WORDS
    return text if plain else json.dumps(text)


def _below(value: Any, indent: int) -> str:
    if isinstance(value, (Mapping, list)) and value:
        return "\n" + to_yaml(value, indent + 1)
    return " " + to_yaml(value).lstrip()


def _item(value: Any, indent: int) -> str:
    if isinstance(value, (Mapping, list)) and value:
        return " " + to_yaml(value, indent + 1).lstrip()
    return " " + to_yaml(value).lstrip()
