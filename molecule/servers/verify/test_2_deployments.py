"""Deployments under load, broken releases, and one app that goes from server to server."""

from __future__ import annotations

from typing import Any

DEPLOYMENTS = 3
ENOUGH = 10_000  # requests on all hosts
KINDS = "get,get,get-new,post,post-new,slow,stream"
# What an entry of the inventory says of its server, beside what belongs to the app and its place.
PLACE = {"name", "path", "below", "domains", "nginx"}


def test_deployments_lose_nothing(on_all, apps, play, all_under_load, nothing_failed):
    asked: dict[str, int] = {}

    def through(host: Any) -> None:
        before = {name: host.release(name) for name in apps}
        with all_under_load(host, list(apps), KINDS) as told:
            for number in range(DEPLOYMENTS):
                wanted = [{**app, "env": {"CHANGE": str(number)}} for app in apps.values()]
                run = play("--limit", host.name, playbook="deploy", wsgi_apps=wanted)
                assert run.code == 0, run.output[-6000:]
        asked[host.name] = nothing_failed(told)
        for name in apps:
            assert int(host.release(name)) == int(before[name]) + DEPLOYMENTS

    on_all(through)
    print(asked)
    assert sum(asked.values()) >= ENOUGH, asked


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


def test_an_app_goes_from_server_to_server(on_all, apps, play, all_under_load, nothing_failed, ask):
    front = {key: apps["front"][key] for key in PLACE & set(apps["front"])}
    ways = [name for name in apps if name != "front"]

    def through(host: Any) -> None:
        with all_under_load(host, ["front"], f"{KINDS},upload") as told:
            for way in [*ways, ways[0]]:
                moved = {**{key: value for key, value in apps[way].items() if key not in PLACE}, **front}
                run = play("--limit", host.name, playbook="deploy", wsgi_apps=[moved])
                assert run.code == 0, f"to {way}: {run.output[-6000:]}"
                assert ask(host, "front").json["release"] == host.release("front")
        nothing_failed(told)

    on_all(through)
