"""A build that attacks the host; the corpus is molecule/shared/hostile."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "shared" / "hostile"))

import projects

ATTACKS = (
    "writes to the system",
    "is root",
    "becomes root",
    "has capabilities",
    "makes namespaces",
    "reads another app",
    "writes to another app",
    "reads secrets of the host",
    "links to what it may not read",
    "sees other processes",
    "leaves a daemon behind",
    "starts a unit",
    "writes to the journal",
    "makes set-id files",
    "makes a device",
    "runs when Python starts",
    "closes what it wrote",
)


def test_hostile_build_reaches_nothing_and_is_served_like_any_other(play, apps, hosts, client, serving, tmp_path):
    attack = projects.together(*ATTACKS)
    probe = {
        "name": "probe",
        "source": {"path": str(projects.write_project(tmp_path / "probe", attack, "probe", "api"))},
        "entrypoint": "wsgi_probe:app",
        "domains": ["packed.{{ inventory_hostname }}.example.test"],
        "tls": "selfsigned",
    }
    run = play(wsgi_apps=[*apps.values(), probe])
    assert run.code == 0, run.output
    try:
        for host in hosts:
            host.run("test -s " + projects.LOOT.replace("{me}", "probe"))
            found = [fault for fault in projects.faults(attack, "probe", "api") if not host.try_(fault).returncode]
            assert not found, f"{host.name}: {found}"
            assert host.run("find /srv/probe/builds ! -uid 0 -o -perm /6000") == ""
            assert client.get(host.url("packed"), "--insecure").status == 200
        serving.as_before()
    finally:
        gone = play(wsgi_apps=[*apps.values(), {**probe, "state": "absent", "purge": True}])
    assert gone.code == 0, gone.output
