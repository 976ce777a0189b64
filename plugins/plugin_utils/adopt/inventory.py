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
# Names of units, modules and directories that say nothing of the app.
_GENERIC = {
    *("gunicorn", "uwsgi", "uvicorn", "web", "app", "application", "wsgi", "asgi", "main", "server", "api-server"),
    *("config", "core", "project", "src", "code", "current", "repo", "www", "html", "htdocs", "public", "backend"),
    *("django", "flask", "run", "manage", "prod", "production", "site"),
}
_LETS_ENCRYPT = "https://acme-v02.api.letsencrypt.org/directory"


def inventory(
    host: str,
    found: Iterable[Found],
    variables: Mapping[str, t.Any],
    taken: t.Collection[str] = (),
    left: Iterable[str] = (),
) -> str:
    """The text of an inventory with all apps that were found on a host.

    Args:
        host: Its name in the inventory.
        found: The apps, as C(adopt.host) found them.
        variables: How Ansible gets to it.
        taken: Names that users and directories of the host have, which no app can have beside them.
        left: What of the host, and of no app, could not be carried over.
    """
    apps = list(found)
    lines = ["---", "# Written by webops.wsgi.adopt. Read the comments, then see what a run would do:"]
    lines += ["#   ansible-playbook -i FILE webops.wsgi.site --check --diff"]
    lines += ["# With -e take_over=true, webops.wsgi.adopt moves the host over without a lost request: docs/adopt.md."]
    lines += [f"# Not carried over: {' '.join(visible(text).split())}" for text in left]
    if not apps:
        return "\n".join(
            [*lines, "# No unit or program of this host starts a server for a WSGI or ASGI app.", "wsgi: {}", ""]
        )
    lines += ["wsgi:", "  hosts:", f"    {_one({host: dict(variables)})}", "  vars:"]
    if any(app["lineage"] for app in apps):
        lines += ["    certbot_email: webmaster@example.com # the address of your account at the authority"]
    lines += ["    wsgi_apps:"]
    for app, name in zip(apps, names(apps, taken), strict=True):
        lines += [f"      {line}".rstrip() for line in _app(app, name)]
    return "\n".join([*lines, ""])


def secrets(
    apps: Iterable[Found], values: Iterable[Mapping[str, str]], taken: t.Collection[str] = ()
) -> dict[str, str]:
    """Values of the variables that the inventory takes from a vault.

    Args:
        apps: The apps that were found.
        values: Their secrets, app by app.
        taken: As of :func:`inventory`.
    """
    listed = list(apps)
    return {
        vault_name(name, key): value
        for name, of_app in zip(names(listed, taken), values, strict=True)
        for key, value in of_app.items()
    }


def _app(app: Found, name: str) -> Iterator[str]:
    entry, notes = _entry(app, name), list(_notes(app, name))
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


def names(apps: Iterable[Found], taken: t.Collection[str] = ()) -> list[str]:
    """A name for each app that was found, none of them twice, and none that the host has for something else."""
    chosen: list[str] = []
    for app in apps:
        name = _name(app)
        tries = (f"{name[: _LONGEST - 4]}-{more}" for more in ("app", *range(2, 1000)))
        while name in chosen or name in taken:
            name = next(tries)
        chosen.append(name)
    return chosen


def _name(app: Found) -> str:
    domain = (
        app["site"]["names"][0].removeprefix("www.").partition(".")[0] if app["site"] and app["site"]["names"] else ""
    )
    module = app["start"]["entrypoint"].partition(":")[0].partition(".")[0]
    folders = re.sub(r"^/(?:home/[^/]+|var/www|srv|opt|root|usr/\w+)(?=/|$)", "", app["source"]["path"]).split("/")[
        :0:-1
    ]
    wishes = [re.sub(r"^.*@(?=.)", "", app["program"]["name"]), module, *folders[:2], domain]
    names = [app_name(wish) for wish in wishes if wish]
    return next((name for name in names if name not in _GENERIC and not name.startswith("app-")), names[0])


def _entry(app: Found, name: str) -> dict[str, t.Any]:
    start, site = app["start"], app["site"]
    server, settings = _server(start)
    entry: dict[str, t.Any] = {"name": name, "source": _source(app["source"], name), "entrypoint": start["entrypoint"]}
    if server == "uvicorn" or start["settings"].get("worker_class") == "asgi":
        entry["interface"] = "asgi"
    if server != "gunicorn":
        entry["server"] = server
    entry["domains"] = list(dict.fromkeys(site["names"])) if site else []
    optional = {
        **(_tls(app, site) if site else {}),
        "python": _python(app, server),
        "env": dict(app["env"]),
        "secrets": {key: f"{{{{ {vault_name(name, key)} }}}}" for key in app["hidden"]},
        "build": ["python manage.py collectstatic --noinput"] if _collects(app) else [],
        "persistent": [item["path"] for item in _kept(app, "directory")],
        "persistent_files": [item["path"] for item in _kept(app, "sqlite")],
        "certbot": _certbot(app["lineage"]),
        server: settings,
        "nginx": _nginx(site, app["source"]["path"]) if site else {},
        "workers": _workers(app, name),
    }
    return {**entry, **{key: value for key, value in optional.items() if value}}


def vault_name(app: str, variable: str) -> str:
    """The variable of a vault that has the value of a secret."""
    return f"vault_{app.replace('-', '_')}_{variable.lower()}"


def _collects(app: Found) -> bool:
    """Whether static files have to be collected: those of a copy are in it, those of a clone are not."""
    return bool(app["django"] and app["source"]["git"] and app["site"] and app["site"]["static"])


def _kept(app: Found, kind: str) -> list[Found]:
    return [item for item in app["data"] if item["kind"] == kind and not item["path"].startswith("/")]


def _certbot(lineage: Found | None) -> dict[str, str]:
    """What makes the certificate that is there the one that is wanted."""
    if not lineage:
        return {}
    settings = {"key_type": "rsa"} if lineage["key_type"] == "rsa" else {}
    other = lineage["server"] not in ("", _LETS_ENCRYPT)
    return {**settings, **({"acme_directory": lineage["server"]} if other else {})}


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


def _source(source: Found, name: str) -> dict[str, str]:
    if source["git"] and source["commit"]:
        where = {"subdirectory": source["subdirectory"]} if source["subdirectory"] else {}
        return {"git": source["git"], "version": source["commit"], **where}
    folder = source["path"].rpartition("/")[2]
    return {"path": name if folder.lower() in {"", *_GENERIC} else folder}


def _tls(app: Found, site: Found) -> dict[str, t.Any]:
    if not site["certificate"]:
        return {"tls": "off"}
    if app["lineage"]:
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


def _notes(app: Found, name: str) -> Iterator[str]:
    start = app["start"]
    yield from _notes_of_code(app, name)
    if not start["entrypoint"]:
        yield "Entrypoint: not found; write module:callable."
    if version := app["packages"].get(start["server"]):
        yield f"Server: {start['server']} {version} is installed; another one comes, unless requirements name it."
    for where in dict.fromkeys(app["hidden"].values()):
        hidden = ", ".join(key for key, place in app["hidden"].items() if place == where)
        yield f"Secrets: the values of {hidden} are in {where} on the host; put them into a vault."
    if moved := [key for key, value in app["env"].items() if f"{app['source']['path']}/" in f"{value}/"]:
        yield f"Variables: {', '.join(moved)} name a path of the old set-up, which a release has elsewhere."
    yield from _notes_of_data(app)
    yield from _notes_of_site(app, app["site"])
    if app["workers"]:
        yield f"Workers: {', '.join(worker['where'] for worker in app['workers'])}"
    left = list(_left(app))
    if left:
        yield "Not carried over:"
        yield from (f"  {text}" for text in left)


def _notes_of_code(app: Found, name: str) -> Iterator[str]:
    source = app["source"]
    if source["git"] and source["commit"]:
        yield f"Code: the commit that is checked out in {source['path']}; what was changed there since is not in it."
    else:
        here, left = _source(source, name)["path"], "virtual environment, .env and data"
        there = f"copy {source['path']} of the host to" if source["path"] else "where it is was not found; copy it to"
        yield f"Code: {there} {here} beside this file, without {left}."
    if not source["requirements"] and app["packages"]:
        yield "Requirements: the source names none; python.packages is what is installed. Better a requirements.txt."


def _notes_of_data(app: Found) -> Iterator[str]:
    for item in app["data"]:
        carried = "A release begins without it; docs/adopt.md says how it is carried over."
        yield f"Data: {described(item)} in {app['source']['path']}. {carried}"
    if app["django"] and not _collects(app) and app["site"] and app["site"]["static"]:
        yield "Static files: those of the copy, as collectstatic has left them; later `build` may make them."


def _notes_of_site(app: Found, site: Found | None) -> Iterator[str]:
    if site is None:
        binds = ", ".join(app["start"]["binds"])
        yield f"Domains: no server block of nginx passes requests on to {binds}; write them, or `listen`."
        return
    yield f"nginx: its server block is in {site['where']}, which is not read any more after the move."
    if app["lineage"]:
        yield "Certificate: the one that certbot has is kept and renewed, as long as it is for the same domains."
    elif site["certificate"]:
        yield f"Certificate: copy {site['certificate']} and {site['key']} to beside this file; the key may be a vault."
    if any(folder.startswith("/") for folder in _nginx(site, app["source"]["path"]).get("static", {}).values()):
        yield "Static files outside of the source: those of users belong into `persistent`."


def described(item: Found) -> str:
    """A database or a directory, as a person is told of it."""
    minutes = item["age"] // 60
    ago = f"{minutes} min" if minutes < 120 else f"{minutes // 60} h" if minutes < 2880 else f"{minutes // 1440} days"
    size = f"{item['size'] / 1e6:.1f} MB" if item["size"] >= 1e5 else f"{item['size'] / 1e3:.0f} KB"
    return f"{item['path']} ({size}, written {ago} ago)"


def _left(app: Found) -> Iterator[str]:
    """What the collection has no counterpart of, or what this did not understand."""
    yield from app["program"]["left"]
    yield from app["start"]["left"]
    yield from app["site"]["left"] if app["site"] else []
    for worker in app["workers"]:
        yield from worker["left"]
    yield from (f"cron: {line}, see `timers`" for line in app["crontab"])
