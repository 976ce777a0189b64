# SPDX-License-Identifier: GPL-3.0-or-later
"""What to do about causes that many apps share."""

from __future__ import annotations

import pytest
from ansible_collections.webops.wsgi.plugins.module_utils.failures.remedies import build_remedy, remedy

# What was said: words of the fix, none when it is not known.
WORDS = {
    "LLVM ERROR: Unable to allocate section memory!": "release_memory_deny_write_execute",
    "a.so: cannot enable executable stack as shared object requires: Permission denied": "deny_write_execute",
    "touch: cannot touch 'x': Read-only file system": "persistent",
    "PermissionError: [Errno 13] Permission denied": "",
    "PermissionError: [Errno 1] cannot allocate executable memory. This may be due to": "deny_write_execute",
    "ImportError: libpq.so.5: cannot open shared object file: No such file or directory": "that has libpq.so.5",
    "error: command 'gcc' failed: No such file or directory": "build-essential",
    "unable to execute 'x86_64-linux-gnu-gcc': No such file or directory": "build-essential",
    "/bin/sh: 1: gcc: not found": "build-essential",
    "/srv/api/releases/5/commands/celery: 3: exec: celery: not found": "install celery",
    "PermissionError: [Errno 13] Permission denied: '/srv/api/builds/1/src/app.log'": "persistent",
    "PermissionError: [Errno 13] Permission denied: 'app.log'": "persistent",
    "OSError: [Errno 30] Read-only file system: '/srv/api/releases/5/app/src/x'": "persistent",
    "OSError: [Errno 30] Read-only file system: '/srv/uploads'": "persistent",
    "OSError: [Errno 30] Read-only file system: '/srv/api/builds/1/venv/var'": "persistent: [instance]",
    "PermissionError: [Errno 13] Permission denied: '/srv/api/builds/1/src/instance'": "persistent: [instance]",
    "OSError: [Errno 30] Read-only file system: '/var/spool/api'": "add /var/spool/api to release_writable_paths",
    "sqlite3.OperationalError: attempt to write a readonly database": "persistent",
    "OSError: [Errno 97] Address family not supported by protocol": "AF_NETLINK",
    "nice: cannot set niceness: Operation not permitted": "release_nice",
    "ionice: ioprio_set failed: Operation not permitted": "release_unit_extra",
    "OSError: [Errno 24] Too many open files": "release_limit_nofile",
    "RuntimeError: can't start new thread": "release_tasks_max",
    "/bin/sh: 1: Cannot fork": "release_tasks_max",
    "bash: fork: retry: Resource temporarily unavailable": "release_tasks_max",
    "BlockingIOError: [Errno 11] Resource temporarily unavailable": "",
    "not healthy within 30 s: GET / got no answer: timed out": "release_health_timeout",
    "not healthy within 30 s: GET / answered 500, expected is 200": "",
    "FileNotFoundError: [Errno 2] No such file or directory: '/proc/meminfo'": "release_protect_proc",
    "PermissionError: [Errno 13] Permission denied: '/home/deploy/x'": "home directories",
    "OSError: [Errno 28] No space left on device": "make room",
    "Job for api@5.service failed because a timeout was exceeded.": "release_start_timeout",
    "api@5.service took longer to start than its settings allow (60 s)": "release_start_timeout",
    "before_activate failed: Job for x failed because a timeout was exceeded.": "release_hook_timeout",
    "PermissionError: [Errno 13] Permission denied: '/etc/shadow'": "",
    "PermissionError: [Errno 1] Operation not permitted: '/var/lib/api/x'": "",
    "TypeError: FastAPI.__call__() missing 1 required positional argument: 'send'": "interface: asgi",
    "TypeError: app:app is an ASGI app, and the app's interface is wsgi": "interface: asgi",
    "TypeError: app:app is a WSGI app, and the app's interface is asgi": "interface: wsgi",
    "TypeError: f() missing 1 required positional argument: 'sender'": "",
    "KeyError: 'name'": "",
    "ValueError": "",
}


@pytest.mark.parametrize("words", WORDS)
def test_fix(words: str) -> None:
    found = remedy(words)
    assert WORDS[words] in found
    assert bool(found) == bool(WORDS[words])


def test_a_process_that_cannot_be_started_is_told_from_a_lock_that_is_held() -> None:
    words = "BlockingIOError: [Errno 11] Resource temporarily unavailable"
    assert "release_tasks_max" in remedy(words, ["self.pid = _fork_exec(", "subprocess.Popen(command)"])
    assert "release_tasks_max" in remedy(words, ["pid = os.fork()"])
    assert remedy(words, ["fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)"]) == ""


def test_a_missing_key_is_a_variable_only_where_the_environment_is_read() -> None:
    assert "variable TOKEN" in remedy("KeyError: 'TOKEN'", ['token = os.environ["TOKEN"]'])
    assert remedy("KeyError: 'TOKEN'", ['token = settings["TOKEN"]']) == ""


def test_a_refused_call_is_about_machine_code_only_where_memory_is_mapped() -> None:
    words = "PermissionError: [Errno 13] Permission denied"
    assert "release_memory_deny_write_execute" in remedy(words, ["self.area = mmap.mmap(-1, size, prot=7)"])
    assert "deny_write_execute" not in remedy(words, ["os.setuid(0)"])


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("PermissionError: [Errno 1] Operation not permitted", "os.nice(5)"),
        ("PermissionError: [Errno 1] Operation not permitted", "os.sched_setaffinity(0, {0})"),
        ("psutil.AccessDenied: (pid=1672)", "psutil.Process().cpu_affinity([0])"),
    ],
)
def test_a_refused_call_is_about_priority_where_that_is_set(words: str, line: str) -> None:
    assert '"sched_setaffinity"]' in remedy(words, [line])
    assert "release_nice" not in remedy(words, ["os.setuid(0)"])


# What a build printed: words of the fix, none when it is not known.
BUILDS = {
    "fatal: could not read Username for 'https://git.example.com': terminal prompts disabled": "commit a lock that",
    "git@git.example.com: Permission denied (publickey).": "the controller fetches it",
    "Error: pg_config executable not found.\n\npg_config is required to build psycopg2": "libpq-dev, python3-dev]",
    "Exception: Can not find valid pkg-config name.": "default-libmysqlclient-dev",
    "x.c:1:10: fatal error: Python.h: No such file or directory\nerror: x": "add python3-dev",
    "a.h:5:10: fatal error: openssl/ssl.h: No such file or directory": "add libssl-dev to the app's build_packages",
    "a.h:5:10: fatal error: strange.h: No such file or directory": "the header strange.h is missing: add the Debian",
    "error: command 'x86_64-linux-gnu-gcc' failed: No such file or directory": "build_packages: [build-essential, ",
    "error: [Errno 2] No such file or directory: 'x86_64-linux-gnu-gcc'": "build_packages: [build-essential, ",
    "ERROR: Unknown compiler(s): [['cc'], ['gcc']]": "build_packages: [build-essential, ",
    "error: can't find Rust compiler": "[build-essential, cargo]",
    "/usr/bin/ld: cannot find -lxmlsec1: No such file": "the library xmlsec1 is missing",
    "Package cairo was not found in the pkg-config search path.": "cairo.pc is missing",
    "/bin/sh: 1: npm: not found": "npm is missing: add the Debian package that has it to the app's build_packages",
    "ImportError: libGL.so.1: cannot open shared object file: No such file": "system_packages",
    "SyntaxError: invalid syntax": "",
    "error: command '/usr/bin/gcc' failed with exit code 1": "",
}


def test_a_build_is_told_no_package_that_it_has() -> None:
    words = "a.c:1:10: fatal error: libpq-fe.h: No such file or directory"
    assert "add libpq-dev" in build_remedy(words, ["gcc"])
    fix = build_remedy(words, ["gcc", "libpq-dev"])
    assert fix.startswith("a header is missing although libpq-dev is there: name another")
    assert "python.build_environment" in fix
    compiler = "error: command 'gcc' failed: No such file or directory"
    assert "build-essential" in build_remedy(compiler, ["python3-dev"])


@pytest.mark.parametrize("words", BUILDS)
def test_a_build_is_told_which_key_to_write(words: str) -> None:
    assert BUILDS[words] in build_remedy(words)
    assert bool(build_remedy(words)) == bool(BUILDS[words])
