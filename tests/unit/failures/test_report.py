# SPDX-License-Identifier: GPL-3.0-or-later
"""What a failed release says first, from journals as hosts with Debian 12 and 13 wrote them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ansible_collections.webops.wsgi.plugins.module_utils.failures import faults as failure_faults
from ansible_collections.webops.wsgi.plugins.module_utils.failures import journal as failure_journal
from ansible_collections.webops.wsgi.plugins.module_utils.failures.report import Failure, report
from ansible_collections.webops.wsgi.plugins.module_utils.managers.model import Log
from ansible_collections.webops.wsgi.plugins.plugin_utils.servers.model import server

LOG = server("gunicorn").log
JOURNALS = Path(__file__).parent / "journals"
STATE = "release 5 (source) was not activated, release 4 still serves"
ENDED = "trouble@5.service exited unexpectedly"
HOOK = (
    "before_activate failed: Job for trouble.before-activate@5.service failed because the control process exited with "
    'error code.\nSee "systemctl status trouble.before-activate@5.service" and "journalctl -xeu '
    'trouble.before-activate@5.service" for details.'
)
HOOK_ENDED = "before_activate failed: trouble.before-activate@5.service exited with an error"
MACHINE_CODE = "release_memory_deny_write_execute to false"

# Journal: the first line after the app's name, the further lines before the state, words of the fix.
TRACEBACKS: dict[str, tuple[str, list[str], str]] = {
    "two_workers_missing_module": (
        "ModuleNotFoundError: No module named 'no_such_module'",
        ['trouble.py:10 in <module>: if T == "module": import no_such_module'],
        "the package that has the module no_such_module to the app's requirements",
    ),
    **dict.fromkeys(
        ("sync_missing_file", "preload_missing_file", "gevent_missing_file"),
        (
            "FileNotFoundError: [Errno 2] No such file or directory: '/var/lib/x/settings.cfg'",
            ["in <module>: if T ==", 'in load_settings: with open("/var/lib/x/settings.cfg") as f:'],
            "",
        ),
    ),
    "missing_variable": ("KeyError: 'DATABASE_URL'", ["trouble.py:13 in <module>"], "variable DATABASE_URL in env"),
    "syntax_error": (
        "SyntaxError: invalid syntax",
        ["trouble.py:12 in <module>", "broken_syntax.py:1: def f(:"],
        "",
    ),
    "django_not_configured": (
        "django.core.exceptions.ImproperlyConfigured: 'django.db.backends.nosuch' isn't an available database backend",
        [
            "'mysql', 'oracle', 'postgresql', 'sqlite3'",
            "trouble.py:",
            "caused by ModuleNotFoundError",
            "django/db/utils.py",
        ],
        "",
    ),
    "missing_library": (
        "OSError: libnosuch.so.5: cannot open shared object file: No such file or directory",
        ["trouble.py:18 in <module>"],
        "the Debian package that has libnosuch.so.5",
    ),
    "memory_error": ("MemoryError", ["in <module>: "], "release_memory_max"),
    "machine_code_12": ("PermissionError: [Errno 1] Operation not permitted", ["mmap.mmap(-1"], MACHINE_CODE),
    "machine_code_13": ("PermissionError: [Errno 13] Permission denied", ["mmap.mmap(-1"], MACHINE_CODE),
    "chained": (
        "RuntimeError: cannot configure",
        ["second line of it", "trouble.py:46 in <module>", "caused by KeyError: 'a'", "trouble.py:44 in <module>"],
        "",
    ),
    "exception_group": (
        "ExceptionGroup: many (2 sub-exceptions)",
        ["ValueError: 1", "TypeError: x", "trouble.py:51 in <module>"],
        "",
    ),
    "write_beside_code": (
        "OSError: [Errno 30] Read-only file system: 'cache.db'",
        ['trouble.py:26 in <module>: if T == "writecode": open("cache.db", "w")'],
        "a directory that persistent names, or below /var/lib/trouble",
    ),
    "write_elsewhere": (
        "OSError: [Errno 30] Read-only file system: '/opt/x'",
        ["trouble.py:28 in <module>"],
        "add /opt/x to release_writable_paths",
    ),
    "sqlite_read_only": ("sqlite3.OperationalError: unable to open database file", ["in <module>: "], "persistent"),
    "address_in_use": ("OSError: [Errno 98] Address already in use", ["trouble.py:32"], "choose another one"),
    "refused_call": (
        "PermissionError: [Errno 1] Operation not permitted",
        ["os.setuid(0)"],
        "release_system_call_filter",
    ),
}

# Journal, named after its server: the first line after the app's name, one more, words of the fix.
OF_OTHER_SERVERS: dict[str, tuple[str, str, str]] = {
    **dict.fromkeys(
        ("uvicorn_asgi_start", "granian_asgi_start", "gunicorn_asgi_start"),
        ("ConnectionError: no database at db.example.com", "trouble.py:13 in life: ", ""),
    ),
    **dict.fromkeys(
        ("uvicorn_asgi_request", "granian_asgi_request", "gunicorn_asgi_request"),
        ("ConnectionError: no database at db.example.com", "trouble.py:16 in health: ", ""),
    ),
    "granian_wsgi_module": (
        "ModuleNotFoundError: No module named 'no_such_module'",
        "trouble.py:8 in <module>: ",
        "the module no_such_module",
    ),
    "uvicorn_asgi_other": (
        "TypeError: trouble:wsgi is a WSGI app, and the app's interface is asgi",
        "",
        "write interface: wsgi",
    ),
    "granian_wsgi_other": (
        "TypeError: trouble:app is an ASGI app, and the app's interface is wsgi",
        "",
        "write interface: asgi",
    ),
}

# Journal: why the release was given up, the first line after the app's name, words of the fix.
OTHERS: dict[str, tuple[str, str, str]] = {
    "worker_segfault": ("not healthy within 5 s", "a worker was ended by SIGSEGV (15 times)", MACHINE_CODE),
    "worker_sigsys": (
        "not healthy within 5 s",
        "a worker was ended by SIGSYS (16 times)",
        "release_system_call_filter",
    ),
    "worker_sigkill": ("not healthy within 5 s", "a worker was ended by SIGKILL (", "release_memory_max"),
    "worker_timeout": (
        "not healthy within 4 s",
        "a worker exceeded the server's time limit for a request",
        "gunicorn_timeout",
    ),
    "preload_segfault": (
        "Job for trouble@5.service failed because a fatal signal was delivered to the control process.",
        "the process was ended by SIGSEGV",
        MACHINE_CODE,
    ),
    "exit_with_words": (ENDED, f"{ENDED}: please set API_KEY", ""),
    "preload_exit_with_words": (
        "Job for trouble@5.service failed because the control process exited with error code.",
        "trouble@5.service exited with an error: please set API_KEY",
        "",
    ),
    "exit_without_words": (ENDED, f"{ENDED}: Worker exited with code 3.", ""),
    "no_such_callable": (ENDED, f"{ENDED}: Failed to find attribute 'app' in 'trouble'.", "entrypoint"),
    "health_timeout": (
        "not healthy within 4 s: GET / got no answer: timed out",
        "not healthy within 4 s: GET / got no answer: timed out",
        "release_health_timeout",
    ),
    "missing_writable_path": (
        "Job for trouble@5.service failed because the control process exited with error code.",
        "/srv/nosuch is not there, and the app's unit names it",
        "create it, or take it out of release_writable_paths",
    ),
    "hook_usage": (
        HOOK,
        f"{HOOK_ENDED}: Error: No such command 'nosuch'.",
        "",
    ),
    "hook_missing_module": (HOOK, "ModuleNotFoundError: No module named 'nosuch'", "requirements"),
    "hook_sigsys": (HOOK, "the command was ended by SIGSYS", "release_system_call_filter"),
    "hook_timeout": (
        "before_activate failed: Job for trouble.before-activate@5.service failed because a timeout was exceeded.",
        "before_activate failed: Job for trouble.before-activate@5.service failed because a timeout was exceeded.",
        "release_hook_timeout",
    ),
    "worker_no_program": (
        "trouble.celery@5.service exited unexpectedly",
        "trouble.celery@5.service exited unexpectedly: /srv/trouble/releases/21/commands/celery: ",
        "install celery",
    ),
    "beside_segfault": (
        "trouble.celery@5.service exited unexpectedly",
        "the process was ended by SIGSEGV",
        MACHINE_CODE,
    ),
}


def journal(name: str) -> str:
    return (JOURNALS / f"{name}.txt").read_text(encoding="utf-8")


def told(unit: str, text: str, own: bool = True) -> Log:
    return Log(unit, text, f"journalctl -u {unit.removesuffix('.service')} -n 200", own)


def message(name: str, reason: str = ENDED, unit: str = "trouble@5.service") -> list[str]:
    return report(Failure("trouble", STATE, reason, told(unit, journal(name)), "web1", LOG)).splitlines()


def fix_of(lines: list[str]) -> str:
    return next((line.removeprefix("Fix: ") for line in lines if line.startswith("Fix: ")), "")


@pytest.mark.parametrize("name", OF_OTHER_SERVERS)
def test_the_cause_comes_first_under_other_servers(name: str) -> None:
    cause, place, fix = OF_OTHER_SERVERS[name]
    log = server(name.partition("_")[0]).log
    failure = Failure("trouble", STATE, ENDED, told("trouble@5.service", journal(name)), "web1", log)
    lines = report(failure).splitlines()
    assert lines[0] == f'app "trouble": {cause}'
    assert place in lines[1]
    assert fix in fix_of(lines)


@pytest.mark.parametrize("name", TRACEBACKS)
def test_the_cause_comes_first_and_then_the_app_s_own_frames_once(name: str) -> None:
    cause, details, fix = TRACEBACKS[name]
    lines = message(name)
    assert lines[0].startswith(f'app "trouble": {cause}')
    shown = [line for line in lines if line.startswith("  ")]
    assert len(shown) == len(details)
    for line, words in zip(shown, details, strict=True):
        assert words in line
    assert fix in fix_of(lines)
    assert bool(fix) == bool(fix_of(lines))
    assert lines[-2] == f"{STATE}: {ENDED}"


@pytest.mark.parametrize("name", OTHERS)
def test_without_a_traceback_the_signal_or_the_last_words_come_first(name: str) -> None:
    reason, cause, fix = OTHERS[name]
    lines = message(name, reason)
    assert lines[0].startswith(f'app "trouble": {cause}')
    assert fix in fix_of(lines)
    assert bool(fix) == bool(fix_of(lines))


def test_of_workers_that_end_again_and_again_the_last_words_come_first() -> None:
    """As those of an app that calls sys.exit when it is imported: the server goes on starting others."""
    reason = "not healthy within 4 s: GET / got no answer: timed out"
    assert message("exit_with_words", reason)[0] == f'app "trouble": {reason}: please set API_KEY'


@pytest.mark.parametrize("name", sorted(path.stem for path in JOURNALS.iterdir()))
def test_every_message_is_short_and_says_where_the_rest_is(name: str) -> None:
    lines = message(name)
    assert len(lines) <= 16
    assert lines[-1] == "Read the rest on web1: journalctl -u trouble@5 -n 200"
    assert STATE in lines[-2]
    text = "\n".join(lines)
    for noise in ("importlib", "gunicorn/", "Traceback", "systemd", "[INFO]", "HaltServer", "See "):
        assert noise not in text
    assert len([line for line in lines if line in lines[0]]) == 1


def test_each_journal_is_looked_at() -> None:
    requests = {"requests_machine_code_12", "requests_machine_code_13"}
    assert {path.stem for path in JOURNALS.iterdir()} == {*TRACEBACKS, *OTHERS, *OF_OTHER_SERVERS, *requests}


def test_a_program_that_was_told_to_end_while_it_imported_the_app_is_not_the_cause() -> None:
    told = 'Traceback (most recent call last):\n  File "{}", line 1, in <module>\n    import app\n{}\n'
    own = "/srv/trouble/releases/5/app/src/trouble.py"
    text = told.format(own, "RuntimeError: no database") + told.format(own, "KeyboardInterrupt")
    log = Log("trouble@5.service", text, "journalctl -u trouble@5 -n 200")
    assert report(Failure("trouble", STATE, ENDED, log)).startswith('app "trouble": RuntimeError: no database\n')


@pytest.mark.parametrize("after", ["", "trouble@5.service: Main process exited, code=exited, status=22/n/a\n"])
def test_a_traceback_that_was_cut_off_is_not_the_cause(after: str) -> None:
    header, frame = "Traceback (most recent call last):", '  File "/srv/trouble/releases/5/app/src/trouble.py", line 1'
    text = f"{header}\n{frame}\n{after}{header}\n{frame}\nRuntimeError: no database\n{header}\n{frame}\n{after}"
    log = Log("trouble@5.service", text, "journalctl -u trouble@5 -n 200")
    assert report(Failure("trouble", STATE, ENDED, log)).startswith('app "trouble": RuntimeError: no database\n')


def test_a_time_limit_shows_where_the_worker_was() -> None:
    assert 'in index: if T == "timeout": time.sleep(100)' in message("worker_timeout")[1]


def test_the_journal_of_another_unit_does_not_tell_what_ended_the_app() -> None:
    killed = "nginx.service: Main process exited, code=killed, status=9/KILL"
    reason = "healthy on its own socket, but not through nginx: answered 502"
    lines = report(Failure("trouble", STATE, reason, told("nginx.service", killed, own=False), log=LOG)).splitlines()
    assert lines == [f'app "trouble": {reason}', STATE, "Read the rest: journalctl -u nginx -n 200"]


@pytest.mark.parametrize("text", ["", "\n", "Traceback (most recent call last):", journal("chained")[:2000]])
def test_a_journal_that_is_cut_off_loses_no_message(text: str) -> None:
    lines = report(Failure("trouble", STATE, ENDED, told("trouble@5.service", text), log=LOG)).splitlines()
    assert lines[0].startswith('app "trouble": ')


def test_an_app_that_is_a_package_shows_the_last_frames_that_are_not_the_server_s() -> None:
    site = "/srv/trouble/releases/5/app/venv/lib/python3.13/site-packages"
    places = ("gunicorn/util.py", "a/__init__.py", "a/b.py", "a/c.py", "a/d.py")
    frames = [f'  File "{site}/{place}", line {line}, in f' for line, place in enumerate(places)]
    text = "\n".join(["Traceback (most recent call last):", *frames, "ValueError"])
    lines = report(Failure("trouble", STATE, ENDED, told("trouble@5.service", text), log=LOG)).splitlines()
    assert lines[1:4] == ["  a/b.py:2 in f", "  a/c.py:3 in f", "  a/d.py:4 in f"]


def test_files_that_a_release_has_for_its_server_are_not_the_app_s_frames() -> None:
    places = ("releases/5/etc/behind_proxy.py", "releases/5/app/src/app.py")
    frames = [f'  File "/srv/trouble/{place}", line {line}, in f' for line, place in enumerate(places)]
    text = "\n".join(["Traceback (most recent call last):", *frames, "ValueError"])
    lines = report(Failure("trouble", STATE, ENDED, told("trouble@5.service", text), log=LOG)).splitlines()
    assert lines[1:3] == ["  app.py:1 in f", f"{STATE}: {ENDED}"]


def test_lines_that_workers_repeat_are_shown_once_and_only_the_last_ones() -> None:
    text = "\n".join([*(f"line {number}" for number in range(20)), "same", "same"])
    lines = report(Failure("trouble", STATE, "not healthy", told("trouble@5.service", text), log=LOG)).splitlines()
    assert lines[1:-2] == [*(f"  line {number}" for number in range(11, 20)), "  same"]


@pytest.mark.parametrize(("release", "error"), [("12", "[Errno 1]"), ("13", "[Errno 13]")])
def test_a_lazy_import_that_makes_machine_code_is_a_fault_of_the_app_that_runs(release: str, error: str) -> None:
    found = failure_faults.faults(journal(f"requests_machine_code_{release}"), LOG)
    assert [fault.text.split(": ")[0] for fault in found] == ["PermissionError", "MemoryError", "PermissionError"]
    assert error in found[0].text
    assert all(MACHINE_CODE in fault.fix for fault in found)


def test_what_was_ended_for_want_of_memory_is_named_so() -> None:
    """As systemd writes it where the kernel enforces MemoryMax."""
    text = "api@5.service: A process of this unit has been killed by the OOM killer."
    (alone,) = failure_faults.deaths(text, LOG)
    assert str(alone) == "a process was ended by SIGKILL because memory ran out"
    (worker,) = failure_faults.deaths(f"{text}\n{journal('worker_sigkill')}", LOG)
    assert re.fullmatch(r"a worker was ended by SIGKILL because memory ran out \(\d times\)", str(worker))
    assert "release_memory_max" in worker.fix


@pytest.mark.parametrize("name", ["two_workers_missing_module", "health_timeout", "hook_timeout", "exit_with_words"])
def test_what_is_stopped_in_good_order_is_no_fault(name: str) -> None:
    assert failure_faults.deaths(journal(name), LOG) == []


def test_lines_of_the_app_are_kept_apart_from_those_of_the_server_and_of_systemd() -> None:
    contents = failure_journal.read(journal("exit_with_words"), LOG)
    assert set(contents.own) == {"please set API_KEY"}
    assert set(contents.server) == {"Worker exited with code 1."}
    assert contents.tracebacks == []


@pytest.mark.parametrize(
    ("said", "first"),
    [
        ("terminated by SIGSEGV; not expected", "the process was ended by SIGSEGV"),
        ("exit status 139; not expected", "the command was ended by SIGSEGV"),
        ("exit status 3; not expected", f"{ENDED}: the last word"),
    ],
)
def test_what_supervisord_says_of_a_process_that_ended(said: str, first: str) -> None:
    text = f"the last word\nsupervisord: exited: trouble@5 ({said})\n"
    lines = report(Failure("trouble", STATE, ENDED, told("trouble@5", text), log=LOG)).splitlines()
    assert lines[0] == f'app "trouble": {first}'
