# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The text of C(compose.yaml), as the releases in service and on trial have it."""

from __future__ import annotations

from typing import Any

from ansible_collections.webops.wsgi.plugins.module_utils.compose.layout import Paths, numbered, to_yaml
from ansible_collections.webops.wsgi.plugins.module_utils.compose.model import Wanted
from ansible_collections.webops.wsgi.plugins.module_utils.host.files import write_file

HEADER = "# Written by webops.wsgi. Edits are undone by the next run; further services: compose_services.\n"


class Document:
    """What Compose reads.

    Attributes:
        beside: App to the release that runs beside the one in service.
    """

    def __init__(self, paths: Paths, wanted: Wanted) -> None:
        self.paths, self.wanted = paths, wanted
        self.beside: dict[str, str] = {}

    def text(self) -> str:
        """All of it."""
        base = self.wanted.base
        secrets = {f"{app}-{number}": f"./secrets/{app}/{number}/environment" for app, number in self._releases()}
        secrets |= {f"{app.name}-build": f"./secrets/{app.name}/build.json" for app in self.wanted.apps if app.build}
        services = {**self.services(), **self.development()}
        listed = {name: {"file": file} for name, file in secrets.items()}
        return HEADER + to_yaml({**base, "services": services, **({"secrets": listed} if listed else {})})

    def differs(self) -> bool:
        """Whether the file has another text."""
        file = self.paths.compose_file
        return not file.is_file() or file.read_text() != self.text()

    def write(self) -> None:
        """Have the file say it."""
        if self.differs():
            write_file(self.paths.compose_file, self.text())

    def services(self) -> dict[str, Any]:
        """The services that are to run."""
        found = dict(self.wanted.base["services"])
        for app, number in self._releases():
            found |= self._of_release(app, number)
        return found

    def development(self) -> dict[str, Any]:
        """Services that only run when a person asks for their profile, with what the release in service has."""
        numbers = {app.name: self.paths.serving(app.name) for app in self.wanted.apps if app.development}
        own = {app.name: app.development for app in self.wanted.apps}
        return {f"{name}-development": numbered(own[name], number) for name, number in numbers.items() if number}

    def _releases(self) -> list[tuple[str, str]]:
        """The releases that the file has: those in service, and beside one the release that is on trial."""
        found = []
        for app in self.wanted.apps:
            numbers = [self.paths.serving(app.name), self.beside.get(app.name, "")]
            found += [(app.name, number) for number in dict.fromkeys(numbers) if number]
        return found

    def _of_release(self, app: str, number: str) -> dict[str, Any]:
        about = self.paths.about(app, number)
        services = dict(about.get("services", {}))
        wanted = next((one for one in self.wanted.apps if one.name == app), None)
        if wanted and wanted.build and about.get("digest") == wanted.digest:
            server = next(iter(services))
            services[server] = {**services[server], "build": about["build"]}
        return services
