# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The inventory entry of an app that was found on a host, with comments on what could not be carried over."""

from __future__ import annotations

import re
import shlex
import typing as t
from collections.abc import Iterable, Iterator, Mapping

import yaml
from ansible_collections.webops.wsgi.plugins.module_utils.quiet_module import visible

Found = Mapping[str, t.Any]

# Classes of gunicorn's workers that stand for another server.
_UVICORN_WORKER = re.compile(r"uvicorn\.workers\.\w+|uvicorn_worker\.\w+")
_CLASSES = ("gthread", "sync", "gevent")
_LONGEST = 30  # characters of an app's name


def inventory(host: str, found: Iterable[Found], variables: Mapping[str, t.Any]) -> str:
    """The text of an inventory with all apps that were found on a host.

    Args:
        host: Its name in the inventory.
        found: The apps, as C(adopt.host) found them.
        variables: How Ansible gets to it.
    """
    apps = list(found)
    lines = ["---", "# Written by webops.wsgi.adopt. Read the comments, then see what a run would do:"]
    lines += ["#   ansible-playbook -i FILE webops.wsgi.site --check --diff"]
    if not apps:
        return "\n".join(
            [*lines, "# No unit or program of this host starts a server for a WSGI or ASGI app.", "wsgi: {}", ""]
        )
    lines += ["wsgi:", "  hosts:", f"    {_one({host: dict(variables)})}", "  vars:"]
    if any(app["authority"] for app in apps):
        lines += ["    certbot_email: webmaster@example.com # the address of your account at the authority"]
    lines += ["    wsgi_apps:"]
    for app in apps:
        lines += [f"      {line}".rstrip() for line in _app(app)]
    return "\n".join([*lines, ""])


def _app(app: Found) -> Iterator[str]:
    entry, notes = _entry(app), list(_notes(app))
    # What is in a host's files is not to order a terminal about, or to end a comment.
    for note in [f"{app['program']['manager']}: {app['program']['where']}", *notes]:
        yield from (f"# {line}" for line in visible(note).splitlines())
    first = True
    for key, value in entry.items():
        yield f"{'- ' if first else '  '}{_one({key: value})}"
        first = False


def _one(value: t.Any) -> str:
    """A mapping of one key on one line."""
    ((key, item),) = value.items()
    text = yaml.safe_dump(item, default_flow_style=True, width=100_000, sort_keys=False, allow_unicode=True)
    return f"{yaml.safe_dump(key, width=1000).splitlines()[0]}: {text.removesuffix('...' + chr(10)).strip()}"


def app_name(text: str) -> str:
    """A name that the collection takes, made from that of a unit."""
    text = re.sub(r"^(?:gunicorn|uwsgi|uvicorn)[-_.@]+|[-_.@]+(?:gunicorn|uwsgi|uvicorn|web|server)$", "", text.lower())
    text = re.sub(r"[^a-z0-9]+", "-", text).strip("-")[:_LONGEST].rstrip("-")
    return (
        text if re.match(r"[a-z]", text) and text not in ("gunicorn", "uwsgi", "uvicorn") else f"app-{text}".rstrip("-")
    )


def _name(app: Found) -> str:
    name = app["program"]["name"]
    if name in ("gunicorn", "uwsgi", "uvicorn", "web", "app"):
        name = app["start"]["entrypoint"].partition(":")[0].partition(".")[0] or name
    return app_name(name)


def _entry(app: Found) -> dict[str, t.Any]:
    start, site = app["start"], app["site"]
    server, settings = _server(start)
    name = _name(app)
    entry: dict[str, t.Any] = {"name": name, "source": _source(app["source"]), "entrypoint": start["entrypoint"]}
    if server == "uvicorn" or start["settings"].get("worker_class") == "asgi":
        entry["interface"] = "asgi"
    if server != "gunicorn":
        entry["server"] = server
    entry["domains"] = list(dict.fromkeys(site["names"])) if site else []
    optional = {
        **(_tls(app, site) if site else {}),
        "python": _python(app, server),
        "env": dict(app["env"]),
        "secrets": {key: f"{{{{ vault_{name.replace('-', '_')}_{key.lower()} }}}}" for key in app["hidden"]},
        server: settings,
        "nginx": _nginx(site, app["source"]["path"]) if site else {},
        "workers": _workers(app, name),
    }
    return {**entry, **{key: value for key, value in optional.items() if value}}


def _python(app: Found, server: str) -> dict[str, t.Any]:
    python: dict[str, t.Any] = {"version": app["python"]} if app["python"] else {}
    if not app["source"]["requirements"] and app["packages"]:
        python["packages"] = _packages(app["packages"], server)
    return python


def _workers(app: Found, name: str) -> list[dict[str, str]]:
    return [
        {"name": app_name(worker["name"].removeprefix(f"{name}-")), "command": _command(worker["command"])}
        for worker in app["workers"]
        if worker["command"]
    ]


def _server(start: Found) -> tuple[str, dict[str, t.Any]]:
    settings = dict(start["settings"])
    kind = str(settings.get("worker_class", "gthread"))
    if _UVICORN_WORKER.fullmatch(kind):
        return "uvicorn", {key: value for key, value in settings.items() if key == "workers"}
    if kind not in _CLASSES:
        settings.pop("worker_class", None)
    return start["server"], settings


def _source(source: Found) -> dict[str, str]:
    if source["git"] and source["commit"]:
        return {"git": source["git"], "version": source["commit"]}
    return {"path": source["path"].rpartition("/")[2] or "app"}


def _tls(app: Found, site: Found) -> dict[str, t.Any]:
    if not site["certificate"]:
        return {"tls": "off"}
    if app["authority"]:
        return {}
    files = {"cert": site["certificate"].rpartition("/")[2], "key": site["key"].rpartition("/")[2]}
    return {"tls": "provided", "certificate": files}


def _packages(packages: Mapping[str, str], server: str) -> list[str]:
    tools = ("pip", "setuptools", "wheel", server)
    return [f"{name}=={version}" for name, version in packages.items() if name not in tools]


def _nginx(site: Found, directory: str) -> dict[str, t.Any]:
    settings = dict(site["settings"])
    static = {
        path: folder.removeprefix(f"{directory}/") if folder.startswith(f"{directory}/") else folder
        for path, folder in site["static"].items()
    }
    return {**settings, **({"static": static} if static else {})}


def _command(command: str) -> str:
    """A command by the name of its program, which is in the virtual environment of the release."""
    try:
        words = shlex.split(command)
    except ValueError:
        words = command.split()
    return shlex.join([words[0].rpartition("/")[2], *words[1:]])


def _notes(app: Found) -> Iterator[str]:
    source, start = app["source"], app["start"]
    if source["git"] and source["commit"]:
        yield f"Code: the commit that is checked out in {source['path']}; what was changed there since is not in it."
    else:
        yield f"Code: copy {source['path']} of the host to a directory beside this file, without virtual environment."
    if not start["entrypoint"]:
        yield "Entrypoint: not found; write module:callable."
    if not source["requirements"] and app["packages"]:
        yield "Requirements: the source names none; python.packages is what is installed. Better a requirements.txt."
    if version := app["packages"].get(start["server"]):
        yield f"Server: {start['server']} {version} is installed; another one comes, unless requirements name it."
    for where in dict.fromkeys(app["hidden"].values()):
        names = ", ".join(name for name, place in app["hidden"].items() if place == where)
        yield f"Secrets: the values of {names} are in {where} on the host; put them into a vault."
    yield from _notes_of_site(app, app["site"])
    if app["workers"]:
        yield f"Workers: {', '.join(worker['where'] for worker in app['workers'])}"
    left = list(_left(app))
    if left:
        yield "Not carried over:"
        yield from (f"  {text}" for text in left)


def _notes_of_site(app: Found, site: Found | None) -> Iterator[str]:
    if site is None:
        yield "Domains: no server block of nginx passes requests on to this server; write them, or `listen`."
        return
    yield f"nginx: remove {site['where']} right before the first run, and reload nothing."
    if app["authority"]:
        yield "Certificate: one of certbot's. The collection asks for one of its own; nothing has to be copied."
    elif site["certificate"]:
        yield f"Certificate: copy {site['certificate']} and {site['key']} to beside this file; the key may be a vault."
    if any(folder.startswith("/") for folder in _nginx(site, app["source"]["path"]).get("static", {}).values()):
        yield "Static files outside of the source: those of users belong into `persistent`."


def _left(app: Found) -> Iterator[str]:
    """What the collection has no counterpart of, or what this did not understand."""
    yield from app["program"]["left"]
    yield from app["start"]["left"]
    yield from app["site"]["left"] if app["site"] else []
    for worker in app["workers"]:
        yield from worker["left"]
    yield from (f"cron: {line}, see `timers`" for line in app["crontab"])
