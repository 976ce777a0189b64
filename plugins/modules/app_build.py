#!/usr/bin/python
# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: app_build
short_description: Build source and virtual environment of applications, once for equal inputs, and create their users
version_added: 0.1.0
description:
  - A build is one immutable, root-owned directory with an application's source and virtual environment, named by the
    digest of everything that shapes it. Where it exists already nothing is done.
  - The controller resolves each source (a local directory, git, an archive, a package) and sends only what is missing.
  - Each app has a system user of its own. One that is missing is created first.
  - All apps of a host are handled by one task.
author: webops.wsgi contributors (@webops)
extends_documentation_fragment: [webops.wsgi.outgoing]
attributes:
  check_mode:
    description: Can run in check mode and return changed status prediction without modifying target.
    support: full
  diff_mode:
    description: Will return details on what has changed, or would change, when in diff mode.
    support: full
options:
  apps:
    description:
      - The apps as the action M(webops.wsgi.app_settings) resolves them.
      - Without it those of the fact C(__wsgi_apps), which Ansible then need not evaluate again.
    type: list
    elements: dict
  host:
    description: The host's state as M(webops.wsgi.host_state) returns it.
    type: dict
  uv:
    description: Path of the uv program on the host.
    type: path
  pythons:
    description: How interpreters that O(apps) ask for and O(host) lacks get there; the action plugin reads this.
    type: dict
    default: {}
    suboptions:
      download:
        description: Whether uv installs them.
        type: bool
        default: false
      mirror:
        description: Address that stands for that of python-build-standalone's releases.
        type: str
        default: ""
      ca_bundle:
        description: CA bundle on the host that their download is verified with.
        type: str
        default: ""
  builds:
    description: The inputs of each build; the action plugin makes this from O(apps).
    type: list
    elements: dict
    suboptions:
      app:
        description: The app's name.
        type: str
        required: true
      source:
        description: Identity of the source.
        type: dict
        required: true
      label:
        description: The source in a person's words.
        type: str
        required: true
      stamp:
        description: Modification time of the source's files, in seconds since the epoch.
        type: int
        default: 0
      seen:
        description: What is equal for all builds whose source has one O(builds[].stamp).
        type: str
        default: ""
      python:
        description: Python version.
        type: str
        required: true
      interpreter:
        description: Path of that Python.
        type: str
        required: true
      uv:
        description: Path of the uv program.
        type: str
        default: ""
      installer:
        description: The program that fills the virtual environment.
        type: str
        choices: [uv, pip]
        default: uv
      requirements:
        description: Requirements file or pyproject.toml within the source; empty to find it.
        type: str
        default: ""
      packages:
        description: Further requirements.
        type: list
        elements: str
        default: []
      server:
        description: Requirement of the application server, used unless the app brings its own.
        type: str
        default: ""
      server_packages:
        description: Packages of which an app may bring any one, where they are more than that of the requirement.
        type: list
        elements: str
        default: []
      index_url:
        description: Package index.
        type: str
        default: ""
      extra_index_urls:
        description: Further package indexes.
        type: list
        elements: str
        default: []
      ca_bundle:
        description: CA bundle on the host that the indexes are verified with.
        type: str
        default: ""
      public:
        description: Directories of the source that the web server may read.
        type: list
        elements: str
        default: []
      fingerprint:
        description: Pattern of the names of files in them that carry a digest, and outlive the build.
        type: str
        default: ""
      persistent:
        description: Directories of the source that live in the state directory.
        type: list
        elements: str
        default: []
      brotli:
        description: Whether files of O(builds[].public) are compressed by brotli too.
        type: bool
        default: false
      subdirectory:
        description: The app's own directory within the source; other paths within the source count from there.
        type: str
        default: ""
      commands:
        description: Commands that run in the source tree once the environment is there.
        type: list
        elements: str
        default: []
      variables:
        description: Environment variables of O(builds[].commands).
        type: dict
        default: {}
      extras:
        description: Extras of the project that are installed with it.
        type: list
        elements: str
        default: []
      groups:
        description: Dependency groups of the project that are installed with it.
        type: list
        elements: str
        default: []
      persistent_files:
        description: Files of the source that live in the state directory.
        type: list
        elements: str
        default: []
      environment:
        description: Environment variables of everything that runs in the build.
        type: dict
        default: {}
      build_packages:
        description: Debian packages that the host has for the build.
        type: list
        elements: str
        default: []
      version:
        description: What git says of the source, for projects that ask it for their version.
        type: str
        default: ""
  users:
    description: System users to create; the action plugin makes this from O(apps) and O(host).
    type: list
    elements: str
    default: []
  archives:
    description: Uploaded source archives by app; the action plugin sets this.
    type: dict
    default: {}
  images:
    description: Images that apps run in, which the host gets; the action plugin makes this from the apps.
    type: list
    elements: dict
    default: []
    suboptions:
      app:
        description: The app.
        type: str
        required: true
      engine:
        description: What fetches it.
        type: str
        choices: [podman, docker]
        required: true
      user:
        description: User of the registry; empty for none.
        type: str
        default: ""
      password:
        description: The user's password.
        type: str
        default: ""
      insecure:
        description: Whether the registry may be asked over HTTP.
        type: bool
        default: false
  who:
    description: The person and machine that asked for it; the action plugin sets this.
    type: str
    default: unknown
"""

EXAMPLES = r"""
- name: Build the apps
  webops.wsgi.app_build:
    apps: "{{ __wsgi_apps }}"
    host: "{{ __wsgi_host }}"
    uv: /opt/wsgi/uv/bin/uv
    pythons: {download: true}
"""

RETURN = r"""
missing:
  description: Apps whose build did not exist.
  returned: success
  type: list
  elements: str
users:
  description: Apps whose user did not exist.
  returned: success
  type: list
  elements: str
failures:
  description: What failed, a message for each app; the action plugin makes it a fact of the host or fails the task.
  returned: failure
  type: list
  elements: str
decided:
  description: The file that said what is installed, for each app that was built.
  returned: when something was built
  type: dict
  sample: {api: uv.lock}
lacks:
  description: Modules that are imported by an app whose source has no file that says what to install.
  returned: when something was built
  type: dict
  sample: {api: [flask]}
builds:
  description: Digest, path and source of each app's build.
  returned: success
  type: dict
  sample:
    api: {digest: 3f2a9c51d04be877, path: /srv/api/builds/3f2a9c51d04be877, source: reports==1.4.2}
"""

from concurrent.futures import ThreadPoolExecutor
from os import cpu_count
from pathlib import Path
from typing import Any

from ansible_collections.webops.wsgi.plugins.module_utils.build import make as build
from ansible_collections.webops.wsgi.plugins.module_utils.build.inputs import BuildError, BuildInputs
from ansible_collections.webops.wsgi.plugins.module_utils.build.sandbox import SystemdSandbox
from ansible_collections.webops.wsgi.plugins.module_utils.host import users
from ansible_collections.webops.wsgi.plugins.module_utils.host.lock import LockedError, lock
from ansible_collections.webops.wsgi.plugins.module_utils.host.outgoing import OPTIONS, Outgoing, outgoing
from ansible_collections.webops.wsgi.plugins.module_utils.host.progress import waiting
from ansible_collections.webops.wsgi.plugins.module_utils.image.engine import Engine, Registry
from ansible_collections.webops.wsgi.plugins.module_utils.image.kept import has_image
from ansible_collections.webops.wsgi.plugins.module_utils.quiet_module import QuietModule

ROOT = Path("/srv")
BUILD_OPTIONS: dict[str, Any] = {
    "app": {"type": "str", "required": True},
    "source": {"type": "dict", "required": True},
    "label": {"type": "str", "required": True},
    "stamp": {"type": "int", "default": 0},
    "seen": {"type": "str", "default": ""},
    "python": {"type": "str", "required": True},
    "interpreter": {"type": "str", "required": True},
    "uv": {"type": "str", "default": ""},
    "installer": {"type": "str", "choices": ["uv", "pip"], "default": "uv"},
    "requirements": {"type": "str", "default": ""},
    "packages": {"type": "list", "elements": "str", "default": []},
    "server": {"type": "str", "default": ""},
    "server_packages": {"type": "list", "elements": "str", "default": []},
    "index_url": {"type": "str", "default": "", "no_log": True},
    "extra_index_urls": {"type": "list", "elements": "str", "default": [], "no_log": True},
    "ca_bundle": {"type": "str", "default": ""},
    "public": {"type": "list", "elements": "str", "default": []},
    "fingerprint": {"type": "str", "default": ""},
    "persistent": {"type": "list", "elements": "str", "default": []},
    "brotli": {"type": "bool", "default": False},
    "subdirectory": {"type": "str", "default": ""},
    "commands": {"type": "list", "elements": "str", "default": []},
    "variables": {"type": "dict", "default": {}},
    "extras": {"type": "list", "elements": "str", "default": []},
    "groups": {"type": "list", "elements": "str", "default": []},
    "persistent_files": {"type": "list", "elements": "str", "default": []},
    "environment": {"type": "dict", "default": {}},
    "build_packages": {"type": "list", "elements": "str", "default": []},
    "version": {"type": "str", "default": ""},
}


PYTHONS_OPTIONS: dict[str, Any] = {
    "download": {"type": "bool", "default": False},
    "mirror": {"type": "str", "default": "", "no_log": True},
    "ca_bundle": {"type": "str", "default": ""},
}


REGISTRY_OPTIONS: dict[str, Any] = {
    "engine": {"type": "str", "choices": ["podman", "docker"], "required": True},
    "user": {"type": "str", "default": ""},
    "password": {"type": "str", "default": "", "no_log": True},
    "insecure": {"type": "bool", "default": False},
}


def _described(inputs: BuildInputs) -> str:
    """What a build does, as a person is told while it runs."""
    if "image" in inputs.source:
        return "fetches its image"
    return "is built (its packages, then the commands of `build`)" if inputs.commands else "is built (its packages)"


def make_all(
    builds: list[BuildInputs], archives: dict[str, str], who: str, out: Outgoing, images: dict[str, dict[str, Any]]
) -> list[str]:
    """Make builds side by side; returns the failures."""

    def make(inputs: BuildInputs) -> str:
        archive = archives.get(inputs.app)
        try:
            with lock(ROOT / inputs.app, who), waiting(inputs.app, _described(inputs), build.BUILD_TIMEOUT):
                if "image" in inputs.source:
                    from_where = dict(images[inputs.app])
                    engine = Engine(from_where.pop("engine"))
                    build.make_image_build(ROOT, inputs, engine, Registry(**from_where))
                    return ""
                build.make_build(ROOT, inputs, Path(archive) if archive else None, SystemdSandbox(), out)
        except (BuildError, LockedError) as error:
            return str(error)
        except OSError as error:  # a full disk, most likely
            return f'app "{inputs.app}": {error}'
        return ""

    with ThreadPoolExecutor(cpu_count()) as pool:
        return [failure for failure in pool.map(make, builds) if failure]


def _made(builds: list[BuildInputs]) -> dict[str, dict[str, Any]]:
    """What a person is told of the builds that were made."""
    paths = {inputs.app: build.build_path(ROOT, inputs) for inputs in builds}
    found = {app: build.description(path) for app, path in paths.items() if build.is_complete(path)}
    return {
        "decided": {app: made["requirements"] for app, made in found.items() if made["requirements"]},
        "lacks": {app: made["lacks"] for app, made in found.items() if made["lacks"]},
    }


def _is_there(inputs: BuildInputs) -> bool:
    path = build.build_path(ROOT, inputs)
    return build.is_complete(path) and has_image(path)


def _images(images: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {image["app"]: {key: value for key, value in image.items() if key != "app"} for image in images}


def main() -> None:
    module = QuietModule(
        argument_spec={
            "apps": {"type": "list", "elements": "dict"},
            "host": {"type": "dict"},
            "uv": {"type": "path"},
            "pythons": {"type": "dict", "default": {}, "options": PYTHONS_OPTIONS},
            "builds": {"type": "list", "elements": "dict", "options": BUILD_OPTIONS},
            "users": {"type": "list", "elements": "str", "default": []},
            "archives": {"type": "dict", "default": {}},
            "images": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {"app": {"type": "str", "required": True}, **REGISTRY_OPTIONS},
            },
            "who": {"type": "str", "default": "unknown"},
            **OPTIONS,
        },
        supports_check_mode=True,
    )
    wanted = [BuildInputs(**options) for options in module.params["builds"] or []]
    missing = [inputs for inputs in wanted if not _is_there(inputs)]
    if not module.check_mode:
        if module.params["users"]:
            try:
                users.create(module.params["users"])
            except users.UsersError as error:
                module.fail_json(msg=str(error))
        out = outgoing(module.params["proxy"], module.params["no_proxy"])
        module.mask(out.secrets)
        failures = make_all(
            missing, module.params["archives"], module.params["who"], out, _images(module.params["images"])
        )
        if failures:
            module.fail_json(msg="\n".join(failures), failures=failures, **_made(missing))
    module.exit_json(changed=bool(missing or module.params["users"]), **_made(missing))


if __name__ == "__main__":
    main()
