# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Brings a Compose project to what the controller wants: each release is proved before one rename lets nginx find it.

Whatever is killed, the link C(current) leads to a release that has answered well, or there is none yet; the next run
makes up for the rest.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

from ansible_collections.webops.wsgi.plugins.module_utils.compose.difference import CONTEXT_OF, Difference
from ansible_collections.webops.wsgi.plugins.module_utils.compose.document import Document
from ansible_collections.webops.wsgi.plugins.module_utils.compose.engine import ComposeError
from ansible_collections.webops.wsgi.plugins.module_utils.compose.layout import FAILED, Paths, numbered, write_release
from ansible_collections.webops.wsgi.plugins.module_utils.compose.model import (
    CERTBOT,
    NGINX,
    App,
    Asker,
    Report,
    Wanted,
    runs,
)
from ansible_collections.webops.wsgi.plugins.module_utils.compose.switch import Switch
from ansible_collections.webops.wsgi.plugins.module_utils.host.files import remove_tree, replace_link, write_file
from ansible_collections.webops.wsgi.plugins.module_utils.image.engine import write_context

PATIENCE = 30.0  # seconds for nginx to answer


class Deployment:
    """One run for one project."""

    def __init__(
        self, paths: Paths, wanted: Wanted, engine: Asker, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self.paths, self.wanted, self.engine = paths, wanted, engine
        self.report = Report()
        self._sleep = sleep
        self._document = Document(paths, wanted)
        self._difference = Difference(self._document, engine)
        self._switch = Switch(self._document, engine, self._start_base, sleep)

    def plan(self) -> list[str]:
        """What is not as it is wanted, as far as it can be told without changing anything."""
        return self._difference.all()

    def run(self) -> Report:
        """Make up the difference."""
        if self.wanted.start:
            self.engine.check()
        self.report.reasons = self.plan()
        if self.report.reasons:
            self._write_project()
            changed = [app for app in self.wanted.apps if self._difference.lacks(app)]
            # One at a time: the machine that serves the others has them to serve.
            for app in changed:
                self._collect(app, self._renew)
            self._finish()
        self.report.releases = {app.name: self.paths.serving(app.name) for app in self.wanted.apps}
        if self.wanted.start:
            for app in self.wanted.apps:
                if app.name not in self.report.failures:
                    self._collect(app, self._look)
        return self.report

    def roll_back(self, app: App, target: str) -> Report:
        """Have an earlier release of an app serve again, with the image and the settings that it had."""
        self.engine.check()
        serving = self.paths.serving(app.name)
        good = [number for number in self.paths.good(app.name) if number != serving]
        earlier = [number for number in good if int(number) < int(serving or 0)]
        number = (earlier or [""])[0] if target == "previous" else target
        if number not in good:
            listed = ", ".join(good) or "none"
            raise ComposeError(f'app "{app.name}" has no release {target} to go back to; there is {listed}')
        self.report.reasons = [f"app {app.name}: back to release {number}"]
        self._collect(app, lambda one: self._switch.go(one, number, "rollback"))
        if app.name not in self.report.failures and serving:
            self.paths.mark(app.name, serving, FAILED)  # never chosen by itself
        self.report.releases = {app.name: self.paths.serving(app.name)}
        return self.report

    def _collect(self, app: App, action: Callable[[App], None]) -> None:
        try:
            action(app)
        except (ComposeError, OSError) as error:
            self.report.failures[app.name] = f'app "{app.name}": {error}'

    # ------------------------------------------------------------ the parts of a run

    def _write_project(self) -> None:
        """What is not a release: the project's own files, certificates, and nginx's tree, not in service yet."""
        root = self.paths.root
        for folder in ("apps", "secrets/tls", "maintenance", NGINX):
            (root / folder).mkdir(parents=True, exist_ok=True)
        for name in self._difference.files():
            file = self.wanted.files[name]
            write_file(root / name, file["text"], int(file["mode"]))
        for name in self._difference.certificates():
            pair, place = self.wanted.certificates[name], root / "secrets" / "tls" / name
            write_file(place / "privkey.pem", pair["key"], 0o600)
            write_file(place / "fullchain.pem", pair["cert"])
            write_file(place / "about.json", json.dumps({"digest": pair["digest"], "until": pair["until"]}))
        for app in self.wanted.apps:
            write_file(self.paths.app(app.name) / "user", f"{app.user}\n")
        for app in self._difference.contexts():
            self._write_context(app)
        self._write_tree()

    def _write_tree(self) -> None:
        """Write nginx's tree beside the one in service, and see that nginx takes it."""
        root, serving = self.paths.root, self._difference.tree()
        if serving == self.wanted.tree_name:
            return
        for name, file in self.wanted.tree.items():
            write_file(root / NGINX / self.wanted.tree_name / name, file["text"], int(file["mode"]))
        if not serving:
            replace_link(root / NGINX / "current", self.wanted.tree_name)
        elif self.wanted.start:
            self._document.write()
            self._have_own_images()
            self.engine.try_tree(self.wanted.tree_name)

    def _write_context(self, app: App) -> None:
        write_file(self.paths.secrets(app.name) / "build.json", json.dumps(app.indexes), 0o600)
        folder = self.paths.root / "images" / app.name
        partial = folder.with_name(f".{app.name}.partial")
        remove_tree(partial)
        partial.mkdir(parents=True)
        if app.archive:
            (partial / app.archive_name).write_bytes(Path(app.archive).read_bytes())
        write_context(partial, {**app.context, CONTEXT_OF: {"text": app.image, "mode": 0o644}})
        remove_tree(folder)
        partial.rename(folder)

    def _have_own_images(self) -> None:
        for name in (NGINX, CERTBOT):
            service = self.wanted.base["services"].get(name)
            if service and not self.engine.has_image(service["image"]):
                self.engine.build(name)

    def _start_base(self) -> None:
        """Have nginx and a person's services run; those whose settings have changed are replaced."""
        self._document.write()
        self._have_own_images()
        running = {one.service: one for one in self.engine.containers()}
        others = self._difference.others(running)
        if NGINX in others:  # it begins with the tree that suits it
            replace_link(self.paths.root / NGINX / "current", self.wanted.tree_name)
        if others or not all(runs(running, name) for name in self.wanted.base["services"]):
            self.engine.up(self.wanted.base["services"], recreate=True)

    def _renew(self, app: App) -> None:
        """Write an app's release and have it serve."""
        number = self.paths.serving(app.name)
        if not number or self.paths.about(app.name, number).get("digest") != app.digest:
            number = str(int((self.paths.numbers(app.name) or ["0"])[0]) + 1)
            about = {**numbered(app.about, number), "digest": app.digest, "image": app.image, "build": app.build}
            for name, file in app.secrets.items():
                write_file(self.paths.secrets(app.name, number) / name, file["text"], int(file["mode"]))
            write_release(self.paths, app.name, number, about, app.files)
        if self.wanted.start:
            self._switch.go(app, number, "deploy")
            return
        replace_link(self.paths.current(app.name), f"releases/{number}")
        self._switch.prune(app)

    def _finish(self) -> None:
        """What apps have in common: nginx's tree in service, apps that are not wanted removed, nothing left over."""
        root, names = self.paths.root, {app.name for app in self.wanted.apps}
        self._document.write()
        if self.wanted.start:
            self._start_base()
        if not self.report.failures:
            replace_link(root / NGINX / "current", self.wanted.tree_name)
        if self.wanted.start:
            if self.engine.tree_in_service() != self._difference.tree():
                self.engine.edge("reload")
            if self._difference.running():
                self.engine.up([], orphans=True)
            self._certify()
        self._tidy(names)

    def _certify(self) -> None:
        """Have the authority asked for certificates that are missing, and nginx show what it gave."""
        lacking = self._difference.not_issued()
        for app in self.wanted.apps:
            if app.name in lacking and app.name not in self.report.failures:
                self._collect(app, lambda one: self.engine.certify(one.name))
        if self._difference.unread():
            self.engine.edge("reload")

    def _tidy(self, names: set[str]) -> None:
        """Remove what no app of these names needs, and trees that nginx will not read again."""
        for name in self.paths.apps():
            if name not in names:
                for folder in (self.paths.app(name), self.paths.secrets(name), self.paths.root / "images" / name):
                    remove_tree(folder)
        for order in (self.paths.root / "secrets" / CERTBOT).glob("*.ini"):
            if order.stem not in self.wanted.orders:
                order.unlink()
        for tree in (self.paths.root / NGINX).iterdir():
            if not tree.is_symlink() and tree.name not in (self.wanted.tree_name, self._difference.tree()):
                remove_tree(tree)

    def _look(self, app: App) -> None:
        """A run that reports ok has looked."""
        deadline = time.monotonic() + PATIENCE
        while fault := app.through():
            if time.monotonic() > deadline:
                raise ComposeError(f"is not healthy through nginx: {fault}")
            self._sleep(0.5)
