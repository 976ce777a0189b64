# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host cannot give to an app is that app's failure."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.webops.wsgi.plugins.action.app_certificates import Call, signature
from ansible_collections.webops.wsgi.plugins.action.host_state import ActionModule
from ansible_collections.webops.wsgi.plugins.plugin_utils.app_failures import ReportedError

TAKEN = 'app "api": listen is 127.0.0.1:8000, and redis has that port'


def run(
    monkeypatch: pytest.MonkeyPatch, returned: dict[str, Any], certificates: Any = None, **variables: Any
) -> dict[str, Any]:
    monkeypatch.setattr(ActionBase, "run", lambda *_arguments: {})
    action = ActionModule.__new__(ActionModule)
    action._templar = SimpleNamespace(template=lambda value: value)
    action._loader, action._task = SimpleNamespace(), SimpleNamespace(args={"certificates": certificates or {}})
    monkeypatch.setattr(action, "_execute_module", lambda **_options: returned, raising=False)
    return action.run(task_vars={"inventory_hostname": "h1", "ansible_facts": {"wsgi_failed": {}}, **variables})


def test_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(monkeypatch, {"release": "13", "failures": [TAKEN]}, __wsgi_failures="collect")
    assert result == {
        "release": "13",
        "ansible_facts": {"wsgi_failed": {"api": TAKEN}},
        "certificates_in_place": {},
    }


def test_calls_of_app_certificates_that_would_find_nothing_to_do_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    apps = [{"name": "api", "tls": "selfsigned", "domains": ["api.example.com"], "secrets": {"A": "b"}}]
    common = {"timer": "certbot.timer", "certbot": "certbot"}
    found = run(monkeypatch, {"certificates_settled": True}, common, __wsgi_apps=apps)["certificates_in_place"]
    call = Call(SimpleNamespace(_loader=None), {"__wsgi_apps": apps})
    issued = {"ensure": "issued", "options": common, "nginx_reloads": True, "in_place": found}
    assert signature(call.options(issued)) == found["issued"]
    assert signature(call.options({"ensure": "placeholder", "webroot": "/elsewhere"})) == found["placeholder"]
    assert signature(call.options({**issued, "timer": ""})) != found["issued"]
    fewer = Call(SimpleNamespace(_loader=None), {"__wsgi_apps": []})
    assert signature(fewer.options(issued)) != found["issued"]
    assert run(monkeypatch, {"certificates_settled": False}, common, __wsgi_apps=apps)["certificates_in_place"] == {}


def test_apps_that_the_inventory_does_not_name_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    (told,) = run(monkeypatch, {"orphans": ["blog", "shop"]})["warnings"]
    for words in ("h1 still has blog, shop", "wsgi_apps", '"state: absent"'):
        assert words in told
    assert "warnings" not in run(monkeypatch, {"orphans": []})
    assert "warnings" not in run(monkeypatch, {"orphans": ["blog"]}, __wsgi_apps=[{"name": "blog"}, {"name": "api"}])


def test_an_app_that_lives_on_other_hosts_now_is_reported_with_the_way_to_remove_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (told,) = run(monkeypatch, {"orphans": ["blog"]}, __wsgi_settings={"elsewhere": ["blog", "shop"]})["warnings"]
    absent = '{"wsgi_apps": [{"name": "blog", "state": "absent"}]}'
    for words in ("h1 still has blog", '"hosts:"', f"--limit h1 -e '{absent}'"):
        assert words in told


def test_a_play_that_ends_at_the_first_failure_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ReportedError, match="redis has that port"):
        run(monkeypatch, {"release": "13", "failures": [TAKEN]})


def test_a_host_that_cannot_serve_at_all_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(monkeypatch, {"failed": True, "msg": "port 80 is taken by apache2"}, __wsgi_failures="collect")
    assert result["failed"]
    assert result["msg"] == "port 80 is taken by apache2"


def test_a_sudo_that_wants_a_terminal_is_told_from_a_module_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    returned = {
        "failed": True,
        "msg": "Module result deserialization failed: No start of json char found",
        "module_stderr": "sudo: sorry, you must have a tty to run sudo\n",
    }
    with pytest.raises(AnsibleActionFail, match=r"sudo on h1 wants a terminal.*ansible_ssh_pipelining: false for"):
        run(monkeypatch, returned, __wsgi_failures="collect")
