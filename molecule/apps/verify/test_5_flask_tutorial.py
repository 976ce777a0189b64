"""The app of Flask's tutorial as Flask's own source has it: a package whose database is in the instance folder."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

DATABASE = "/var/lib/flaskr/instance/flaskr.sqlite"


@pytest.fixture(scope="module")
def flask_source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Flask's source archive from the package index; its examples are in it."""
    folder = tmp_path_factory.mktemp("flask")
    asked = ["download", "--quiet", "--no-deps", "--no-binary", ":all:", "--dest", str(folder), "flask==3.1.3"]
    subprocess.run([sys.executable, "-m", "pip", *asked], check=True)
    (archive,) = folder.iterdir()
    return archive


def test_the_tutorial_works_unchanged_and_keeps_its_data(play, hosts, client, flask_source):
    (host,) = [host for host in hosts if host.name == "d13"]
    digest = hashlib.sha256(flask_source.read_bytes()).hexdigest()
    flaskr = {
        "name": "flaskr",
        "source": {"archive": str(flask_source), "sha256": digest, "subdirectory": "examples/tutorial"},
        "entrypoint": "flaskr:create_app()",
        "domains": ["flaskr.{{ inventory_hostname }}.example.test"],
        "tls": "off",
        "persistent": ["instance"],
        "release": {"before_activate": f"test -s {DATABASE} || flask --app flaskr init-db"},
    }
    for change in ("first", "second"):
        flaskr["env"] = {"CHANGE": change}
        run = play("--limit", host.name, wsgi_apps=[flaskr])
        assert run.code == 0, run.output
    url = host.url("flaskr", "/auth/{}", scheme="http")
    form = ["--data", "username=ann&password=secret", "--resolve", f"{host.domain('flaskr')}:80:{host.ipv4}"]
    assert client.get(url.format("register"), *form).headers["location"] == "/auth/login"
    assert "flaskr" in host.run(f"stat -c %U {DATABASE}")

    del flaskr["persistent"]
    refused = play("--limit", host.name, wsgi_apps=[flaskr])
    assert refused.code != 0
    assert "write persistent: [instance]" in " ".join(refused.output.split())
    assert client.get(url.format("login"), *form).headers["location"] == "/", "the data has not outlived a deployment"
    gone = play("--limit", host.name, wsgi_apps=[{"name": "flaskr", "state": "absent", "purge": True}])
    assert gone.code == 0, gone.output
