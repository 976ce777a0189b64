# SPDX-License-Identifier: GPL-3.0-or-later
"""The look through the proxy after the switch."""

from __future__ import annotations

import dataclasses

import pytest
from ansible_collections.webops.wsgi.plugins.module_utils.release import health, layout
from ansible_collections.webops.wsgi.plugins.module_utils.release import proxy as release_proxy
from fake_systemd import APP, FakeSystemd, desired, run, serving

GOOD, REFUSED = health.Answer("", 200), health.Answer("GET / got no answer: refused", 0)
BROKEN, LOGIN = health.Answer("GET / answered 502", 502), health.Answer("GET / answered 401", 401)
MAINTAINED = health.Answer("GET / answered 503", 503, True)


@pytest.mark.parametrize(
    ("before", "after", "required", "fault"),
    [
        (GOOD, GOOD, True, False),
        (GOOD, BROKEN, False, True),
        (GOOD, REFUSED, False, True),
        (GOOD, LOGIN, False, True),
        (LOGIN, LOGIN, True, False),
        (MAINTAINED, MAINTAINED, True, False),
        (BROKEN, GOOD, True, False),
        (BROKEN, BROKEN, False, False),
        (BROKEN, BROKEN, True, True),
        (REFUSED, REFUSED, False, False),
        (REFUSED, REFUSED, True, True),
    ],
)
def test_answers_through_the_proxy(before: health.Answer, after: health.Answer, required: bool, fault: bool) -> None:
    assert bool(release_proxy.fault_of_switch(before, after, required)) == fault


def test_a_release_that_clients_do_not_get_to_is_taken_back(
    paths: layout.Paths, systemd: FakeSystemd, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(paths, systemd, desired())
    paths.sites.mkdir()
    (paths.sites / f"{APP}.conf").write_text("server {\n    server_name www.example.com api.example.com;\n}\n")
    answers = iter([GOOD, BROKEN])
    asked = []
    monkeypatch.setattr(
        release_proxy.probe,
        "ask_through_proxy",
        lambda port, name, _: (asked.append((port, name)), next(answers))[1],
    )
    proxy = release_proxy.Proxy(("new.example.com", "api.example.com"), http_port=8080, https_port=8443)
    _step, failures = run(paths, systemd, desired(environment="2", proxy=proxy))
    assert "healthy on its own socket, but not through nginx: GET / answered 502" in failures[0]
    assert asked == [(8443, "api.example.com")] * 2
    assert serving(paths) == "1"


@pytest.mark.parametrize(("served", "asked"), [("*.example.com", ["wildcard.example.com"]), ("example.com", [])])
def test_a_wildcard_is_asked_by_a_name_below_it(
    paths: layout.Paths, systemd: FakeSystemd, monkeypatch: pytest.MonkeyPatch, served: str, asked: list[str]
) -> None:
    paths.sites.mkdir()
    (paths.sites / f"{APP}.conf").write_text(f"server {{\nserver_name {served};\n}}")
    seen: list[str] = []
    monkeypatch.setattr(
        release_proxy.probe, "ask_through_proxy", lambda _port, name, _check: (seen.append(name), GOOD)[1]
    )
    _step, failures = run(paths, systemd, desired(proxy=release_proxy.Proxy(("*.example.com",))))
    assert (failures, sorted(set(seen))) == ([], asked)


@pytest.mark.parametrize(
    ("block", "mount", "asked"),
    [
        (
            "server_name example.com;\ninclude wsgi/mounts/web/*.conf;",
            'location ^~ "/admin/" {',
            ["/admin/healthz"] * 2,
        ),
        ("server_name example.com;\ninclude wsgi/mounts/web/*.conf;", 'location ^~ "/adm/" {', []),
        ("server_name example.com;", 'location ^~ "/admin/" {', []),
        ("server_name example.com;\ninclude wsgi/mounts/web/*.conf;", "", []),
    ],
    ids=["there", "at another path", "not in the block", "not yet"],
)
def test_an_app_below_a_path_is_asked_there(
    paths: layout.Paths,
    systemd: FakeSystemd,
    monkeypatch: pytest.MonkeyPatch,
    block: str,
    mount: str,
    asked: list[str],
) -> None:
    for folder, name, text in ((paths.sites, "web", f"server {{\n{block}\n}}"), (paths.mounts / "web", APP, mount)):
        folder.mkdir(parents=True)
        (folder / f"{name}.conf").write_text(text)
    seen: list[str] = []
    monkeypatch.setattr(
        release_proxy.probe, "ask_through_proxy", lambda _port, _name, check: (seen.append(check.path), GOOD)[1]
    )
    proxy = release_proxy.Proxy(("example.com",), "web", "/admin")
    check = dataclasses.replace(desired().health, path="/healthz")
    _step, failures = run(paths, systemd, desired(proxy=proxy, health=check))
    assert (failures, seen) == ([], asked)
