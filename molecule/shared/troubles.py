"""Releases that are bad, in each way that there is: changes of an app of `deploy/app`, and words of the message."""

from __future__ import annotations

from typing import Any

# Seconds that gunicorn gives its workers when it is asked to end: more than a run takes on the busiest machine.
GRACEFUL = 1800

# What is wrong: the change, and words of the message.
TROUBLE: dict[str, tuple[dict[str, Any], list[str]]] = {
    "cannot be imported": ({"env": {"TROUBLE": "import"}}, ["No module named 'no_such_module'", "app's requirements"]),
    "boots too slowly": (
        {"env": {"TROUBLE": "slow boot"}, "release": {"start_timeout": 3}, "gunicorn": {"preload": True}},
        ["release_start_timeout"],  # found out by systemd on a busy machine
    ),
    "imports too slowly": (
        {"env": {"TROUBLE": "slow boot"}, "release": {"health_timeout": 4}},
        ["not healthy within 4 s"],
    ),
    "ends at once": ({"env": {"TROUBLE": "exits"}}, ["{app}@"]),
    "answers 500": (
        {"env": {"TROUBLE": "500"}, "release": {"health_timeout": 20}},
        ["not healthy within 20 s", "answered 500"],
    ),
    "never answers": (
        {
            "env": {"TROUBLE": "mute"},
            "release": {"health_timeout": 3},
            "gunicorn": {"graceful_timeout": GRACEFUL},
        },
        ["not healthy within 3 s"],
    ),
    "ends after a while": (
        {"env": {"TROUBLE": "crash"}, "release": {"bake": 6, "restart_sec": 1}},
        ["exited unexpectedly"],
    ),
    "a failing hook": (
        {"release": {"before_activate": "echo no such table; false"}},
        ["before_activate failed", "no such table"],
    ),
    "a hook without an end": (
        {"release": {"before_activate": "sleep 600", "hook_timeout": 2}},
        ["before_activate failed", "timeout"],
    ),
    "a failing hook afterwards": (
        {"release": {"after_activate": "printf 'caf\\351: cache is cold\\n'; false"}},  # a byte that is no UTF-8
        ["after_activate failed", "cache is cold"],
    ),
    "a worker that ends": (
        # On a busy machine it takes some time to find that out.
        {
            "workers": [{"name": "celery", "command": "celery --app no_such_module worker"}],
            "release": {"worker_settle": 20},
        },
        ["{app}.celery@", "exited unexpectedly", "no_such_module"],
    ),
    "a worker that is no program": (
        {"workers": [{"name": "celery", "command": "no-such-program"}]},
        ["{app}.celery@", "exited unexpectedly", "no-such-program: not found"],
    ),
}
