# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of a Compose project is not as it is wanted, as far as it can be told without changing anything."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

from ansible_collections.webops.wsgi.plugins.module_utils.compose.document import Document
from ansible_collections.webops.wsgi.plugins.module_utils.compose.engine import Container
from ansible_collections.webops.wsgi.plugins.module_utils.compose.layout import PROVED
from ansible_collections.webops.wsgi.plugins.module_utils.compose.model import NGINX, App, Asker, runs

RENEWED = 30 * 86400  # seconds before its end that a certificate of our own is replaced
CONTEXT_OF = "image.name"  # file of an image's context that says whose it is


class Difference:
    """Looks at a project."""

    def __init__(self, document: Document, engine: Asker) -> None:
        self.paths, self.wanted, self.document, self.engine = document.paths, document.wanted, document, engine

    def all(self) -> list[str]:
        """All of it, for a person; empty when nothing differs."""
        found = [f"{name} differs" for name in self.files()]
        found += [f"nginx's tree {self.wanted.tree_name}"] if self.tree() != self.wanted.tree_name else []
        found += [f"certificate {name}" for name in self.certificates()]
        names = {app.name for app in self.wanted.apps}
        found += [f"app {name} is not wanted" for name in self.paths.apps() if name not in names]
        found += [f"app {app.name}: {why}" for app in self.wanted.apps if (why := self.lacks(app))]
        found += [f"app {app.name}: what its image is built from" for app in self.contexts()]
        if not found and self.document.differs():
            found.append("compose.yaml differs")
        if not found and self.wanted.start:
            found += self.running()
        if not found and self.wanted.start:
            found += [f"certificate {name} is not issued" for name in self.not_issued()]
        if not found and self.wanted.start and self.unread():
            found.append("nginx has not read its certificates")
        return found

    def files(self) -> list[str]:
        """Files of the project itself."""
        return [name for name, file in self.wanted.files.items() if self._differs(name, file)]

    def tree(self) -> str:
        """Nginx's tree that is in service."""
        link = self.paths.root / NGINX / "current"
        return link.readlink().name if link.is_symlink() else ""

    def lacks(self, app: App) -> str:
        """What the app's release in service is not."""
        number = self.paths.serving(app.name)
        if not number:
            return "first release"
        if self.paths.about(app.name, number).get("digest") != app.digest:
            return "another release"
        if self.wanted.start and not self.paths.is_marked(app.name, number, PROVED):
            return f"release {number} is not proved"
        return ""

    def contexts(self) -> list[App]:
        """Apps whose image would not be built from what the project has for it."""
        return [
            app
            for app in self.wanted.apps
            if app.build and self._differs(f"images/{app.name}/{CONTEXT_OF}", {"text": app.image})
        ]

    def certificates(self) -> list[str]:
        """Certificates of ours that are missing or others; one of our own making is kept until it nears its end."""
        return [name for name, wanted in self.wanted.certificates.items() if self._is_stale(name, wanted)]

    def not_issued(self) -> list[str]:
        """Apps whose certificate an authority has not given yet, or for other names."""
        issued = self.engine.issued() if self.wanted.orders else {}
        return [name for name, order in self.wanted.orders.items() if issued.get(name) != order]

    def unread(self) -> bool:
        """Whether an authority has given a certificate that nginx does not show yet."""
        return bool(self.wanted.orders) and bool(self.engine.edge("unread"))

    def running(self) -> list[str]:
        """Services that do not run although they should, or the other way round, or as they should no more."""
        running = {one.service: one for one in self.engine.containers()}
        expected = set(self.document.services())
        found = [f"{name} does not run" for name in sorted(expected) if not runs(running, name)]
        left = running.keys() - expected - self.document.development().keys()
        found += [f"{name} is left over" for name in sorted(left)]
        found += [f"{name} has other settings" for name in self.others(running)]
        if not found and self.engine.tree_in_service() != self.wanted.tree_name:
            found.append("nginx has not read its tree")
        return found

    def others(self, running: Mapping[str, Container]) -> list[str]:
        """Services beside releases that run with other settings than they should have."""
        hashes = self.engine.hashes()
        names = self.wanted.base["services"]
        return [name for name in names if name in running and running[name].config != hashes.get(name)]

    def _differs(self, name: str, file: Mapping[str, Any]) -> bool:
        place = self.paths.root / name
        return not place.is_file() or place.read_text() != file["text"]

    def _is_stale(self, name: str, wanted: Mapping[str, Any]) -> bool:
        folder = self.paths.root / "secrets" / "tls" / name
        try:
            about = json.loads((folder / "about.json").read_text())
        except (OSError, ValueError):
            return True
        nears_its_end = wanted["until"] and about["until"] < time.time() + RENEWED
        return bool(about["digest"] != wanted["digest"] or nears_its_end)
