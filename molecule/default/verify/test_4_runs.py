"""What runs of the playbook promise: check mode, refusals, healing, removal."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tarfile
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

ROOT_FILES = ("app", "requirements.txt")
CURL_UNTRUSTED = 60
COUNTER = """\
import json, os, pathlib

FILE = pathlib.Path(__file__).parent / "instance" / "count"


def app(environ, start_response):
    count = int(FILE.read_text()) + 1 if FILE.exists() else 1
    FILE.write_text(str(count))
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps({"count": count, "greeting": os.environ.get("GREETING")}).encode()]
"""


def test_check_mode_predicted_the_first_run(runs):
    checks = [run for run in runs if run["check"]]
    real = [run for run in runs if not run["check"]]
    assert checks, "no check run recorded; this test belongs to `molecule test`, or: molecule destroy, check, converge"
    predicted, done = _tasks(checks[0]["changed"]), _tasks(real[0]["changed"])
    assert predicted == done, f"predicted but not done: {predicted - done}; done but not predicted: {done - predicted}"


def test_check_mode_on_a_finished_host_predicts_nothing(play):
    run = play("--check", "--diff")
    assert run.code == 0, run.output
    assert run.changed == []


@pytest.fixture
def source(repository_example, tmp_path):
    """A copy of the example that a test may change."""
    copy = tmp_path / "source"
    copy.mkdir()
    for name in ROOT_FILES:
        origin = repository_example / name
        (shutil.copytree if origin.is_dir() else shutil.copy)(origin, copy / name)
    return copy


@pytest.fixture(scope="session")
def packed(tmp_path_factory):
    """An app of one file, packed into an archive."""
    directory = tmp_path_factory.mktemp("packed")
    (directory / "counter.py").write_text(COUNTER, encoding="utf-8")
    (directory / "requirements.txt").write_text("gevent\npackaging\n", encoding="utf-8")
    archive = directory / "counter.tar.gz"
    with tarfile.open(archive, "w:gz") as pack:
        for name in ("counter.py", "requirements.txt"):
            pack.add(directory / name, arcname=f"counter/{name}")
    return {
        "name": "packed",
        "source": {"archive": str(archive), "sha256": hashlib.sha256(archive.read_bytes()).hexdigest()},
        "entrypoint": "counter:app",
        "domains": ["packed.{{ inventory_hostname }}.example.test"],
        "tls": "selfsigned",
        "env": {"GREETING": "hello"},
        "persistent": ["instance"],
        "python": {"installer": "pip"},
        "gunicorn": {"worker_class": "gevent", "workers": 1},
    }


def test_a_failed_run_loses_nothing(play, apps, hosts, client, source):
    """Both at once: new code, and an nginx that cannot be configured. Mending only nginx must bring the new code."""
    _replace(source / "app" / "views.py", 'version=config["VERSION"]', 'version="after-the-failure"')
    apps["api"]["source"] = {"path": str(source)}
    broken = play(wsgi_apps=list(apps.values()), nginx_proxy_http_snippet="no_such_directive on;")
    _refused(broken, "no_such_directive")
    for host in hosts:
        host.run("nginx -t")
        assert client.get(host.url("api")).status == 200

    fixed = play(wsgi_apps=list(apps.values()))
    assert fixed.code == 0, fixed.output
    for host in hosts:
        assert client.get(host.url("api")).json["version"] == "after-the-failure"


def test_what_fails_of_one_app_leaves_the_others_deployed_and_served(play, apps, hosts, client, source):
    """Apps that fail at each stage beside a changed one and a new one; all of what failed is reported at the end."""
    (source / "other.txt").write_text("flask==3.1.3\nno-such-package-of-anyone==1.0\n", encoding="utf-8")
    archive = source.parent / "api.tar.gz"
    with tarfile.open(archive, "w:gz") as packed:
        packed.add(source, arcname="api")
    _commit(source, tag="v1.0.0")
    factory = {"source": {"path": str(source)}, "entrypoint": "app:create_app()"}
    fails = {
        "no-commit": {"source": {"git": f"file://{source}", "version": "v9.9.9"}},
        "no-archive": {"source": {"archive": str(archive), "sha256": "0" * 64}},
        "no-package": {"python": {"requirements": "other.txt"}},
        "no-factory": {"entrypoint": "app:no_such_factory()"},
    }
    new = [
        {
            **factory,
            "name": name,
            "domains": [f"{name}.{{{{ inventory_hostname }}}}.example.test"],
            "tls": "selfsigned",
            **what,
        }
        for name, what in {**fails, "newborn": {}}.items()
    ]
    apps["api"]["env"] = {"CHANGE": "beside apps that fail"}
    before = [host.release("api") for host in hosts]
    run = play(wsgi_apps=[*new, *apps.values()])
    _refused(run, *(f'app "{name}": ' for name in fails))
    _refused(run, "v9.9.9", "0" * 64, "no-such-package-of-anyone", "no_such_factory")
    for host, release in zip(hosts, before, strict=True):
        assert int(host.release("api")) > int(release), f"{host.name}: the app that is well was not deployed"
        assert client.get(host.url("api")).status == 200
        named = ["--resolve", f"newborn.{host.name}.example.test:443:{host.ipv4}", "--insecure"]
        answer = client.get(f"https://newborn.{host.name}.example.test/", *named)
        assert answer.status == 200, f"the new app beside them answered {answer.status} {answer.error}"
    gone = play(wsgi_apps=[*({**app, "state": "absent", "purge": True} for app in new), *apps.values()])
    assert gone.code == 0, gone.output


def test_port_taken_by_another_program_is_refused(play, hosts, client):
    for host in hosts:
        host.run("systemctl stop nginx")
        host.run("systemd-run -q --unit=squatter python3 -m http.server 80")
    try:
        run = play()
    finally:
        for host in hosts:
            host.run("systemctl stop squatter; systemctl start nginx")
    _refused(run, "80", "python3")
    for host in hosts:
        assert client.get(host.url("api")).status == 200


def test_unreachable_authority_leaves_the_site_serving(play, apps, hosts, client):
    """A new domain, and nobody to certify it: the site serves it on the placeholder, the run fails and says which."""
    apps["httpbin"]["domains"].append("new.{{ inventory_hostname }}.example.test")
    apps["httpbin"]["certbot"] = {"acme_directory": "https://ca.example.test:1/dir"}
    run = play(wsgi_apps=list(apps.values()))
    assert run.code != 0, "the run reports success though no certificate could be issued"
    assert "new.d12.example.test" in run.output or "new.d13.example.test" in run.output, run.output[-3000:]
    for host in hosts:
        served = client.get(host.url("httpbin"), "--insecure")
        assert served.status == 200, f"{host.url('httpbin')} answered {served.status} {served.error}"
        named = ["--resolve", f"new.{host.name}.example.test:443:{host.ipv4}", "--insecure"]
        new = client.get(f"https://new.{host.name}.example.test/", *named)
        assert new.status == 200, f"the new domain answered {new.status} {new.error}"


def test_other_sources_and_settings(play, apps, hosts, client, source, packed):
    """An app from git; another from an archive, installed by pip, run by gevent, behind a self-signed certificate."""
    _replace(source / "app" / "views.py", 'version=config["VERSION"]', 'version="from-git"')
    _commit(source, tag="v1.0.0")
    apps["api"]["source"] = {"git": f"file://{source}", "version": "v1.0.0"}
    run = play(wsgi_apps=[*apps.values(), packed])
    assert run.code == 0, run.output
    for host in hosts:
        assert client.get(host.url("api")).json["version"] == "from-git"
        assert client.get(host.url("packed")).exit == CURL_UNTRUSTED, "the self-signed certificate was not shown"
        told = [client.get(host.url("packed"), "--insecure").json for _ in range(2)]
        assert told[0]["greeting"] == "hello", "the app's env did not reach it"
        assert told[1]["count"] == told[0]["count"] + 1, f"what the app writes beside its code does not stay: {told}"
        kept = host.run("cat /var/lib/packed/instance/count")
        assert kept == str(told[1]["count"]), "persistent data lies elsewhere"
        assert "gevent" in host.run("cat /etc/wsgi/packed/gunicorn.conf.py")


def test_the_inventory_as_it_was_heals_everything(play, hosts, client):
    """After all that: the inventory's own apps again, and what it does not name is reported and left alone."""
    look = "readlink /srv/packed/current; systemctl show --property=MainPID 'packed@*'"
    look += "; cat /etc/nginx/wsgi/sites/packed.conf"
    before = [host.run(look) for host in hosts]
    for host in hosts:
        host.run("rm /srv/api/current/socket /srv/api/current/start")
        host.run("ln -sfn /run/packed/current.sock /run/httpbin/current.sock")
        host.run("chmod 0644 /srv/httpbin/current/etc/environment; chown api: /run/api; systemctl stop nginx")
    fixed = play()
    assert fixed.code == 0, fixed.output
    for host in hosts:
        modes = host.run("stat -c '%U %a' /run/api /srv/httpbin/current/etc/environment /srv/api/current/start")
        assert modes.splitlines() == ["root 711", "root 600", "root 750"], f"{host.name}: {modes}"
    again = play()
    assert again.code == 0, again.output
    assert again.changed == [], "a run right after a successful one changed something"
    assert [host.run(look) for host in hosts] == before, "an app that the inventory does not name was touched"
    for host in hosts:
        lines = [line for line in again.output.splitlines() if host.name in line and "packed" in line]
        assert lines, f"no line of the run names {host.name} and packed:\n{again.output}"
        assert client.get(host.url("packed"), "--insecure").status == 200
        for app in ("api", "httpbin"):
            answer = client.get(host.url(app))
            assert answer.status == 200, f"{host.url(app)}: {answer.status} {answer.error}"


def test_absent_removes_all_but_the_data(play, apps, hosts, client, packed):
    removal = {"wsgi_apps": [*apps.values(), {**packed, "state": "absent"}]}
    predicted = play("--check", **removal)
    assert predicted.code == 0, predicted.output
    run = play(**removal)
    assert run.code == 0, run.output
    assert _tasks(predicted.changed) == _tasks(run.changed)
    for host in hosts:
        left = host.run(
            "ls -d /srv/packed /run/packed /etc/wsgi/packed /etc/nginx/wsgi/sites/packed.conf "
            "/etc/nginx/tls/packed /etc/letsencrypt/live/packed /etc/letsencrypt/renewal/packed.conf "
            "/etc/systemd/system/packed* /etc/systemd/system/*/packed* 2>/dev/null || true"
        )
        assert left == "", f"{host.name}: left behind:\n{left}"
        assert host.try_("getent passwd packed").returncode != 0, f"{host.name}: user packed is still there"
        units = host.run("systemctl list-units --all --plain --no-legend 'packed*'")
        assert units == "", f"{host.name}: units left:\n{units}"
        assert client.get(host.url("packed"), "--insecure").exit != 0, "the domain is still served"
        assert host.run("cat /var/lib/packed/instance/count"), "data went without purge: true"
        assert client.get(host.url("api")).status == 200


def test_an_app_that_gets_another_name_is_served_all_the_time(play, apps, hosts, client):
    """In one run: the old one is there until nginx asks the new one. The second one is removed with its data."""
    old = apps["httpbin"]
    renamed = {**old, "name": "renamed"}
    there = [apps["api"], renamed, {**old, "state": "absent"}]
    back = [apps["api"], old, {**renamed, "state": "absent", "purge": True}]
    for inventory in (there, back):
        over, statuses = threading.Event(), []

        def ask(host, over=over, statuses=statuses):
            while not over.wait(0.4):  # each question is a process in a container
                statuses.append(client.get(host.url("httpbin", "/get")).status)

        with ThreadPoolExecutor(len(hosts)) as pool:
            asking = [pool.submit(ask, host) for host in hosts]
            try:
                run = play(wsgi_apps=inventory)
            finally:
                over.set()
            for done in asking:
                done.result()
        assert run.code == 0, run.output
        assert len(statuses) > 20, statuses
        assert set(statuses) == {200}, statuses
    for host in hosts:
        assert host.run("ls -d /var/lib/httpbin /var/lib/renamed 2>/dev/null || true") == "/var/lib/httpbin"


def _tasks(changed):
    return {tuple(pair) for pair in changed}


def _commit(directory, tag):
    """Make a directory a git repository with one tagged commit."""
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.test"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "one"], ["tag", tag]):
        subprocess.run(["git", "-C", str(directory), *identity, *command], check=True)


def _replace(path, old, new):
    text = path.read_text(encoding="utf-8")
    assert old in text, f"{path} no longer holds {old!r}; fix this test"
    path.write_text(text.replace(old, new), encoding="utf-8")


def _refused(run, *words):
    assert run.code != 0, f"the run reports success:\n{run.output[-3000:]}"
    for word in words:
        assert word in run.output, f"the message does not name {word}:\n{run.output[-3000:]}"
