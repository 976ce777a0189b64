# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a lock file says, in the words of the tool that wrote it: its own check, and its own export.

The tool is installed from the package index, in the sandbox, for this one build. Packages come from the indexes of the
build; the addresses in a lock are not asked, its digests hold wherever a package comes from.

This module has no imports beyond the standard library and those of its kind: its text is sent into the sandbox.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.webops.wsgi.plugins.module_utils.build.command import attempt
from ansible_collections.webops.wsgi.plugins.module_utils.build.inputs import BuildError, BuildInputs
from ansible_collections.webops.wsgi.plugins.module_utils.build.project import (
    PDM,
    PIPENV,
    POETRY,
    PYLOCK,
    UV,
    is_package,
    lock_kind,
)

TOOLS = {
    "uv": ["uv==0.13.9"],
    "poetry": ["poetry==2.2.1", "poetry-plugin-export==1.10.1"],
    "pdm": ["pdm==2.29.4", "hishel>=1,<2"],  # pdm does not start with hishel 2
    "pipenv": ["pipenv==2026.10.3"],
}
_INDEX_OPTION = re.compile(r"(-i|--index-url|--extra-index-url|--trusted-host|--find-links|-f)\b")


@dataclass(frozen=True)
class Lock:
    """A lock and what it takes to read it.

    Attributes:
        path: The lock.
        folder: The project's directory.
        inputs: What to build.
        environment: The environment of the installer.
        scratch: A directory for what is exported.
        tool: Installs one of C(TOOLS) and returns the path of its program.
    """

    path: Path
    folder: Path
    inputs: BuildInputs
    environment: Mapping[str, str]
    scratch: Path
    tool: Callable[[str], str]

    def runs(self) -> list[list[str]]:
        """The arguments of each installer run; relative paths in them count from the lock's directory.

        Raises:
            BuildError: The lock is stale, or does not have what is asked for.
        """
        kind = lock_kind(self.path)
        if kind == PYLOCK:
            return [*self._pylock(), *self._project()]
        readers = {UV: self._uv, POETRY: self._poetry, PDM: self._pdm, PIPENV: self._pipenv}
        readers[kind]()
        return [*self._split(), *self._project()]

    @property
    def _output(self) -> Path:
        return self.scratch / "exported.txt"

    def _project(self) -> list[list[str]]:
        return [["--no-deps", str(self.folder)]] if is_package(self.folder, self.path, self.inputs) else []

    def _split(self) -> list[list[str]]:
        """What has a digest and what has none, such as a directory of the source: pip takes them in two runs."""
        text = re.sub(r"\\\n", " ", self._output.read_text(encoding="utf-8"))
        lines = [line.strip() for line in text.splitlines()]
        lines = [line for line in lines if line and not line.startswith("#") and not _INDEX_OPTION.match(line)]
        runs = []
        for name, chosen in (
            ("hashed.txt", [line for line in lines if "--hash=" in line]),
            ("others.txt", [line for line in lines if "--hash=" not in line]),
        ):
            if chosen:
                (self.scratch / name).write_text("\n".join(chosen) + "\n", encoding="utf-8")
                runs.append(["--no-deps", "-r", str(self.scratch / name)])
        return runs

    # -- one for each tool ---------------------------------------------------------------------------------------

    def _uv(self) -> None:
        uv, bare = self.tool("uv"), dict(self.environment)
        # The project's own settings count: a lock is stale that was made with other indexes than they name.
        for name in ("UV_NO_CONFIG", "UV_DEFAULT_INDEX", "UV_INDEX"):
            bare.pop(name, None)
        bare["UV_PYTHON"] = self.inputs.interpreter
        surroundings = [bare]
        if self.inputs.index_url:  # or it was made with the build's
            surroundings.append(bare | {"UV_DEFAULT_INDEX": self.inputs.index_url})
        checks = [self._attempt([uv, "lock", "--check"], environment) for environment in surroundings]
        if all(check.returncode for check in checks):
            raise self._stale("uv lock", checks[0])
        groups = ["--no-dev"] if "dev" not in self.inputs.groups else []
        groups += _each("--extra", self.inputs.extras) + _each("--group", self.inputs.groups)
        shape = ["--no-emit-project", "--no-editable", "--no-header", "--no-annotate", "--format", "requirements.txt"]
        self._export([uv, "export", "--quiet", "--frozen", *shape, *groups, "-o", str(self._output)], bare)

    def _poetry(self) -> None:
        wanted = _each("--extras", self.inputs.extras) + _each("--with", self.inputs.groups)
        own = {"POETRY_VIRTUALENVS_CREATE": "false", "POETRY_NO_INTERACTION": "1"}
        # Its export refuses a stale lock itself.
        command = [self.tool("poetry"), "export", "--without-urls", "--format", "requirements.txt", *wanted]
        self._export([*command, "--output", str(self._output)], {**self.environment, **own})

    def _pdm(self) -> None:
        pdm = self.tool("pdm")
        own = {"PDM_CHECK_UPDATE": "0", "PDM_IGNORE_SAVED_PYTHON": "1", "PDM_PYTHON": self.inputs.interpreter}
        environment = {**self.environment, **own}
        check = self._attempt([pdm, "lock", "--check"], environment)
        if check.returncode:
            raise self._stale("pdm lock", check)
        wanted = _each("--group", [*self.inputs.extras, *self.inputs.groups])
        # With a development group named, only that one counts; without, none does.
        chosen = wanted if self.inputs.groups else ["--prod", *wanted]
        command = [pdm, "export", "--format", "requirements", *chosen, "--output", str(self._output)]
        tried = self._attempt(command, environment)
        if tried.returncode and "--no-hashes" in tried.stderr:  # a directory of the source has none
            tried = self._attempt([*command, "--no-hashes"], environment)
        if tried.returncode or "non-existing groups" in tried.stderr:
            raise self._failed(tried)

    def _pipenv(self) -> None:
        if self.inputs.extras:
            raise self._error("python.extras is set, but a Pipfile has none; remove it, or write python.groups")
        known = json.loads(self.path.read_text(encoding="utf-8"))
        for group in self.inputs.groups:
            if group not in known:
                raise self._error(f'python.groups has "{group}", which Pipfile.lock of {self.inputs.label} lacks')
        pipenv, environment = self.tool("pipenv"), {**self.environment, "PIPENV_IGNORE_VIRTUALENVS": "1"}
        check = self._attempt([pipenv, "verify"], environment)
        if check.returncode:
            raise self._stale("pipenv lock", check)
        categories = " ".join(["packages", *self.inputs.groups])
        command = [pipenv, "requirements", "--hash", "--exclude-index", "--categories", categories]
        self._output.write_text(self._export(command, environment).stdout, encoding="utf-8")

    def _pylock(self) -> list[list[str]]:
        if self.inputs.installer != "uv":
            raise self._error(f"{self.path.name} is installed by uv alone; set python.installer to uv")
        if self.inputs.extras or self.inputs.groups:
            raise self._error(
                f"python.extras and python.groups choose among what {self.path.name} leaves open, and it leaves "
                "nothing open; remove them, and make it with the ones you want"
            )
        return [["-r", str(self.path)]]

    # -- what runs -----------------------------------------------------------------------------------------------

    def _attempt(self, command: Sequence[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        return attempt(command, self.folder, environment)

    def _export(self, command: Sequence[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        done = self._attempt(command, environment)
        if done.returncode:
            raise self._failed(done)
        return done

    def _stale(self, remedy: str, check: subprocess.CompletedProcess[str]) -> BuildError:
        return self._error(
            f"{self.path.name} of {self.inputs.label} does not fit what it was made from; run `{remedy}` and commit "
            f"the result:\n{_end(check)}"
        )

    def _failed(self, done: subprocess.CompletedProcess[str]) -> BuildError:
        return self._error(f"{self.path.name} of {self.inputs.label} cannot be used:\n{_end(done)}")

    def _error(self, text: str) -> BuildError:
        return BuildError(f'app "{self.inputs.app}": {text}')


def _each(option: str, values: Sequence[str]) -> list[str]:
    return [part for value in values for part in (option, value)]


def _end(done: subprocess.CompletedProcess[str]) -> str:
    return "\n".join((done.stderr.strip() or done.stdout.strip()).splitlines()[-15:])
