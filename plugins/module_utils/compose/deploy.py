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
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ansible_collections.webops.wsgi.plugins.module_utils.compose.engine import ComposeError, Container
from ansible_collections.webops.wsgi.plugins.module_utils.compose.layout import (
    FAILED,
    PROVED,
    Paths,
    numbered,
    to_yaml,
    write_release,
)
from ansible_collections.webops.wsgi.plugins.module_utils.host.files import remove_tree, replace_link, write_file
from ansible_collections.webops.wsgi.plugins.module_utils.host.lock import now
from ansible_collections.webops.wsgi.plugins.module_utils.image.engine import write_context
from ansible_collections.webops.wsgi.plugins.module_utils.release.run import HISTORY, append

HEADER = "# Written by webops.wsgi. Edits are undone by the next run; further services: compose_services.\n"
NGINX = "nginx"
QUIET = 3  # looks in a row without a connection, for one that is being made
PATIENCE = 30.0  # seconds for nginx to answer
RENEWED = 30 * 86400  # seconds before its end that a certificate of our own is replaced
RUNNING = "running"
CONTEXT_OF = "image.name"  # file of an image's context that says whose it is


class Asker(Protocol):
    """Docker Compose as a deployment needs it, see C(engine.Engine)."""

    def check(self) -> None: ...
    def has_image(self, name: str) -> bool: ...
    def build(self, service: str) -> None: ...
    def pull(self, image: str, registry: Mapping[str, Any]) -> None: ...
    def forget_image(self, name: str) -> None: ...
    def up(self, services: Iterable[str], recreate: bool = False, orphans: bool = False) -> None: ...
    def remove(self, services: Iterable[str]) -> None: ...
    def once(self, service: str, command: str, seconds: int) -> None: ...
    def ask(self, service: str) -> str: ...
    def edge(self, *arguments: str) -> str: ...
    def try_tree(self, tree: str) -> None: ...
    def tree_in_service(self) -> str: ...
    def hashes(self) -> dict[str, str]: ...
    def containers(self) -> list[Container]: ...
    def log(self, service: str) -> str: ...


@dataclass(frozen=True)
class App:
    """What the controller wants of an app.

    Attributes:
        name: The app.
        user: Number of the user of its containers.
        digest: Equal releases, same digest.
        image: Name of what its containers run.
        about: What a release notes of itself: its services, and how it is proved and ended.
        files: Files of the release.
        secrets: Files of the release that only its containers see.
        build: How its image is built; empty for one of a registry.
        context: Files of the image's context.
        archive: The source, as an archive.
        archive_name: The archive's name in the context.
        indexes: Where packages come from; a secret of the build.
        registry: How a registry is asked for the image.
        development: A service for a person who writes the app.
        keep: How many releases are kept.
        through: Whether it answers through nginx; a message when not.
    """

    name: str
    user: int
    digest: str
    image: str
    about: dict[str, Any]
    files: dict[str, Any]
    secrets: dict[str, Any]
    build: dict[str, Any] = field(default_factory=dict)
    context: dict[str, Any] = field(default_factory=dict)
    archive: str = ""
    archive_name: str = ""
    indexes: dict[str, Any] = field(default_factory=dict)
    registry: dict[str, Any] = field(default_factory=dict)
    development: dict[str, Any] = field(default_factory=dict)
    keep: int = 5
    through: Callable[[], str] = lambda: ""


@dataclass(frozen=True)
class Wanted:
    """What the controller wants of a project.

    Attributes:
        base: What its file has beside releases.
        apps: Its apps.
        files: Files of the project itself.
        tree: The files of nginx's tree.
        tree_name: What tells trees apart.
        certificates: Files that nginx shows clients, by name; one that is there is kept unless it must differ.
        start: Whether the project is to run.
        who: The person and machine that asked.
    """

    base: dict[str, Any]
    apps: list[App]
    files: dict[str, Any]
    tree: dict[str, Any]
    tree_name: str
    certificates: dict[str, Any]
    start: bool = True
    who: str = "unknown"


@dataclass
class Report:
    """What a run has done.

    Attributes:
        reasons: What was not as it was wanted; nothing has changed when there is none.
        failures: What went wrong, a message by app.
        releases: What serves each app.
    """

    reasons: list[str] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    releases: dict[str, str] = field(default_factory=dict)


class Deployment:
    """One run for one project."""

    def __init__(
        self, paths: Paths, wanted: Wanted, engine: Asker, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self.paths, self.wanted, self.engine = paths, wanted, engine
        self.report = Report()
        self._sleep = sleep
        self._beside: dict[str, str] = {}  # app -> the release that runs beside the one in service

    # ------------------------------------------------------------ the run

    def plan(self) -> list[str]:
        """What is not as it is wanted, as far as it can be told without changing anything."""
        found = [f"{name} differs" for name, file in self.wanted.files.items() if self._differs(name, file)]
        found += [f"nginx's tree {self.wanted.tree_name}"] if self._tree() != self.wanted.tree_name else []
        found += [f"certificate {name}" for name in self._stale_certificates()]
        names = {app.name for app in self.wanted.apps}
        found += [f"app {name} is not wanted" for name in self.paths.apps() if name not in names]
        found += [f"app {app.name}: {why}" for app in self.wanted.apps if (why := self._lacks(app))]
        found += [f"app {app.name}: what its image is built from" for app in self._other_contexts()]
        if not found and self.paths.compose_file.read_text() != self._document():
            found.append("compose.yaml differs")
        if not found and self.wanted.start:
            found += self._not_running()
        return found

    def run(self) -> Report:
        """Make up the difference."""
        if self.wanted.start:
            self.engine.check()
        self.report.reasons = self.plan()
        if self.report.reasons:
            self._write_project()
            changed = [app for app in self.wanted.apps if self._lacks(app)]
            # One at a time: the machine that serves the others has them to serve.
            for app in changed:
                self._collect(app.name, lambda app=app: self._renew(app))  # type: ignore[misc]
            self._finish()
        self.report.releases = {app.name: self.paths.serving(app.name) for app in self.wanted.apps}
        if self.wanted.start:
            for app in self.wanted.apps:
                if app.name not in self.report.failures:
                    self._collect(app.name, lambda app=app: self._look(app))  # type: ignore[misc]
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
        self._collect(app.name, lambda: self._go(app, number, "rollback"))
        if app.name not in self.report.failures and serving:
            self.paths.mark(app.name, serving, FAILED)  # never chosen by itself
        self.report.releases = {app.name: self.paths.serving(app.name)}
        return self.report

    def _collect(self, app: str, action: Callable[[], None]) -> None:
        try:
            action()
        except (ComposeError, OSError) as error:
            self.report.failures[app] = f'app "{app}": {error}'

    # ------------------------------------------------------------ what differs

    def _differs(self, name: str, file: Mapping[str, Any]) -> bool:
        place = self.paths.root / name
        return not place.is_file() or place.read_text() != file["text"]

    def _tree(self) -> str:
        link = self.paths.root / NGINX / "current"
        return link.readlink().name if link.is_symlink() else ""

    def _lacks(self, app: App) -> str:
        number = self.paths.serving(app.name)
        if not number:
            return "first release"
        if self.paths.about(app.name, number).get("digest") != app.digest:
            return "another release"
        if self.wanted.start and not self.paths.is_marked(app.name, number, PROVED):
            return f"release {number} is not proved"
        return ""

    def _stale_certificates(self) -> list[str]:
        return [name for name, wanted in self.wanted.certificates.items() if self._is_stale(name, wanted)]

    def _is_stale(self, name: str, wanted: Mapping[str, Any]) -> bool:
        """Whether a certificate is missing or another one; one of our own making is kept until it nears its end."""
        folder = self.paths.root / "secrets" / "tls" / name
        try:
            about = json.loads((folder / "about.json").read_text())
        except (OSError, ValueError):
            return True
        nears_its_end = wanted["until"] and about["until"] < time.time() + RENEWED
        return bool(about["digest"] != wanted["digest"] or nears_its_end)

    def _not_running(self) -> list[str]:
        """Services that do not run although they should, or the other way round, or as they should no more."""
        running = {one.service: one for one in self.engine.containers()}
        expected = set(self._services())
        found = [f"{name} does not run" for name in sorted(expected) if not _runs(running, name)]
        found += [f"{name} is left over" for name in sorted(running.keys() - expected - self._development().keys())]
        hashes = self.engine.hashes()
        found += [f"{name} has other settings" for name in self._others(running, hashes)]
        if not found and self.engine.tree_in_service() != self.wanted.tree_name:
            found.append("nginx has not read its tree")
        return found

    def _others(self, running: Mapping[str, Container], hashes: Mapping[str, str]) -> list[str]:
        """Services beside releases that run with other settings than they should have."""
        return [
            name
            for name in self.wanted.base["services"]
            if name in running and running[name].config != hashes.get(name)
        ]

    # ------------------------------------------------------------ compose.yaml

    def _releases(self) -> list[tuple[str, str]]:
        """The releases that the file has: those in service, and beside one the release that is on trial."""
        found = []
        for app in self.wanted.apps:
            numbers = [self.paths.serving(app.name), self._beside.get(app.name, "")]
            found += [(app.name, number) for number in dict.fromkeys(numbers) if number]
        return found

    def _services(self) -> dict[str, Any]:
        services = dict(self.wanted.base["services"])
        for app, number in self._releases():
            services |= self._services_of(app, number)
        return services

    def _development(self) -> dict[str, Any]:
        """Services that only run when a person asks for their profile, with what the release in service has."""
        numbers = {app.name: self.paths.serving(app.name) for app in self.wanted.apps if app.development}
        own = {app.name: app.development for app in self.wanted.apps}
        return {f"{name}-development": numbered(own[name], number) for name, number in numbers.items() if number}

    def _services_of(self, app: str, number: str) -> dict[str, Any]:
        about = self.paths.about(app, number)
        services = dict(about.get("services", {}))
        wanted = next((one for one in self.wanted.apps if one.name == app), None)
        if wanted and wanted.build and about.get("digest") == wanted.digest:
            server = next(iter(services))
            services[server] = {**services[server], "build": about["build"]}
        return services

    def _document(self) -> str:
        base = self.wanted.base
        secrets = {f"{app}-{number}": f"./secrets/{app}/{number}/environment" for app, number in self._releases()}
        secrets |= {f"{app.name}-build": f"./secrets/{app.name}/build.json" for app in self.wanted.apps if app.build}
        services = {**self._services(), **self._development()}
        listed = {name: {"file": file} for name, file in secrets.items()}
        return HEADER + to_yaml({**base, "services": services, **({"secrets": listed} if listed else {})})

    def _write_document(self) -> None:
        text = self._document()
        if not self.paths.compose_file.is_file() or self.paths.compose_file.read_text() != text:
            write_file(self.paths.compose_file, text)

    # ------------------------------------------------------------ the parts of a run

    def _write_project(self) -> None:
        """What is not a release: the project's own files, certificates, and nginx's tree, not in service yet."""
        root = self.paths.root
        for folder in ("apps", "secrets/tls", "maintenance", NGINX):
            (root / folder).mkdir(parents=True, exist_ok=True)
        for name, file in self.wanted.files.items():
            if self._differs(name, file):
                write_file(root / name, file["text"], int(file["mode"]))
        for name in self._stale_certificates():
            pair, place = self.wanted.certificates[name], root / "secrets" / "tls" / name
            write_file(place / "privkey.pem", pair["key"], 0o600)
            write_file(place / "fullchain.pem", pair["cert"])
            write_file(place / "about.json", json.dumps({"digest": pair["digest"], "until": pair["until"]}))
        for app in self.wanted.apps:
            write_file(self.paths.app(app.name) / "user", f"{app.user}\n")
        for app in self._other_contexts():
            self._write_context(app)
        self._write_tree()

    def _write_tree(self) -> None:
        """Write nginx's tree beside the one in service, and see that nginx takes it."""
        root = self.paths.root
        if self._tree() == self.wanted.tree_name:
            return
        for name, file in self.wanted.tree.items():
            write_file(root / NGINX / self.wanted.tree_name / name, file["text"], int(file["mode"]))
        if not self._tree():
            replace_link(root / NGINX / "current", self.wanted.tree_name)
        elif self.wanted.start:
            self._write_document()
            self._have_nginx_image()
            self.engine.try_tree(self.wanted.tree_name)

    def _have_nginx_image(self) -> None:
        if not self.engine.has_image(self.wanted.base["services"][NGINX]["image"]):
            self.engine.build(NGINX)

    def _start_base(self) -> None:
        """Have nginx and a person's services run; those whose settings have changed are replaced."""
        self._write_document()
        self._have_nginx_image()
        running = {one.service: one for one in self.engine.containers()}
        others = self._others(running, self.engine.hashes())
        if NGINX in others:  # it begins with the tree that suits it
            replace_link(self.paths.root / NGINX / "current", self.wanted.tree_name)
        if others or not all(_runs(running, name) for name in self.wanted.base["services"]):
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
            self._go(app, number, "deploy")
            return
        replace_link(self.paths.current(app.name), f"releases/{number}")
        self._prune(app)

    def _other_contexts(self) -> list[App]:
        """Apps whose image would not be built from what the project has for it."""
        return [
            app
            for app in self.wanted.apps
            if app.build and self._differs(f"images/{app.name}/{CONTEXT_OF}", {"text": app.image})
        ]

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

    def _go(self, app: App, number: str, action: str) -> None:
        """Prove a release and let nginx find it; on a failure the one before goes on serving."""
        before = self.paths.serving(app.name)
        if before == number:  # a run was killed before it had proved it
            before = next((other for other in self.paths.good(app.name) if other != number), "")
        began, seconds, outcome = time.monotonic(), 0.0, "failed"
        self._beside[app.name] = number
        try:
            self._prove(app, number, before)
            outcome = "ok"
        except (ComposeError, OSError) as error:
            told = self._undo(app, number, before)
            raise ComposeError(f"release {number} {error}\n{told}") from None
        finally:
            self._beside.pop(app.name, None)
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
        self._write_document()
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
            if one is None or one.restarts or one.state != "running":
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
                self._beside[app.name] = number
                self._write_document()
                self.engine.up(self.paths.about(app.name, before)["services"])
            else:
                self.paths.current(app.name).unlink()
        with suppress(ComposeError):
            self.engine.remove(services)
            self.engine.edge("forget", app.name, number)
        self._beside.pop(app.name, None)
        self.paths.mark(app.name, number, FAILED)
        self._write_document()
        self._prune(app)
        serves = f"release {before} still serves" if before else "there is no release before it, so nothing serves"
        return f"{told}\n{serves}".strip()

    def _retire(self, app: App, before: str) -> None:
        """Stop the release before once nobody is connected to it, and remove what is beyond those to be kept."""
        if before:
            about = self.paths.about(app.name, before)
            self._beside[app.name] = before
            self._drain(app.name, before, float(about.get("drain", 0)))
            self._write_document()
            self.engine.remove(about["services"])
            self.engine.edge("forget", app.name, before)
            self._beside.pop(app.name)
            self._write_document()
        self._prune(app)

    def _drain(self, app: str, number: str, limit: float) -> None:
        deadline, quiet = time.monotonic() + limit, 0
        while quiet < QUIET and time.monotonic() < deadline:
            quiet = 0 if int(self.engine.edge("connections", f"/run/{app}/{number}/") or 0) else quiet + 1

    def _prune(self, app: App) -> None:
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

    def _finish(self) -> None:
        """What apps have in common: nginx's tree in service, apps that are not wanted removed, nothing left over."""
        root, names = self.paths.root, {app.name for app in self.wanted.apps}
        self._write_document()
        if self.wanted.start:
            self._start_base()
        if not self.report.failures:
            replace_link(root / NGINX / "current", self.wanted.tree_name)
        if self.wanted.start:
            if self.engine.tree_in_service() != self._tree():
                self.engine.edge("reload")
            if self._not_running():
                self.engine.up([], orphans=True)
        self._tidy(names)

    def _tidy(self, names: set[str]) -> None:
        """Remove what no app of these names needs, and trees that nginx will not read again."""
        for name in self.paths.apps():
            if name not in names:
                for folder in (self.paths.app(name), self.paths.secrets(name), self.paths.root / "images" / name):
                    remove_tree(folder)
        for tree in (self.paths.root / NGINX).iterdir():
            if not tree.is_symlink() and tree.name not in (self.wanted.tree_name, self._tree()):
                remove_tree(tree)

    def _look(self, app: App) -> None:
        """A run that reports ok has looked."""
        deadline = time.monotonic() + PATIENCE
        while fault := app.through():
            if time.monotonic() > deadline:
                raise ComposeError(f"is not healthy through nginx: {fault}")
            self._sleep(0.5)


def _runs(running: Mapping[str, Container], name: str) -> bool:
    return name in running and running[name].state == RUNNING
