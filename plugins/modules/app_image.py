#!/usr/bin/python
# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: app_image
short_description: Build an OCI image of an app
version_added: 0.1.0
author: webops.wsgi contributors (@webops)
description:
  - Has Podman or Docker build an image from a context that the action plugin of the same name makes of an app.
  - An image that was made from the same things is left as it is.
options:
  app:
    description: The resolved app; the action plugin makes all other options from it.
    type: raw
    required: true
  engine:
    description: What builds it.
    type: str
    choices: [podman, docker]
    default: podman
  repository:
    description: Name of the image without a tag, with the registry where it has one.
    type: str
    default: ""
  name:
    description: Tag that stands for what it is made from.
    type: str
    default: ""
  tags:
    description: Further tags.
    type: list
    elements: str
    default: []
  labels:
    description: OCI labels.
    type: dict
    default: {}
  platforms:
    description: Platforms to build it for; empty for that of the engine.
    type: list
    elements: str
    default: []
  stamp:
    description: The time that its files bear, in seconds since 1970.
    type: int
    default: 0
  files:
    description: Files of the build's context, by name.
    type: dict
    default: {}
  archive:
    description: The source, as an archive on the machine that builds it.
    type: str
    default: ""
  containerfile:
    description: Name of the Containerfile in the context.
    type: str
    default: ""
  own:
    description: The app's own Containerfile in its source, which the other one is added to; empty for none.
    type: str
    default: ""
  subdirectory:
    description: Directory of the source that the app's own Containerfile is about.
    type: str
    default: ""
  push:
    description: Whether to send it to the registry.
    type: bool
    default: false
  timeout:
    description: Seconds that the engine may take.
    type: int
    default: 3600
  registry:
    description: How the registry is asked.
    type: dict
    default: {}
    suboptions:
      user:
        description: Its user; empty for none.
        type: str
        default: ""
      password:
        description: The user's password.
        type: str
        default: ""
      insecure:
        description: Whether it may be asked over HTTP.
        type: bool
        default: false
  indexes:
    description: Where packages come from; a secret of the build, in no layer.
    type: dict
    default: {}
    suboptions:
      index_url:
        description: The package index.
        type: str
        default: ""
      extra_index_urls:
        description: Further ones.
        type: list
        elements: str
        default: []
      ca_bundle:
        description: File with the authorities that they are trusted by.
        type: str
        default: ""
      proxy:
        description: HTTP proxy that leads to them.
        type: str
        default: ""
      no_proxy:
        description: Names that are asked without it.
        type: list
        elements: str
        default: []
attributes:
  check_mode:
    description: Says whether an image would be built or pushed.
    support: full
  diff_mode:
    description: Names the image that is new.
    support: full
  idempotent:
    description: The same things make no second image.
    support: full
  platform:
    description: Target systems.
    support: full
    platforms: posix
seealso:
  - module: webops.wsgi.app_build
"""

EXAMPLES = r"""
- name: Build the image of an app
  webops.wsgi.app_image:
    app: "{{ __wsgi_apps | selectattr('name', 'eq', 'api') | first }}"
  delegate_to: localhost
"""

RETURN = r"""
reference:
  description: The image's name; by digest where it was pushed.
  returned: success
  type: str
  sample: registry.example.com/api@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
image:
  description: Digest of its configuration, the same wherever the same things were built.
  returned: success
  type: str
digest:
  description: Digest by which the registry knows it; empty where it was not pushed.
  returned: success
  type: str
layers:
  description: Digests of its layers.
  returned: success
  type: list
  elements: str
size:
  description: Its bytes.
  returned: success
  type: int
"""

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from ansible_collections.webops.wsgi.plugins.module_utils.build.archive import TreeError, unpack
from ansible_collections.webops.wsgi.plugins.module_utils.image.engine import (
    Build,
    Engine,
    EngineError,
    Registry,
    write_context,
    write_secret,
)
from ansible_collections.webops.wsgi.plugins.module_utils.image.layers import settle
from ansible_collections.webops.wsgi.plugins.module_utils.quiet_module import QuietModule

TEXT: dict[str, Any] = {"type": "str", "default": ""}
TEXTS: dict[str, Any] = {"type": "list", "elements": "str", "default": []}


def main() -> None:
    module = QuietModule(
        # What the action makes of the app.
        argument_spec={
            "app": {"type": "raw", "required": True},
            "engine": {"type": "str", "choices": ["podman", "docker"], "default": "podman"},
            "repository": TEXT,
            "name": TEXT,
            "tags": TEXTS,
            "labels": {"type": "dict", "default": {}},
            "platforms": TEXTS,
            "stamp": {"type": "int", "default": 0},
            "files": {"type": "dict", "default": {}},
            "archive": TEXT,
            "containerfile": TEXT,
            "own": TEXT,
            "subdirectory": TEXT,
            "push": {"type": "bool", "default": False},
            "timeout": {"type": "int", "default": 3600},
            "registry": {
                "type": "dict",
                "default": {},
                "options": {
                    "user": TEXT,
                    "password": {"type": "str", "default": "", "no_log": True},
                    "insecure": {"type": "bool", "default": False},
                },
            },
            "indexes": {
                "type": "dict",
                "default": {},
                "no_log": False,
                "options": {
                    "index_url": {"type": "str", "default": "", "no_log": True},
                    "extra_index_urls": {"type": "list", "elements": "str", "default": [], "no_log": True},
                    "ca_bundle": TEXT,
                    "proxy": {"type": "str", "default": "", "no_log": True},
                    "no_proxy": TEXTS,
                },
            },
        },
        supports_check_mode=True,
    )
    try:
        module.exit_json(**_made(module))
    except (EngineError, OSError) as error:
        module.fail_json(msg=f'app "{module.params["app"]}": {error}')


def _made(module: QuietModule) -> dict[str, Any]:
    asked = module.params
    engine = Engine(asked["engine"], asked["timeout"])
    engine.check()
    references = [f"{asked['repository']}:{tag}" for tag in (asked["name"], *asked["tags"])]
    known = engine.inspect(references[0])
    changed = not known
    if changed and module.check_mode:
        return {"changed": True, "reference": references[0], **_new(references[0])}
    if changed:
        _build(engine, asked, references)
        known = engine.inspect(references[0])
    for reference in references[1:]:
        if engine.inspect(reference).get("Id") != known["Id"]:
            changed = True
            if not module.check_mode:
                engine.tag(references[0], reference)
    result = {"reference": references[0], "digest": "", **_told(known)}
    if asked["push"]:
        new, digest = _pushed(engine, references, Registry(**asked["registry"]), module.check_mode)
        changed = changed or new
        result |= {"digest": digest, "reference": f"{asked['repository']}@{digest}" if digest else references[0]}
    return {"changed": changed, **result, **(_new(references[0]) if changed else {})}


def _pushed(engine: Engine, references: list[str], registry: Registry, check: bool) -> tuple[bool, str]:
    """Whether the registry lacked the image under one of its names, and by which digest it knows it now."""
    before = [engine.pushed(reference, registry) for reference in references]
    if check:
        return "" in before or len(set(before)) > 1, ""
    after = [engine.push(reference, registry) for reference in references]  # what the registry has is not sent again
    return before != after, after[-1]


def _new(reference: str) -> dict[str, Any]:
    return {"diff": {"before_header": "image", "after_header": "image", "before": "", "after": f"{reference}\n"}}


def _told(known: dict[str, Any]) -> dict[str, Any]:
    return {"image": known["Id"], "layers": known["RootFS"]["Layers"], "size": known["Size"]}


def _build(engine: Engine, asked: dict[str, Any], references: list[str]) -> None:
    indexes = dict(asked["indexes"])
    bundle = indexes.pop("ca_bundle")
    secrets = {**indexes, "authorities": Path(bundle).read_text(encoding="utf-8") if bundle else ""}
    with tempfile.TemporaryDirectory(prefix="webops.wsgi.") as scratch:
        folder, secret = Path(scratch) / "context", Path(scratch) / "secrets.json"
        folder.mkdir()
        write_secret(secret, json.dumps(secrets))
        write_context(folder, asked["files"])
        common: dict[str, Any] = {"references": references, "secret": secret}
        common |= {name: asked[name] for name in ("labels", "stamp", "platforms")}
        if asked["own"]:
            source = Path(scratch) / "source"
            recipe = _own_recipe(asked, source, folder)
            engine.build(Build(source / asked["subdirectory"], recipe, beside={"wsgi": folder}, **common))
            return
        if asked["archive"]:
            shutil.copyfile(asked["archive"], folder / "source.tar.gz")
        engine.build(Build(folder, asked["containerfile"], **common))


def _own_recipe(asked: dict[str, Any], source: Path, folder: Path) -> str:
    """Unpack the source; its own Containerfile, with what is added to it, as a file outside of it."""
    try:
        with open(asked["archive"], "rb") as stream:
            unpack(stream, source, asked["stamp"])
    except TreeError as error:
        raise EngineError(f"the archive of the source {error}") from None
    settle(source, asked["stamp"])  # whatever this process' umask is
    own = source / asked["own"]
    if own.is_symlink() or not own.is_file():
        raise EngineError(f'image.containerfile is "{asked["own"]}", which is no file of the source')
    recipe = folder.parent / "Containerfile"
    recipe.write_text(own.read_text(encoding="utf-8") + asked["files"][asked["containerfile"]]["text"])
    return str(recipe)


if __name__ == "__main__":
    main()
