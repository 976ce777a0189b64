"""Apps whose sources are not one directory with one file of requirements."""

from __future__ import annotations

import json


def test_app_of_a_monorepo_has_what_the_lock_of_its_workspace_says(host, client):
    answer = client.get(host.url("shop"))
    assert json.loads(answer.body) == {"total": 21, "bottle": "0.13.2"}


def test_the_run_and_the_build_say_which_file_decided(host):
    build = json.loads(host.run("cat /srv/shop/current/app/build.json"))
    assert build["requirements"] == "../../uv.lock"
