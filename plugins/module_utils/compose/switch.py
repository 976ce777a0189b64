# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One app of a Compose project changes its release: proved beside the one in service, then found by one rename."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

from ansible_collections.webops.wsgi.plugins.module_utils.compose.document import Document
from ansible_collections.webops.wsgi.plugins.module_utils.compose.engine import ComposeError
from ansible_collections.webops.wsgi.plugins.module_utils.compose.layout import FAILED, PROVED
from ansible_collections.webops.wsgi.plugins.module_utils.compose.model import RUNNING, App, Asker
from ansible_collections.webops.wsgi.plugins.module_utils.host.files import remove_tree, replace_link
from ansible_collections.webops.wsgi.plugins.module_utils.host.lock import now
from ansible_collections.webops.wsgi.plugins.module_utils.release.run import HISTORY, append

QUIET = 3  # looks in a row without a connection, for one that is being made


class Switch:
    """Changes releases.

    Args:
        document: What Compose reads.
        engine: Docker Compose.
        start_base: Has nginx and a person's services run.
        sleep: Waits for seconds.
    """

    def __init__(
        self, document: Document, engine: Asker, start_base: Callable[[], None], sleep: Callable[[float], None]
    ) -> None:
        self.paths, self.wanted, self.document, self.engine = document.paths, document.wanted, document, engine
        self._start_base, self._sleep = start_base, sleep

    def go(self, app: App, number: str, action: str) -> None:
        """Prove a release and let nginx find it; on a failure the one before goes on serving.

        Raises:
            ComposeError: The release is not good; the message says why, and what serves.
        """
        before = self.paths.serving(app.name)
        if before == number:  # a run was killed before it had proved it
            before = next((other for other in self.paths.good(app.name) if other != number), "")
        began, seconds, outcome = time.monotonic(), 0.0, "failed"
        self.document.beside[app.name] = number
        try:
            self._prove(app, number, before)
            outcome = "ok"
        except (ComposeError, OSError) as error:
            told = self._undo(app, number, before)
            raise ComposeError(f"release {number} {error}\n{told}") from None
        finally:
            self.document.beside.pop(app.name, None)
            seconds = round(time.monotonic() - began, 1)
            line = {
                "time": now(),
                "who": self.wanted.who,
                "action": action,
                "from": before,
                "to": number,
                "source": self.paths.about(app.name, number).get("source", ""),
                "reasons": [],
                "outcome": outcome,
                "seconds": {"all": seconds},
            }
            with suppress(OSError):  # a full disk must not hide how it went
                append(self.paths.app(app.name) / HISTORY, json.dumps(line))
        self._retire(app, before if before != number else "")

    def _prove(self, app: App, number: str, before: str) -> None:
        about = self.paths.about(app.name, number)
        services = list(about["services"])
        server, workers = services[0], services[1:]
        self._start_base()
        self._have_image(app, server, about["image"])
        self.engine.edge("prepare")
        self._hook(about, server, "before-activate")
        self.engine.up([server])
        self._until_healthy(server, about)
        if workers:
            self.engine.up(workers)
            self._sleep(float(about["settle"]))
            self._all_run(workers)
        faulty = app.through() if before else ""
        replace_link(self.paths.current(app.name), f"releases/{number}")
        # What nginx answered badly before is not this release's fault.
        if before and not faulty and (fault := app.through()):
            raise ComposeError(f"was not healthy through nginx: {fault}")
        self._hook(about, server, "after-activate")
        self.paths.mark(app.name, number, PROVED)

    def _have_image(self, app: App, server: str, image: str) -> None:
        self.document.write()
        if self.engine.has_image(image):
            return
        if app.build and app.image == image:
            self.engine.build(server)
        else:
            self.engine.pull(image, app.registry)

    def _hook(self, about: Mapping[str, Any], server: str, name: str) -> None:
        if name in about["hooks"]:
            try:
                self.engine.once(server, f"/wsgi/commands/{name}", int(about["hooks"][name]))
            except ComposeError as error:
                raise ComposeError(f"failed in {name.replace('-', '_')}: {error}") from None

    def _until_healthy(self, server: str, about: Mapping[str, Any]) -> None:
        deadline, good, fault = time.monotonic() + about["start_timeout"], 0, "it was not asked"
        while good < about["successes"]:
            self._all_run([server])
            fault = self.engine.ask(server)
            good = 0 if fault else good + 1
            if fault and time.monotonic() > deadline:
                raise ComposeError(f"was not healthy within {about['start_timeout']} s: {fault}")
            if good < about["successes"]:
                self._sleep(float(about["interval"]))

    def _all_run(self, services: Iterable[str]) -> None:
        running = {one.service: one for one in self.engine.containers()}
        for name in services:
            one = running.get(name)
            if one is None or one.restarts or one.state != RUNNING:
                code = f" with code {one.code}" if one else ""
                raise ComposeError(f"has ended: {name} exited{code}")

    def _undo(self, app: App, number: str, before: str) -> str:
        """Go on with the release before; returns what the failed one printed, and what serves."""
        about = self.paths.about(app.name, number)
        services = list(about["services"])
        told = "\n".join(text for name in services if (text := self.engine.log(name)))
        if self.paths.serving(app.name) == number:
            if before:
                replace_link(self.paths.current(app.name), f"releases/{before}")
                self.document.beside[app.name] = number
                self.document.write()
                self.engine.up(self.paths.about(app.name, before)["services"])
            else:
                self.paths.current(app.name).unlink()
        with suppress(ComposeError):
            self.engine.remove(services)
            self.engine.edge("forget", app.name, number)
        self.document.beside.pop(app.name, None)
        self.paths.mark(app.name, number, FAILED)
        self.document.write()
        self.prune(app)
        serves = f"release {before} still serves" if before else "there is no release before it, so nothing serves"
        return f"{told}\n{serves}".strip()

    def _retire(self, app: App, before: str) -> None:
        """Stop the release before once nobody is connected to it, and remove what is beyond those to be kept."""
        if before:
            about = self.paths.about(app.name, before)
            self.document.beside[app.name] = before
            self._drain(app.name, before, float(about.get("drain", 0)))
            self.document.write()
            self.engine.remove(about["services"])
            self.engine.edge("forget", app.name, before)
            self.document.beside.pop(app.name)
            self.document.write()
        self.prune(app)

    def _drain(self, app: str, number: str, limit: float) -> None:
        deadline, quiet = time.monotonic() + limit, 0
        while quiet < QUIET and time.monotonic() < deadline:
            quiet = 0 if int(self.engine.edge("connections", f"/run/{app}/{number}/") or 0) else quiet + 1

    def prune(self, app: App) -> None:
        """Remove the releases beyond those to be kept, and images that none has."""
        serving = self.paths.serving(app.name)
        kept = [serving, *(number for number in self.paths.good(app.name) if number != serving)][: max(1, app.keep)]
        # One that failed last is kept for a person to read.
        gone = [number for number in self.paths.numbers(app.name)[1:] if number not in kept]
        images = {self.paths.about(app.name, number).get("image", "") for number in gone}
        for number in gone:
            remove_tree(self.paths.release(app.name, number))
            remove_tree(self.paths.secrets(app.name, number))
        for name in self.paths.apps():
            images -= {self.paths.about(name, number).get("image", "") for number in self.paths.numbers(name)}
        for image in sorted(filter(None, images)) if self.wanted.start else ():
            self.engine.forget_image(image)
