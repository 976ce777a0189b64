# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The few calls of supervisord's XML-RPC interface that releases need, over its unix socket."""

from __future__ import annotations

import http.client
import subprocess
import time
import xmlrpc.client
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible_collections.webops.wsgi.plugins.module_utils.managers.model import ManagerError
from ansible_collections.webops.wsgi.plugins.module_utils.release.health import UnixConnection

SOCKET = Path("/var/run/supervisor.sock")
CONFIGURATION = "/etc/supervisor/supervisord.conf"
PATIENCE = 30.0  # seconds for supervisord to answer, once it is started
BAD_NAME, SPAWN_ERROR, ALREADY_STARTED, NOT_RUNNING, ALREADY_ADDED, STILL_RUNNING, CANT_REREAD = (
    10,
    50,
    60,
    70,
    90,
    91,
    92,
)


class SupervisordError(ManagerError):
    """supervisord refused; the message is what it said."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class AbsentError(ManagerError):
    """supervisord does not answer."""


class RefusedError(AbsentError):
    """supervisord answers, and does not let root in."""


class _Transport(xmlrpc.client.Transport):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def make_connection(self, _host: Any) -> http.client.HTTPConnection:
        return UnixConnection(self._path, PATIENCE)


class Supervisord:
    """The supervisord of the host."""

    def __init__(self, path: Path = SOCKET) -> None:
        self._path = path

    def processes(self) -> dict[str, Mapping[str, Any]]:
        """What it says of all programs, by name."""
        return {info["name"]: info for info in self._call("getAllProcessInfo")}

    def read_configuration(self) -> None:
        """Have it read its files; what runs is left alone.

        Raises:
            SupervisordError: A file is wrong, perhaps somebody else's.
        """
        try:
            self._call("reloadConfig")
        except SupervisordError as error:
            raise SupervisordError(f"supervisord cannot read its configuration: {error}", error.code) from None

    def add(self, program: str) -> None:
        """Take up a program of which its files tell."""
        try:
            self._call("addProcessGroup", program)
        except SupervisordError as error:
            if error.code == BAD_NAME:
                text = (
                    f"supervisord does not know {program}; {CONFIGURATION} must include /etc/supervisor/conf.d/*.conf"
                )
                raise SupervisordError(text, error.code) from None
            if error.code != ALREADY_ADDED:
                raise

    def start(self, program: str) -> None:
        """Start a program; whether it stays up is to be seen, also of one that ends before supervisord has answered."""
        self._allow((ALREADY_STARTED, SPAWN_ERROR), "startProcess", program, False)

    def tell_to_stop(self, program: str) -> None:
        """Send a program the signal to end."""
        try:
            self._allow((NOT_RUNNING,), "stopProcess", program, False)
        except SupervisordError as error:
            if error.code != BAD_NAME:
                raise

    def remove(self, program: str) -> bool:
        """Drop a program that is stopped; returns whether that was so."""
        try:
            self._call("removeProcessGroup", program)
        except SupervisordError as error:
            if error.code not in (BAD_NAME, STILL_RUNNING):
                raise
            return error.code == BAD_NAME
        return True

    def answers(self) -> bool:
        """Whether it is there."""
        try:
            self._call("getState")
        except RefusedError:
            raise
        except AbsentError:
            return False
        return True

    def ensure(self) -> None:
        """Have it run, now and after a boot.

        Raises:
            AbsentError: It does not start, or refuses root.
        """
        if self.answers():
            return
        command = ["systemctl", "enable", "--now", "supervisor"]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        if done.returncode:
            raise AbsentError(f"supervisord cannot be started: {(done.stderr or done.stdout).strip()}")
        deadline = time.monotonic() + PATIENCE
        while not self.answers():
            if time.monotonic() > deadline:
                raise AbsentError(
                    f"supervisord does not answer on {self._path}; journalctl -u supervisor says why; in "
                    f"{CONFIGURATION}, [unix_http_server] must have file={SOCKET}"
                )
            time.sleep(0.2)

    def _allow(self, codes: tuple[int, ...], method: str, *arguments: object) -> None:
        try:
            self._call(method, *arguments)
        except SupervisordError as error:
            if error.code not in codes:
                raise

    def _call(self, method: str, *arguments: object) -> Any:
        if not self._path.exists():
            raise AbsentError(f"supervisord does not answer on {self._path} (no such file)")
        try:
            with xmlrpc.client.ServerProxy("http://localhost", _Transport(self._path), allow_none=True) as proxy:
                return getattr(proxy.supervisor, method)(*arguments)
        except xmlrpc.client.Fault as fault:
            asked = " ".join(map(str, (method, *arguments)))
            raise SupervisordError(f"{fault.faultString} ({asked})", fault.faultCode) from None
        except xmlrpc.client.ProtocolError as error:
            fix = f"take username and password out of [unix_http_server] in {CONFIGURATION}, the socket is root's alone"
            raise RefusedError(
                f"supervisord refuses root on {self._path} ({error.errcode} {error.errmsg}); {fix}"
            ) from None
        except (OSError, http.client.HTTPException, xmlrpc.client.Error) as error:
            reason = getattr(error, "strerror", None) or error
            raise AbsentError(f"supervisord does not answer on {self._path} ({reason})") from None
