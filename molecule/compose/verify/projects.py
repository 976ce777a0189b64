"""The project on its host, as the scenario's assertions ask it."""

from __future__ import annotations

import time
from typing import Any

PROJECT = "/srv/compose"


class Project:
    """The project on its host."""

    def __init__(self, host: Any) -> None:
        self.host = host

    def compose(self, arguments: str, directory: str = PROJECT) -> str:
        """Run Docker Compose; fail the test when it fails."""
        return str(self.host.run(f"cd {directory} && docker compose {arguments} </dev/null"))

    def release(self) -> str:
        """The number of the release that serves."""
        return str(self.host.run(f"basename $(readlink {PROJECT}/apps/api/current)"))

    def answer(self, path: str = "/", port: int = 443) -> str:
        """What a client on the host gets."""
        name = self.host.domain("api")
        asked = f"curl -sk --max-time 10 --connect-to {name}:{port}:127.0.0.1:{port} https://{name}:{port}{path}"
        return str(self.host.try_(asked).stdout)

    def serves(self, release: str) -> bool:
        """Whether a release answers clients."""
        return f'"release":"{release}"' in self.answer()

    def back(self, seconds: int = 60) -> float:
        """Wait until the app answers; the seconds that took."""
        began = time.monotonic()
        while '"app":"api"' not in self.answer():
            assert time.monotonic() - began < seconds, self.host.try_("docker ps -a").stdout
            time.sleep(0.2)
        return time.monotonic() - began

    def services(self) -> set[str]:
        """The services of which anything runs."""
        return set(self.compose("ps --services --status running").split())
