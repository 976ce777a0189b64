"""What was written of the host; and that the apps are taken over from it without a lost request, and given back."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

ADOPTED = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "adopted.yml"
HERE = Path(__file__).resolve().parents[1]
STATE = HERE.parents[1] / ".cache" / "lab" / "molecule-adopt"
SECURED = ("shop", "ledger")
PLAIN = ("blog", "polls", "first", "notes", "hello", "journal")
VAULT = {f"vault_{app}_secret_key": "horse" for app in (*SECURED, *PLAIN, "hello_app")}
OLD = {
    "systemd": ("shop.service", "ledger.service", "gunicorn.socket", "gunicorn.service", "notes.service"),
    "supervisor": ("polls", "hello"),
}


@pytest.fixture
def host(hosts):
    (found,) = hosts
    return found


def _apps():
    return {
        app["name"]: app for app in yaml.safe_load(ADOPTED.read_text(encoding="utf-8"))["wsgi"]["vars"]["wsgi_apps"]
    }


@pytest.fixture(scope="module")
def copied(hosts, tmp_path_factory):
    """The apps with their code copied as the comments say, by somebody who knows what belongs to none."""
    folder, (host,) = tmp_path_factory.mktemp("code"), hosts
    places = re.findall(
        r"# Code: copy (\S+) of the host to (\S+) beside this file", ADOPTED.read_text(encoding="utf-8")
    )
    for there, here in places:
        real = host.run(f"readlink -f {there}")
        host.run(
            f"tar -C {real} --exclude=./venv --exclude=./.venv --exclude=./env --exclude=./.env --exclude='*.sock' "
            f"-cf /root/code.tar ."
        )
        subprocess.run(["docker", "cp", "-q", f"{host.container}:/root/code.tar", str(folder / "code.tar")], check=True)
        (folder / here).mkdir()
        shutil.unpack_archive(folder / "code.tar", folder / here, filter="data")
    return [{**app, "source": {"path": str(folder / app["source"]["path"])}} for app in _apps().values()]


def _url(host, app):
    return host.url(app, scheme="https" if app in SECURED else "http")


def _answers(host, client):
    """What clients get of each app, and whether it is what a person has set up that says so."""
    found = {app: client.get(_url(host, app)) for app in (*SECURED, *PLAIN)}
    return {app: (answer.status, answer.body, "x-set-up" in answer.headers) for app, answer in found.items()}


def _told(answers):
    return {app: json.loads(body) for app, (_status, body, _by_hand) in answers.items()}


@contextmanager
def _clients(host):
    for file in (HERE / "by_hand" / "ask.py", STATE / "ca.pem"):
        subprocess.run(["docker", "cp", "-q", str(file), f"{host.container}:/root/"], check=True)
    asked = ["docker", "exec", "-i", host.container, "python3", "/root/ask.py", "/root/ca.pem"]
    asked += [_url(host, app) for app in (*SECURED, *PLAIN)]
    clients = subprocess.Popen(asked, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    counted = {}
    try:
        yield counted
    finally:
        out, _ = clients.communicate()
        counted.update(json.loads(out))


def test_what_was_written(host):
    text = ADOPTED.read_text(encoding="utf-8")
    common = {
        "python": {"version": "3.13"},
        "env": {"APP": None, "LOG_LEVEL": "debug"},
        "secrets": None,
        "source": None,
    }
    authority = {"certbot": {"acme_directory": "https://ca.example.test:14000/dir"}}
    own = {
        "shop": {
            "entrypoint": "app:create_app()",
            "gunicorn": {"workers": "2", "threads": 3, "timeout": 45},
            "nginx": {"client_max_body_size": "20m", "read_timeout": 50, "static": {"/static/": "static"}},
            **authority,
        },
        "ledger": {"entrypoint": "app:app", "gunicorn": {"workers": "2"}, **authority},
        "blog": {"entrypoint": "app:app", "tls": "off"},
        "polls": {
            "entrypoint": "app:app",
            "tls": "off",
            "gunicorn": {"workers": "2"},
            "nginx": {"static": {"/static/": "static"}},
        },
        "first": {"entrypoint": "app:app", "tls": "off", "server": "uwsgi", "uwsgi": {"workers": "2"}},
        "notes": {
            "entrypoint": "wsgi:application",
            "tls": "off",
            "gunicorn": {"workers": "2"},
            "nginx": {"static": {"/static/": "collected"}},
            "persistent_files": ["db.sqlite3"],
        },
        "hello": {
            "entrypoint": "wsgi:application",
            "tls": "off",
            "gunicorn": {"workers": "2"},
            "nginx": {"client_max_body_size": "4g", "static": {"/static/": "collected"}},
            "persistent_files": ["db.sqlite3"],
            "env": {"DJANGO_SETTINGS_MODULE": "site_of", "APP": "hello"},
        },
        "journal": {"entrypoint": "app:app", "tls": "off", "gunicorn": {"workers": "2"}},
    }
    wanted = {}
    for name, settings in own.items():
        # The host has a user hello already.
        app = "hello-app" if name == "hello" else name
        secrets = {"SECRET_KEY": f"{{{{ vault_{app.replace('-', '_')}_secret_key }}}}"}
        fixed = {"name": app, "domains": [host.domain(name)], "secrets": secrets, "source": {"path": name}}
        wanted[app] = {**common, "env": {"APP": name, "LOG_LEVEL": "debug"}, **fixed, **settings}
    assert _apps() == wanted
    assert "horse" not in text
    for comment in (
        "LimitNOFILE=4096",
        "nginx: its server block is in /etc/nginx/sites-enabled/shop",
        "add_header X-Set-Up by hand",
        "SECRET_KEY are in /home/ada/shop/.env",
        "SECRET_KEY are in /webapps/hello_django/bin/gunicorn_start",
        "Data: db.sqlite3",
        "bin/gunicorn_start, a script",
    ):
        assert comment in text


def test_a_file_that_exists_is_left_alone(play):
    run = play("-e", f"output={ADOPTED}", playbook="adopt")
    assert run.code != 0
    assert "which exists; write -e output=FILE for a new one" in " ".join(run.output.split())


def test_secrets_come_in_a_vault(play, tmp_path):
    (tmp_path / "password").write_text("word")
    written = ["-e", f"output={tmp_path}/hosts.yml", "-e", f"vault={tmp_path}/vault.yml"]
    refused = play(*written, playbook="adopt")
    assert "no password for it; run again with --ask-vault-pass" in " ".join(refused.output.split())
    password = ["--vault-password-file", str(tmp_path / "password")]
    run = play(*written, *password, "-vvv", playbook="adopt")
    assert run.code == 0, run.output
    assert "horse" not in run.output
    shown = ["ansible-vault", "view", *password, str(tmp_path / "vault.yml")]
    told = subprocess.run(shown, check=True, capture_output=True, text=True).stdout
    assert yaml.safe_load(told) == {name: value for name, value in VAULT.items() if name != "vault_hello_secret_key"}


def test_nothing_is_replaced_that_nobody_has_asked_for(play, host, client, copied):
    before = _answers(host, client)
    assert all(status == 200 and by_hand for status, _body, by_hand in before.values()), before
    refused = play(wsgi_apps=copied, **VAULT)
    assert "nginx serves /etc/nginx/sites-enabled/blog" in refused.output, refused.output
    refused = play("-e", "take_over=true", playbook="adopt", wsgi_apps=copied, **VAULT)
    told = " ".join(refused.output.split())
    assert 'app "notes": a release begins without the data in /home/dan/notes: db.sqlite3' in told, refused.output
    assert "Nothing was touched" in told
    assert refused.changed == []
    assert _answers(host, client) == before


def test_one_that_does_not_work_leaves_the_old_set_up_serving(play, host, client, copied):
    before = _answers(host, client)
    (shop,) = [app for app in copied if app["name"] == "shop"]
    broken = Path(shop["source"]["path"]) / "broken"
    broken.touch()
    slow = {"before_activate": "sleep 11"}
    apps = [{**app, "release": slow} if app["name"] == "shop" else app for app in copied]
    failed = play("-e", "take_over=true", "-e", "data=carried", playbook="adopt", wsgi_apps=apps, **VAULT)
    broken.unlink()
    assert failed.code != 0
    assert "RuntimeError: the copy of the code is broken" in failed.output, failed.output
    assert (
        "until nginx has moved what serves now goes on to serve:\n    blog: from /etc/systemd/system/gunicorn"
        in failed.output
    )
    assert re.search(r"d13: shop runs before_activate: \d+ s", failed.output), "nothing said what was waited for"
    assert _answers(host, client) == before


def test_all_are_taken_over_without_a_lost_request(play, host, client, copied):
    before, certificates = _answers(host, client), {app: client.certificate(host.domain(app)) for app in SECURED}
    with _clients(host) as counted:
        run = play("-e", "take_over=true", "-e", "data=carried", playbook="adopt", wsgi_apps=copied, **VAULT)
    assert run.code == 0, run.output
    print({url: found["ok"] for url, found in counted.items()}, file=sys.stderr)
    assert {url: found for url, found in counted.items() if set(found) != {"ok"}} == {}
    after = _answers(host, client)
    assert _told(after) == _told(before)
    assert not [app for app, (_status, _body, by_hand) in after.items() if by_hand]
    assert {app: client.certificate(host.domain(app)) for app in SECURED} == certificates
    assert client.get(host.url("notes", "/static/site.css", scheme="http")).body == "h1 {}\n"
    for unit in OLD["systemd"]:
        assert host.try_(f"systemctl is-active {unit}").stdout.strip() == "inactive", unit
        assert host.try_(f"systemctl is-enabled {unit}").stdout.strip() in ("disabled", "static"), unit
    assert "RUNNING" not in host.try_("supervisorctl status").stdout
    assert host.try_("pgrep -u eve uwsgi").stdout == ""
    (STATE / "back").write_text(run.output, encoding="utf-8")

    again = play("-e", "take_over=true", "-e", "data=carried", playbook="adopt", wsgi_apps=copied, **VAULT)
    assert (again.code, again.changed) == (0, []), again.output
    assert "there is nothing left to stop" in again.output


def test_certbot_renews_the_certificates_through_nginx(host):
    for name in ("shop", host.domain("shop")):
        text = host.run(f"cat /etc/letsencrypt/renewal/{name}.conf")
        assert "authenticator = webroot" in text


def test_the_way_back_that_was_told_leads_back(host, client):
    told = (STATE / "back").read_text(encoding="utf-8")
    commands = told.partition("The way back, as root on the host, in this order:\n")[2].splitlines()
    for line in commands:
        if not line.startswith("    "):
            break
        host.run(line.strip())
    deadline = time.monotonic() + 15  # nginx reloads after systemctl has ended
    while not all(status == 200 and by_hand for status, _body, by_hand in _answers(host, client).values()):
        assert time.monotonic() < deadline, _answers(host, client)
        time.sleep(0.5)
