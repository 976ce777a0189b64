"""What was written of the host, and that a deployment from it serves the same."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import yaml

ADOPTED = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "adopted.yml"


@pytest.fixture
def host(hosts):
    (found,) = hosts
    return found


def _app():
    (app,) = yaml.safe_load(ADOPTED.read_text(encoding="utf-8"))["wsgi"]["vars"]["wsgi_apps"]
    return app


def test_the_host_is_as_it_was(host, client):
    answer = client.get(host.url("shop"))
    assert answer.json == {"level": "debug", "known": True}
    assert answer.headers["x-set-up"] == "by hand"


def test_what_was_written(host):
    text = ADOPTED.read_text(encoding="utf-8")
    assert _app() == {
        "name": "shop",
        "source": {"path": "shop"},
        "entrypoint": "shop:create_app()",
        "domains": [host.domain("shop")],
        "python": {"version": "3.13"},
        "env": {"LOG_LEVEL": "debug"},
        "secrets": {"SECRET_KEY": "{{ vault_shop_secret_key }}"},
        "gunicorn": {"workers": "2", "threads": 3, "timeout": 45},
        "nginx": {"client_max_body_size": "20m", "read_timeout": 50, "static": {"/static/": "static"}},
    }
    assert "correct horse" not in text
    for comment in (
        "LimitNOFILE=4096",
        "nginx: remove /etc/nginx/sites-enabled/shop",
        "add_header X-Set-Up by hand",
        "SECRET_KEY are in /home/ada/shop/.env",
    ):
        assert comment in text


def test_a_file_that_exists_is_left_alone(play):
    run = play("-e", f"output={ADOPTED}", playbook="adopt")
    assert run.code != 0
    assert "which exists; write -e output=FILE for a new one" in " ".join(run.output.split())


def test_a_deployment_from_it_serves_the_same(play, host, client, tmp_path):
    """As a person goes on: the code is copied, the secret put into a vault."""
    subprocess.run(["docker", "cp", "-q", f"{host.container}:/home/ada/shop", str(tmp_path)], check=True)
    subprocess.run(["rm", "-r", str(tmp_path / "shop" / "venv"), str(tmp_path / "shop" / ".env")], check=True)
    app = {**_app(), "source": {"path": str(tmp_path / "shop")}}
    refused = play(wsgi_apps=[app], vault_shop_secret_key="correct horse")
    assert "nginx serves /etc/nginx/sites-enabled/shop" in refused.output, refused.output
    host.run("rm /etc/nginx/sites-enabled/shop")
    assert client.get(host.url("shop")).headers["x-set-up"] == "by hand"
    run = play(wsgi_apps=[app], vault_shop_secret_key="correct horse")
    assert run.code == 0, run.output
    answer = client.get(host.url("shop"))
    assert answer.json == {"level": "debug", "known": True}
    assert "x-set-up" not in answer.headers
    assert client.get(host.url("shop", "/static/site.css")).body == "body {}\n"
    assert host.run("systemctl is-active shop.target") == "active"
