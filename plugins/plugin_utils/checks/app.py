# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of one app: its name, its entry point and its environment."""

from __future__ import annotations

import ast
import re
import typing as t

from ansible_collections.webops.wsgi.plugins.plugin_utils.inventory.settings import App, Problem, kind_of, show
from ansible_collections.webops.wsgi.plugins.plugin_utils.servers.model import server

_NAME = re.compile(r"[a-z][a-z0-9-]{0,29}")
_MODULE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

# Users and groups of a Debian host.
_USERS = """
    root daemon bin sys sync games man lp mail news uucp proxy www-data backup list irc gnats nobody sshd messagebus
    polkitd syslog ntp postfix mysql postgres redis mongodb memcache rabbitmq nginx apache apache2 haproxy caddy docker
    certbot letsencrypt acme uuidd tss tcpdump adm tty disk kmem dialout fax voice cdrom floppy tape sudo audio dip
    operator src shadow utmp video sasl plugdev staff users nogroup input sgx kvm render crontab netdev ssh
"""
# Names of systemd's own units, and of directories that other programs have in /run and /var/lib.
_UNITS = """
    apt basic bluetooth boot-complete console-getty container-getty cron cryptsetup dbus default dpkg emergency exit
    final first-boot-complete getty graphical gunicorn halt hibernate initrd kexec local-fs lock log machines misc
    modprobe mount multi-user network network-online nss-lookup nss-user-lookup pam paths poweroff printer private
    python python3 reboot remote-fs rescue rpcbind serial-getty shutdown sigpwr sleep slices smartcard sockets sound
    suspend swap sysinit system-update systemd time-set time-sync timers ucf udev umount user user-runtime-dir uwsgi
    wsgi
"""
RESERVED = frozenset(_USERS.split()) | frozenset(_UNITS.split())

_SECRET_NAME = re.compile(r"SECRET|PASSW|TOKEN|CREDENTIAL|PRIVATE_?KEY|API_?KEY$", re.IGNORECASE)

# Variables that the release or systemd sets for every instance.
_OURS = re.compile(r"WSGI_(APP|RELEASE|RELEASE_DIR|SOCKET)|NOTIFY_SOCKET|LISTEN_(FDS|PID|FDNAMES)|WATCHDOG_(PID|USEC)")


def check_name(app: App) -> t.Iterator[Problem]:
    """The name becomes that of a system user, units and directories."""
    if not app.usable("name"):
        return
    name = app.data["name"]
    rule = "write lower-case letters, digits and hyphens, a letter first, at most 30 characters"
    if not name:
        yield app.problem("name is missing", "write name: with the app's name, such as name: api")
    elif len(name) > 30:
        yield app.problem(f"name is {show(name)}, {len(name)} characters long, too long for a user or a unit", rule)
    elif not _NAME.fullmatch(name):
        guess = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-0123456789")
        yield app.problem(f"name is {show(name)}, which has illegal characters", f"{rule}, such as {guess or 'api'}")
    elif name.endswith("-"):
        fix = f"write a letter or digit at its end, such as {name.rstrip('-')}"
        yield app.problem(f"name is {show(name)}, which ends with a hyphen", fix)
    elif name in RESERVED or name.startswith("systemd-"):
        yield app.problem(
            f"name is {show(name)}, which Debian, systemd or this collection uses itself",
            f"choose another, such as {name}-app",
        )


def check_login(app: App, logins: t.Collection[str]) -> t.Iterator[Problem]:
    """The app's user is not the one Ansible logs in as."""
    name = app.data["name"]
    if app.usable("name") and name in logins:
        text = f"name is {show(name)}, which is the user Ansible logs in as (ansible_user)"
        yield app.problem(text, f"choose another, such as {name}-app")


def check_state(app: App) -> t.Iterator[Problem]:
    """``purge`` destroys data, so it must be unmistakable."""
    if app.present and app.usable("state", "purge") and app.data["purge"]:
        yield app.problem(
            "purge is true, but state is present",
            "add state: absent to remove the app and its data, or remove purge",
        )


def check_required(app: App) -> t.Iterator[Problem]:
    """Keys without which an app cannot run."""
    samples = {
        "source": "write source: with path, git and version, archive and sha256, package and version, or image",
        "entrypoint": "write entrypoint: module:callable or module:factory(arguments)",
        "domains": "write domains: with the app's host names, such as [api.example.com]",
    }
    for key, fix in samples.items():
        if app.usable(key) and not app.data[key] and key not in app.meant:
            yield app.problem(f"{key} is {'empty' if key in app.given else 'missing'}", fix)


def check_entrypoint(app: App) -> t.Iterator[Problem]:
    """``module:callable`` or ``module:factory(arguments)``, as every server here takes it."""
    entrypoint = app.data["entrypoint"]
    if not entrypoint or not app.usable("entrypoint"):
        return
    module, colon, attribute = entrypoint.partition(":")
    call = _call(attribute)
    if colon and _MODULE.fullmatch(module) and call is not None:
        if not _has_literals(call):
            text = f"entrypoint is {show(entrypoint)}, and a factory takes only literals as arguments"
            fix = f'write strings, numbers, lists and the like, such as {module}:{_name(call)}("production")'
            yield app.problem(text, f"{fix}, or read them from the environment in the factory")
        return
    module = re.sub(r"\.py$", "", module).strip("./").replace("/", ".")
    guess = f"{module}:{attribute.strip() if _call(attribute.strip()) else 'app'}"
    hint = f", such as {guess}" if _MODULE.fullmatch(module) else ""
    text = f"entrypoint is {show(entrypoint)}, which is neither module:callable nor module:factory(arguments)"
    yield app.problem(text, f"write the module's dotted name, a colon and the callable in it{hint}")


def _call(attribute: str) -> ast.Name | ast.Call | None:
    """What Python makes of the part after the colon; None when it is no such call."""
    try:
        expression = ast.parse(attribute, mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return None
    named = expression.func if isinstance(expression, ast.Call) else expression
    return expression if isinstance(named, ast.Name) and isinstance(expression, (ast.Name, ast.Call)) else None


def _name(call: ast.Name | ast.Call) -> str:
    return ast.unparse(call.func if isinstance(call, ast.Call) else call)


def _has_literals(call: ast.Name | ast.Call) -> bool:
    if isinstance(call, ast.Name):
        return True
    try:
        for argument in (*call.args, *(keyword.value for keyword in call.keywords)):
            ast.literal_eval(argument)
    except (ValueError, TypeError, MemoryError, RecursionError):
        return False
    return all(keyword.arg for keyword in call.keywords)


def check_env(app: App) -> t.Iterator[Problem]:
    """Names that a shell and systemd take, values that are text. Those of ``secrets`` are looked at, never shown."""
    for key in ("env", "secrets"):
        if not app.usable(key):
            continue
        for name, value in app.data[key].items():
            yield from _check_variable(app, key, str(name), value)
    if app.usable("env", "secrets"):
        for name in sorted(set(map(str, app.data["env"])) & set(map(str, app.data["secrets"]))):
            yield app.problem(
                f"{name} is in env and in secrets", "keep it in one of them, in secrets if nobody may see it"
            )


def _check_variable(app: App, key: str, name: str, value: t.Any) -> t.Iterator[Problem]:
    yield from check_assignment(app, key, name, value)
    if _OURS.fullmatch(name):
        yield app.problem(f"{key}.{name} is given, but the release sets {name} itself", "use another name")
    elif fix := server(app.data["server"]).overriding.get(name):
        yield app.problem(f"{key}.{name} is given, which overrides {app.data['server']}'s settings unseen", fix)


def check_assignment(app: App, key: str, name: str, value: t.Any) -> t.Iterator[Problem]:
    """A name and a value that an environment can hold."""
    if not _ENV_NAME.fullmatch(name):
        guess = re.sub(r"[^A-Za-z0-9_]+", "_", name).strip("_") or "NAME"
        guess = f"_{guess}" if guess[0].isdigit() else guess
        yield app.problem(
            f"{key} has {show(name)}, which is not a valid name of an environment variable",
            f"use letters, digits and underscores, such as {guess}",
        )
    if value is None:
        yield app.problem(f"{key}.{name} is empty", 'give it a value, "" for an empty text, or remove the line')
    elif isinstance(value, (dict, list)):
        yield app.problem(
            f"{key}.{name} is {kind_of(value)}, not a string",
            "write a string; for structured data, its JSON form in quotes",
        )
    elif "\0" in str(value):
        yield app.problem(
            f"{key}.{name} has a NUL character, which an environment cannot hold",
            "remove it, or encode the value, in base64 say",
        )


def open_secrets(app: App) -> t.Iterator[str]:
    """Warnings about variables in ``env`` that sound secret."""
    for name in map(str, app.data["env"]) if app.usable("env") else ():
        if _SECRET_NAME.search(name):
            yield f'app "{app.label}": env.{name} sounds secret, but env can be seen on the host; use secrets.'
    built_with = app.data["python"].get("build_environment") or {} if app.usable("python.build_environment") else {}
    for name in filter(_SECRET_NAME.search, map(str, built_with)):
        setting = app.setting("python", "build_environment")
        yield f'app "{app.label}": {setting} has {name}, which sounds secret, but all that the build runs can see it.'


def environment(variables: dict[str, t.Any]) -> dict[str, str]:
    """Environment variables as text, the way they are written in YAML: ``true`` stays ``true``."""
    return {
        str(name): str(value).lower() if isinstance(value, bool) else str(value) for name, value in variables.items()
    }


CHECKS: tuple[t.Callable[[App], t.Iterator[Problem]], ...] = (
    check_required,
    check_entrypoint,
    check_env,
)
