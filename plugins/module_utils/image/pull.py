# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A build that is an image: the engine has its code and environment, the host the files of it that nginx serves."""

from __future__ import annotations

import json
from pathlib import Path

from ansible_collections.webops.wsgi.plugins.module_utils.build.archive import TreeError, unpack
from ansible_collections.webops.wsgi.plugins.module_utils.build.inputs import PACKAGES, BuildError, BuildInputs
from ansible_collections.webops.wsgi.plugins.module_utils.host.files import remove_tree, write_file
from ansible_collections.webops.wsgi.plugins.module_utils.image.engine import Engine, EngineError, Registry
from ansible_collections.webops.wsgi.plugins.module_utils.image.kept import ENGINE

PLACE = "/wsgi/app"  # of a build in an image


def fill(path: Path, inputs: BuildInputs, engine: Engine, registry: Registry) -> dict[str, str]:
    """Have the engine fetch the image, and take out what the web server reads.

    Returns:
        The distributions in the image and their versions.

    Raises:
        BuildError: The engine, the registry or the image is not what it takes.
    """
    image = inputs.source["image"]
    fetch(inputs, engine, registry)
    try:
        with engine.laid_out(image, f"wsgi-build-{inputs.app}") as container:
            (path / "src").mkdir(parents=True)
            for name in inputs.public:
                _take_out(engine, container, name, path, inputs)
            bill = engine.read(container, f"{PLACE}/bom.cdx.json")
    except EngineError as error:
        raise BuildError(f'app "{inputs.app}": {error}') from None
    write_file(path / ENGINE, f"{engine.name} {image}\n")
    return {item["name"]: item["version"] for item in json.loads(bill)["components"]} if bill else {}


def fetch(inputs: BuildInputs, engine: Engine, registry: Registry) -> None:
    """Have the engine fetch the image of a build.

    Raises:
        BuildError: It is not there, or cannot get it.
    """
    try:
        engine.check()
        engine.pull(inputs.source["image"], registry)
    except EngineError as error:
        raise BuildError(f'app "{inputs.app}": {error}') from None


def _take_out(engine: Engine, container: str, name: str, path: Path, inputs: BuildInputs) -> None:
    """Copy a directory out of an image, by the same check that every archive of strangers passes."""
    target = path / inputs.tree / name
    if target.exists():  # inside one that is there
        return
    archive, scratch = path / "out.tar.gz", path / "out"
    if not engine.export(container, f"{PLACE}/{inputs.tree}/{name}", archive):
        where = "a directory of the packages" if name.startswith(f"{PACKAGES}/") else "a directory of the source"
        raise BuildError(
            f'app "{inputs.app}": static files are served from "{name}", which is not {where} in {inputs.label}; '
            "build the image with the same nginx.static"
        )
    try:
        with archive.open("rb") as stream:
            unpack(stream, scratch, inputs.stamp)
    except TreeError as error:
        raise BuildError(f'app "{inputs.app}": {inputs.label} has static files that are not served: {error}') from None
    target.parent.mkdir(parents=True, exist_ok=True)
    (scratch / target.name).rename(target)
    remove_tree(scratch)
    archive.unlink()
