"""A build that attacks the host it is made on; its attacks are listed in apps/poison/attacks.py."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

LIST = Path(__file__).parents[1] / "apps/poison/attacks.py"


def test_a_hostile_build_reaches_nothing(host, client):
    told = client.get(host.url("poison"), "--insecure")
    assert told.status == 200, f"{host.name}: the app does not serve: {told.status} {told.body}"
    found = []
    for name, _command, reach, *seen in _attacks():
        done = told.json[name]
        planted = re.search("planted-in-[a-z]+", done["output"])
        there = host.try_(seen[0]).returncode == 0 if seen else done["code"] == 0
        if there or planted:
            found.append(f"{name}: reached {reach}: {done['output'].strip()[:80]!r}")
    assert not found, f"{host.name}: {len(found)} of {len(told.json)} attacks got there:\n" + "\n".join(found)


def test_victim_is_unharmed(victim):
    victim.unharmed()
    victim.bystanders()


def _attacks():
    spec = importlib.util.spec_from_file_location("attacks", LIST)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.ATTACKS
