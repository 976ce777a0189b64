"""Deployments under load, broken releases, and one app that goes from server to server."""

from __future__ import annotations

from typing import Any

# A deployment of eleven apps at once is work for both processors: one host has three of them, the others one.
WHOLE = "d13"
DEPLOYMENTS = {WHOLE: 3}
KINDS = "get,get,get-new,post,post-new,slow,stream"
# What an entry of the inventory says of its server, beside what belongs to the app and its place.
PLACE = {"name", "path", "below", "domains", "nginx"}


def test_deployments_lose_nothing(on_all, apps, play, all_under_load, nothing_failed):
    def through(host: Any) -> None:
        before = {name: host.release(name) for name in apps}
        with all_under_load(host, list(apps), KINDS) as told:
            for number in range(DEPLOYMENTS.get(host.name, 1)):
                wanted = [{**app, "env": {"CHANGE": str(number)}} for app in apps.values()]
                run = play("--limit", host.name, playbook="deploy", wsgi_apps=wanted)
                assert run.code == 0, run.output[-6000:]
        print(host.name, nothing_failed(told), "requests")
        for name in apps:
            assert int(host.release(name)) == int(before[name]) + DEPLOYMENTS.get(host.name, 1)

    on_all(through)


def test_a_broken_release_is_refused_with_its_cause(on_all, apps, play, ask):
    def through(host: Any) -> None:
        before = {name: host.release(name) for name in apps}
        wanted = [{**app, "env": {"TROUBLE": "import"}} for app in apps.values()]
        run = play("--limit", host.name, playbook="deploy", wsgi_apps=wanted)
        assert run.code != 0, run.output[-6000:]
        for name, app in apps.items():
            begin = run.output.find(f'app "{name}": ')
            assert begin >= 0, f"{name} is not told of: {run.output[-6000:]}"
            first = run.output[begin:].splitlines()[0]
            assert "in trouble on purpose" in first, f"the cause does not come first for {name}: {first}"
            assert host.instance(name).removesuffix(".service") == f"{name}@{before[name]}"
            assert ask(host, name).json["release"] == before[name]
            assert app["env"] == {"TROUBLE": ""}

    on_all(through)


def test_an_app_goes_from_server_to_server(hosts, apps, play, all_under_load, nothing_failed, ask):
    host = next(host for host in hosts if host.name == WHOLE)
    front = {key: apps["front"][key] for key in PLACE & set(apps["front"])}
    ways = [name for name in apps if name != "front"]

    with all_under_load(host, ["front"], f"{KINDS},upload") as told:
        for way in [*ways, ways[0]]:
            moved = {**{key: value for key, value in apps[way].items() if key not in PLACE}, **front}
            run = play("--limit", host.name, playbook="deploy", wsgi_apps=[moved])
            assert run.code == 0, f"to {way}: {run.output[-6000:]}"
            assert ask(host, "front").json["release"] == host.release("front")
    nothing_failed(told)
