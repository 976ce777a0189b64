"""Render a role's template as a play would, in milliseconds: Ansible's own Templar, no playbook, no host.

    from render import app, render
    text = render("nginx_proxy", "site.conf.j2", app=app())

The role's defaults and vars are there, and whatever is given by keyword wins over them.
"""

from __future__ import annotations

import inspect
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible_collections.webops.wsgi.plugins.plugin_utils.inventory.settings import load_schema
from ansible_collections.webops.wsgi.plugins.plugin_utils.rendering import Renderer
from ansible_collections.webops.wsgi.plugins.plugin_utils.servers.model import server

ROOT = Path(__file__).resolve().parents[2]
ROLES = {role.name: role.key for role in load_schema().roles.values()}

HOST = {
    "release": "13",
    "nginx_version": "1.26.3",
    "nginx_enabled": True,
    "packages_missing": [],
    "users": [],
    "orphans": [],
    "ipv6": True,
    "drained": {},
}


def defaults(role: str) -> dict[str, Any]:
    """A role's ``defaults/main.yml`` as plain data."""
    return yaml.safe_load((ROOT / "roles" / role / "defaults/main.yml").read_text()) or {}


def app(name: str = "api", **overrides: Any) -> dict[str, Any]:
    """A resolved app as ``app_settings`` gives it. A role's key, ``nginx={...}``, is merged over its defaults."""
    resolved: dict[str, Any] = {
        "name": name,
        "state": "present",
        "source": {"kind": "path", "path": "/src"},
        "entrypoint": "app:create_app()",
        "domains": [f"{name}.example.com"],
        "interface": "wsgi",
        "path": "/",
        "site": name,
        "scheme": "http" if overrides.get("tls") == "off" else "https",
        "tls": "letsencrypt",
        "env": {},
        "secrets": {},
        "persistent": [],
        "persistent_files": [],
        "credentials": {},
        "files": {},
        "workers": [],
        "timers": [],
        "listen": "",
        "runtime": "process",
    }
    for role, key in ROLES.items():
        if (ROOT / "roles" / role / "defaults/main.yml").is_file():
            resolved[key] = {name.removeprefix(f"{role}_"): value for name, value in defaults(role).items()}
    for key, value in overrides.items():
        resolved[key] = {**resolved[key], **value} if key in ROLES.values() else value
    return {**resolved, "server": server(resolved.get("server", "gunicorn")).facts(resolved)}


def render(role: str, template: str, **variables: Any) -> str:
    """Text of ``roles/<role>/templates/<template>``.

    :raises ansible.errors.AnsibleError: the template is missing or cannot be rendered.
    """
    return renderer(role, **variables).render(template, {})


def renderer(role: str, **variables: Any) -> Renderer:
    """What config_tree renders a role's templates with."""
    folder = ROOT / "roles" / role
    values = {
        "inventory_hostname": "host",
        "__wsgi_host": HOST,
        "__wsgi_apps": [],
        "__wsgi_left_out": [],
        **_role_variables(role),
        **variables,
    }
    action = SimpleNamespace(
        _find_needle=lambda _kind, name: str(folder / "templates" / name),
        _loader=_loader(),
        _templar=Templar(loader=_loader(), variables=values),
    )
    return Renderer(action, values)


@cache
def _loader() -> DataLoader:
    return DataLoader()


@cache
def _role_variables(role: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in ("defaults/main.yml", "vars/main.yml"):
        path = ROOT / "roles" / role / name
        if path.is_file():
            found.update(load(str(path)) or {})
    return found


def load(path: str) -> Any:
    """A YAML file whose strings may be templates, under any ansible-core."""
    trust = "trusted_as_template" in inspect.signature(DataLoader.load_from_file).parameters
    return _loader().load_from_file(path, **({"trusted_as_template": True} if trust else {}))
