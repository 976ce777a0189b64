"""The cache of the app's answers."""

from __future__ import annotations

import time

import pytest
from testbed import labs

LONG = "control=max-age=600"  # in a query: the app says that its answer may be kept for longer than a test takes
AGE = 3.2  # seconds until an answer is too old: cache_valid says 2 s, and nginx counts whole seconds


@pytest.fixture(name="path")
def fixture_path():
    """A path of the cached part that nothing has asked for yet."""
    return f"/cached/{time.time_ns()}"


def test_an_answer_is_kept(host, client, path):
    url = host.url("probe", f"{path}?{LONG}")
    first, second = (client.get(url) for _ in range(2))
    assert (first.headers["x-cache"], second.headers["x-cache"]) == ("MISS", "HIT")
    assert first.json == second.json
    assert client.get(f"{url}&other").json != first.json
    assert "x-cache" not in client.get(host.url("probe")).headers


SOMEBODY = [
    ["-u", "ann:password"],
    ["-b", "session=of-somebody"],
    ["-b", "sid=of-somebody"],
    ["-b", "_ga=1"],
    ["-H", "X-API-Key: of-somebody"],
]
# What the app may answer otherwise, and the URL does not say.
UNLIKE = [
    ["--http1.1", "-X", "GET", "-d", "body"],
    ["--http1.1", "-X", "GET", "-d", "body", "-H", "Transfer-Encoding: chunked"],
    ["--http2", "-X", "GET", "-d", "body", "-H", "Content-Length:"],
]


@pytest.mark.parametrize("sent", SOMEBODY + UNLIKE)
def test_who_is_somebody_is_neither_answered_nor_kept(host, client, path, sent):
    url = host.url("probe", path)
    kept = client.get(url)
    personal = client.get(url, *sent)
    assert personal.headers["x-cache"] == "BYPASS"
    assert personal.json != kept.json
    assert client.get(url).json == kept.json, "a personal answer went to everybody"


@pytest.mark.parametrize(
    ("cookies", "answer"),
    [
        ("_ga=1", "HIT"),
        ("_ga=1; _ga_X0=2", "HIT"),
        ("_ga=1; sid=of-somebody", "BYPASS"),
        ("sid=of-somebody", "BYPASS"),
        ("my_ga=1", "BYPASS"),
    ],
)
@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
def test_cookies_that_are_nobody(host, client, cookies, answer, version):
    url = host.url("probe", f"/cached/shared/{time.time_ns()}?{LONG}")
    client.get(url)
    assert client.get(url, version, "-b", cookies).headers["x-cache"] == answer


def test_a_page_of_one_user_in_the_micro_cache(host, client):
    url = host.url("probe", "/micro")
    mine = client.get(url, "-b", "sid=mine")
    assert mine.headers["x-cache"] == "BYPASS"
    assert client.get(url).json != mine.json


def test_a_port_that_a_client_made_up_is_not_for_others(host, client, path):
    url = host.url("probe", path)
    made_up = client.get(url, "-H", f"Host: {host.domain('probe')}:1337")
    assert made_up.status == 200
    assert client.get(url).json != made_up.json


@pytest.mark.parametrize("query", ["control=private", "control=no-store", "cookie=1"])
def test_an_answer_that_is_not_for_all_is_not_kept(host, client, path, query):
    answers = [client.get(host.url("probe", f"{path}?{query}")) for _ in range(2)]
    assert [answer.headers["x-cache"] for answer in answers] == ["MISS", "MISS"]


def test_what_the_app_tells_nginx_alone(host, client, path):
    answers = [client.get(host.url("probe", f"{path}?nginx=0")) for _ in range(2)]
    assert [answer.headers["x-cache"] for answer in answers] == ["MISS", "MISS"]
    assert not [name for answer in answers for name in answer.headers if name.startswith("x-accel-")]


def test_the_app_says_for_how_long(host, client, path):
    url = host.url("probe", f"{path}?{LONG}")
    client.get(url)
    time.sleep(AGE)
    assert client.get(url).headers["x-cache"] == "HIT"


def test_what_is_too_old_is_given_at_once_and_renewed(host, client, path):
    url = host.url("probe", path)
    old = client.get(url)
    time.sleep(AGE)
    stale = client.get(url)
    assert (stale.headers["x-cache"], stale.json) == ("STALE", old.json)
    labs.wait_for(lambda: client.get(url).json != old.json, "the renewed answer")


def test_the_app_fails_and_the_cache_answers(host, client, path):
    url = host.url("probe", path)
    old = client.get(url)
    host.run("touch /var/lib/probe/fails")
    try:
        time.sleep(AGE)
        answer = client.get(url)
        fresh = client.get(host.url("probe", f"{path}-new"))
    finally:
        host.run("rm /var/lib/probe/fails")
    assert (answer.status, answer.json) == (200, old.json)
    assert fresh.status == 500


def test_the_app_is_gone_and_the_cache_answers(host, client, path):
    url = host.url("probe", path)
    old = client.get(url)
    time.sleep(AGE)
    host.run("systemctl stop probe.target")
    try:
        answers = [client.get(url) for _ in range(3)]
    finally:
        host.run("systemctl start probe.target")
    assert [(answer.status, answer.json) for answer in answers] == 3 * [(200, old.json)]
    assert {answer.headers["x-cache"] for answer in answers} <= {"STALE", "UPDATING"}
    tries = ["--retry", "120", "--retry-delay", "1", "--retry-all-errors", "--fail"]
    assert client.get(host.url("probe"), *tries).status == 200


def test_of_many_at_once_the_app_sees_one(host, client, path):
    url = host.url("probe", f"{path}?seconds=1&{LONG}")
    script = 'seq 8 | xargs -P 8 -I{} curl -s --cacert "$1" "$0"'
    answers = client.shell(script, url, client.root).splitlines()
    assert len(answers) == 8
    assert len(set(answers)) == 1, f"a stampede: {answers}"


def test_microcache(host, client):
    url = host.url("probe", "/micro")
    client.get(url)
    script = 'curl -s --cacert "$1" -w "%{time_total}\\n" $(yes "$0" | head -n 40)'
    told = client.shell(script, url, client.root).split()
    numbers, seconds = told[::2], sum(map(float, told[1::2]))
    assert len(set(numbers)) <= 2 + seconds, f"asked more than once a second, in {seconds} s: {numbers}"
    assert len(set(numbers)) < len(numbers)


def test_purge_by_url_and_of_all(play, hosts, client):
    paths = ["/cached/purge/one?control=max-age=600", "/cached/purge/two?control=max-age=600"]
    before = {(host.name, path): client.get(host.url("probe", path)).json for host in hosts for path in paths}
    predicted = play("--check", "-e", "app=probe", "-e", f"url={hosts[0].url('probe', paths[0])}", playbook="purge")
    run = play("-e", "app=probe", "-e", f"url={hosts[0].url('probe', paths[0])}", playbook="purge")
    assert run.code == 0, run.output
    assert predicted.code == 0, predicted.output
    assert predicted.changed == run.changed == [[hosts[0].name, "webops.wsgi.nginx_proxy : Forget answers of the app"]]
    now = {(host.name, path): client.get(host.url("probe", path)).json for host in hosts for path in paths}
    assert {where for where in now if now[where] != before[where]} == {(hosts[0].name, paths[0])}

    run = play("-e", "app=probe", playbook="purge")
    assert run.code == 0, run.output
    for host in hosts:
        assert client.get(host.url("probe", paths[1])).headers["x-cache"] == "MISS"
