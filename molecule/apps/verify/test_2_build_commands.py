"""What commands of a build make, and configuration files, switch with the release and go back with it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1] / "apps" / "notes"


def test_collected_and_configuration_files_go_forward_and_back_with_the_release(hosts, apps, play, client, tmp_path):
    first = {host: _stylesheet(host, client) for host in hosts}
    source = shutil.copytree(PROJECT, tmp_path / "notes")
    (source / "notes/static/site.css").rename(source / "notes/static/main.css")
    page = source / "notes/templates/notes.html"
    page.write_text(page.read_text().replace("site.css", "main.css"))
    changes = {"source": {"path": str(source)}, "files": [{"name": "title", "text": "The second"}]}
    run = play(playbook="deploy", wsgi_apps=[apps["notes"] | changes])
    assert run.code == 0, run.output[-3000:]
    for host in hosts:
        assert "<h1>The second</h1>" in client.get(host.url("notes")).body
        assert re.fullmatch(r"/static/main\.[0-9a-f]{12}\.css", _stylesheet(host, client))
    run = play("-e", "app=notes", playbook="rollback")
    assert run.code == 0, run.output[-3000:]
    assert {host: _stylesheet(host, client) for host in hosts} == first
    for host in hosts:
        assert "<h1>The first</h1>" in client.get(host.url("notes")).body
        host.run("test -s /var/lib/notes/notes.sqlite3")
        modes = host.run("stat -c '%a %U %G' /srv/notes/releases/*/files/title").splitlines()
        assert set(modes) == {"640 root notes"}


def test_static_files_of_an_installed_package_are_served_and_nothing_else_of_it(host, client):
    assert client.get(host.url("notes", "/of-django/css/base.css")).headers["content-type"] == "text/css"
    assert host.try_("runuser -u www-data -- ls /srv/notes/current/app/venv/").returncode != 0


def test_a_command_that_fails_is_named_with_what_it_printed_and_has_no_secrets(hosts, apps, play):
    before = [host.release("notes") for host in hosts]
    run = play(playbook="deploy", wsgi_apps=[apps["notes"] | {"build": ["env; python manage.py collect"]}])
    assert run.code != 0
    for words in (
        'app "notes": the build command "env; python manage.py collect" failed with exit code 1:\n',
        "Unknown command: 'collect'. Did you mean collectstatic?",
        "VIRTUAL_ENV=/srv/notes/builds/",
    ):
        assert words in run.output, run.output
    for secret in ("SECRET_KEY", apps["notes"]["secrets"]["SECRET_KEY"]):
        assert secret not in run.output
    assert [host.release("notes") for host in hosts] == before


def _stylesheet(host, client):
    """The address of the page's stylesheet, which nginx serves."""
    page = client.get(host.url("notes"))
    assert page.status == 200, page
    address = re.search(r'href="([^"]+)"', page.body)[1]
    assert client.get(host.url("notes", address)).headers["content-type"] == "text/css"
    return address
