"""The engines of a host, as the scenario's assertions ask them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

ENGINES = ("docker", "podman")
REPOSITORY = "127.0.0.1:5000/api"
PLANTED = "planted-"  # every secret of the scenario begins so


@dataclass(frozen=True)
class Engine:
    """An engine on a host."""

    host: Any
    name: str

    def run(self, arguments: str) -> str:
        """Run one of its commands; fail the test when it fails."""
        return self.host.run(f"PODMAN_IGNORE_CGROUPSV1_WARNING=1 {self.name} {arguments}")

    def images(self) -> dict[str, str]:
        """Its images of the app, digests by tag."""
        listed = self.run(f"images --no-trunc --format '{{{{.Tag}}}} {{{{.ID}}}}' {REPOSITORY}")
        pairs = [line.split() for line in listed.splitlines()]
        return {tag: digest.removeprefix("sha256:") for tag, digest in pairs if tag != "<none>"}

    def inspect(self, image: str) -> dict[str, Any]:
        """What it knows of an image."""
        return dict(json.loads(self.run(f"image inspect {image}"))[0])

    def layers(self, image: str) -> list[str]:
        """The digests of an image's layers."""
        return list(self.inspect(image)["RootFS"]["Layers"])

    def forget(self) -> None:
        """Remove the app's images and all that builds have kept."""
        self.host.try_(f"{self.name} rmi -f $({self.name} images -aq {REPOSITORY})")
        prune = "builder prune -af" if self.name == "docker" else "image prune -af --build-cache"
        self.host.try_(f"{self.name} create --name keeps-the-base python-base:13 true; {self.name} {prune}")


def reference(play: Callable[..., Any], engine: Engine, **variables: Any) -> str:
    """Build the app's image and push it; the name that a release takes it by."""
    done = play("-v", playbook="image", app="api", image_engine=engine.name, image_push=True, **variables)
    assert done.code == 0, done.output
    return next(word.strip('",') for word in done.output.split() if word.strip('",').startswith(f"{REPOSITORY}@"))
