# Copyright (c) webops.wsgi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What to do about causes that many apps share, by the words that Python, the server and systemd use.

This module has no imports beyond the standard library: its text is sent into the sandbox of a build.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_MACHINE_CODE = (
    "the app makes machine code while it runs: set release_memory_deny_write_execute to false, for this app alone as "
    "release: {memory_deny_write_execute: false}"
)
_FILTER = (
    "if the sandbox refused a system call, allow it with release_system_call_filter, such as "
    '["@system-service", "~@privileged @resources", "CALL"]'
)
_PRIORITY = (
    "the sandbox lets no app change its priority or its processors: set release_nice, or CPUAffinity= or "
    "IOSchedulingClass= with release_unit_extra; or allow it with release_system_call_filter: "
    '["@system-service", "~@privileged @resources", "@chown", "setpriority", "ioprio_set", "sched_setaffinity"]'
)
_MEMORY = "raise release_memory_max, or start fewer workers; where no limit is set, the host is full"
_TASKS = "raise release_tasks_max"
_STATE = (
    "the code is read-only: keep what the app writes in a directory that persistent names, or below /var/lib/<app>; "
    "a single file, such as db.sqlite3, may be in persistent_files"
)

_NO_COMPILER = (
    r"command '?\S*(?:gcc|cc|g\+\+|clang)\S*'? failed: No such file|unable to execute '\S*g?cc'"
    r"|(?:gcc|cc|g\+\+|make): (?:command )?not found|No C compiler|No such file or directory: '\S*(?:gcc|cc|g\+\+)'"
    r"|Unknown compiler\(s\)|No CMAKE_C\w*_COMPILER could be found"
)

# The first that is found in an exception, in what a program wrote or in what systemd said decides.
_REMEDIES: tuple[tuple[str, str], ...] = (
    (
        r"executable memory|write\+execute memory|Unable to allocate section memory|executable stack"
        r"|mprotect.*(?:Permission denied|not permitted)",
        _MACHINE_CODE,
    ),
    (
        r"No module named '(?P<name>[^']*)'",
        "add the package that has the module NAME to the app's requirements; if the module is the app's own, check "
        "entrypoint and where the source begins",
    ),
    (
        r"(?P<name>\S+): cannot open shared object file",
        "add the Debian package that has NAME to the app's system_packages",
    ),
    (_NO_COMPILER, "a compiler is missing: add build-essential to the app's system_packages"),
    (
        r"Read-only file system: '(?!/srv/)(?P<name>/[^']*)'",
        "let the app write there: add NAME to release_writable_paths",
    ),
    (
        r"(?:Read-only file system|Permission denied): '/srv/\S*(?:/instance|/venv/var)\b",
        "the code is read-only, and so is Flask's instance folder: write persistent: [instance] for the app",
    ),
    (r"(?:Read-only file system|Permission denied): '(?:/srv/|[^/'])|Read-only file system$", _STATE),
    (r"unable to open database file|attempt to write a readonly database", _STATE),
    (
        r"Address already in use",
        "another process has this address: choose another one. The app itself needs none, nginx reaches it by a socket",
    ),
    (
        r"Address family not supported",
        "allow this kind of socket with release_address_families; a look at the network interfaces needs AF_NETLINK",
    ),
    (r"(?:niceness|ioprio_set|affinity).*Operation not permitted", _PRIORITY),
    (r"Too many open files", "raise release_limit_nofile, or close what the app opens"),
    (r"can't start new thread|\bfork: .*Resource temporarily unavailable|Cannot fork", _TASKS),
    (r"No such file or directory: '/proc/", "the sandbox hides it: set release_protect_proc to false"),
    (
        r"(?:No such file or directory|Permission denied): '/(?:home|root)/",
        "the sandbox hides home directories: move the file elsewhere",
    ),
    (r"No space left on device", "make room on the host's disk"),
    (
        r"Failed to find attribute|Failed to find application object|Application object must be callable"
        r"|Failed to parse .* as an attribute name",
        "correct the app's entrypoint",
    ),
    (
        r" is an ASGI app, and the app's interface is wsgi$|missing 1 required positional argument: 'send'$",
        "write interface: asgi for the app, and a server that runs ASGI apps; of Django, entrypoint may name the WSGI "
        "application, in its wsgi module, instead",
    ),
    (
        r" is a WSGI app, and the app's interface is asgi$",
        "write interface: wsgi for the app, and a server that runs WSGI apps; of Django, entrypoint may name the ASGI "
        "application, in its asgi module, instead",
    ),
    (r": (?P<name>\S+): not found", "install NAME: by the app's requirements, or by system_packages"),
    (r"SIGSYS", _FILTER),
    (r"^OSError: \[Errno 1\]|\[Errno 1\] Operation not permitted$", _FILTER),
    (r"SIGKILL|OOM killer|oom-kill|^MemoryError\b", _MEMORY),
    (
        r"SIGSEGV|SIGABRT|SIGBUS|SIGILL|SIGTRAP",
        "a compiled package crashed; if it makes machine code while it runs, set release_memory_deny_write_execute to "
        "false, otherwise try another version of it",
    ),
    (r"_activate failed:.*timeout was exceeded", "raise release_hook_timeout, or see what the command waits for"),
    (
        r"timeout was exceeded|took longer to start|does not listen on its socket",
        "raise release_start_timeout, or see what the app waits for",
    ),
    (
        r"^not healthy within .* got no answer",
        "raise release_health_timeout, where the app takes long to be imported or to answer, or see what it waits for",
    ),
)

# Debian packages that have a header, by the beginning of its name.
_HEADERS = {
    "Python.h": "python3-dev",
    "libpq-fe.h": "libpq-dev",
    "mysql.h": "default-libmysqlclient-dev",
    "ffi.h": "libffi-dev",
    "openssl/": "libssl-dev",
    "ldap.h": "libldap-dev",
    "lber.h": "libldap-dev",
    "sasl/": "libsasl2-dev",
    "libxml/": "libxml2-dev",
    "libxslt/": "libxslt1-dev",
    "jpeglib.h": "libjpeg-dev",
    "zlib.h": "zlib1g-dev",
    "yaml.h": "libyaml-dev",
    "magic.h": "libmagic-dev",
    "pcre.h": "libpcre3-dev",
    "curl/": "libcurl4-openssl-dev",
    "gssapi/": "libkrb5-dev",
    "sql.h": "unixodbc-dev",
}
_ADD = "add the Debian package that has it to the app's build_packages"
_OF_BUILDS: tuple[tuple[str, str], ...] = (
    (
        r"pg_config executable not found|pg_config is required|pg_config: not found",
        "pg_config is missing: write build_packages: [build-essential, libpq-dev, python3-dev] for the app",
    ),
    (
        r"mysql_config(?: not found|: not found)|Can not find valid pkg-config name",
        "MySQL's headers are missing: write build_packages: [build-essential, default-libmysqlclient-dev, pkg-config, "
        "python3-dev] for the app",
    ),
    *(
        (
            rf"fatal error: {re.escape(header)}\S*: No such file",
            f"a header is missing: add {package} to the app's build_packages",
        )
        for header, package in _HEADERS.items()
    ),
    (r"fatal error: (?P<name>\S+): No such file", f"the header NAME is missing: {_ADD}"),
    (_NO_COMPILER, "a compiler is missing: write build_packages: [build-essential, python3-dev] for the app"),
    (
        r"(?:rustc|cargo)[^\n]*(?:not found|is not installed|No such file)|can't find Rust compiler",
        "a compiler is missing: write build_packages: [build-essential, cargo] for the app",
    ),
    (r"cannot find -l(?P<name>[\w.+-]+)", f"the library NAME is missing: {_ADD}, most often libNAME-dev"),
    (
        r"pkg-config: not found|No such file or directory: 'pkg-config'|Did not find pkg-config",
        "pkg-config is missing: add pkg-config to the app's build_packages",
    ),
    (
        r"Package '?(?P<name>[\w.+-]+?)'?,? (?:was not found in the pkg-config|required by '\S+', not found)",
        f"NAME.pc is missing: {_ADD}",
    ),
    (
        r"CMake must be installed|No such file or directory: 'cmake'",
        "cmake is missing: add cmake to the app's build_packages",
    ),
    (r"Git executable not found", "git is missing: add git to the app's build_packages"),
    (
        r"Permission denied \(publickey|Host key verification failed|could not read (?:Username|Password) for",
        "a build has no credentials of git: name the requirement in the source's own files, or commit a lock that "
        "does, and the controller fetches it",
    ),
    (
        r"(?P<name>\S+): cannot open shared object file",
        "NAME is missing: add the Debian package that has it to the app's system_packages",
    ),
    (r"sh: \d+: (?P<name>\S+): not found", f"NAME is missing: {_ADD}"),
)


def _compiled(remedies: Iterable[tuple[str, str]]) -> tuple[tuple[re.Pattern[str], str], ...]:
    return tuple((re.compile(pattern, re.MULTILINE), fix) for pattern, fix in remedies)


_COMPILED = _compiled(_REMEDIES)
_COMPILED_OF_BUILDS = _compiled(_OF_BUILDS)

_ENVIRONMENT = re.compile(r"^KeyError: '(?P<name>[A-Z][A-Z0-9_]*)'$")
_REFUSED = re.compile(r"^(?:PermissionError|OSError): \[Errno (?:1|13)\] \S+ \S+(?: \S+)?$")

_REFUSED_CALL = re.compile(r"^PermissionError: \[Errno 1\]|^psutil\.AccessDenied")
# A lock that another process holds, or a socket without data, is told of by the same words.
_AGAIN = re.compile(r"^(?:BlockingIOError|OSError): \[Errno 11\]")
_FORK = re.compile(r"\b(?:os\.fork|_?fork_exec|Popen|start_new_thread)\(")
_PRIORITY_CALL = re.compile(r"\b(?:nice|ionice|setpriority|sched_\w+|cpu_affinity)\(")


def remedy(words: str, code: Iterable[str] = ()) -> str:
    """What to do about a failure; empty when its words are not known.

    Args:
        words: An exception's type and message, or what a program, the server or systemd said.
        code: The lines of code in the exception's traceback, which tell two causes of the same message apart.
    """
    lines = list(code)
    if (found := _ENVIRONMENT.match(words)) and any("environ" in line for line in lines):
        return f"give the app the variable {found['name']} in env or secrets"
    if _REFUSED.match(words) and any("mmap" in line or "mprotect" in line for line in lines):
        return _MACHINE_CODE
    if _AGAIN.match(words) and any(_FORK.search(line) for line in lines):
        return _TASKS
    if _REFUSED_CALL.match(words) and any(_PRIORITY_CALL.search(line) for line in lines):
        return _PRIORITY
    return _first(_COMPILED, words)


def build_remedy(words: str, packages: Iterable[str] = ()) -> str:
    """What to do about a build that failed; empty when what it printed is not known.

    Args:
        words: What the build printed.
        packages: Debian packages that the host has for it.
    """
    fix = _first(_COMPILED_OF_BUILDS, words)
    added = re.search(r"add (\S+) to the app's build_packages$|write build_packages: \[(.+)\] for the app$", fix)
    named = re.split(", ", added[1] or added[2]) if added else []
    if not named or set(named) - set(packages):
        return fix
    return (
        f"{fix.partition(':')[0]} although {' and '.join(named)} is there: name another Debian package that has it in "
        "the app's build_packages, or where to look, such as CFLAGS, in python.build_environment"
    )


def _first(remedies: Iterable[tuple[re.Pattern[str], str]], words: str) -> str:
    for pattern, fix in remedies:
        if found := pattern.search(words):
            return fix.replace("NAME", found.groupdict().get("name", "NAME"))
    return ""
