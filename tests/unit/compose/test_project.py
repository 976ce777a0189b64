# SPDX-License-Identifier: GPL-3.0-or-later
"""A Compose project's deployment: what serves while it goes on, when it fails, and when it is killed."""

from __future__ import annotations

import copy
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.webops.wsgi.plugins.module_utils.build.inputs import BuildInputs
from ansible_collections.webops.wsgi.plugins.module_utils.compose.layout import numbered, to_yaml
from ansible_collections.webops.wsgi.plugins.plugin_utils.checks import compose as checks
from ansible_collections.webops.wsgi.plugins.plugin_utils.compose import certificates, project
from ansible_collections.webops.wsgi.plugins.plugin_utils.image.context import File
from ansible_collections.webops.wsgi.plugins.plugin_utils.inventory import settings

INPUTS = BuildInputs("api", {"tree": "1a2b"}, "a directory", "", "", public=["static", "it's here"])
FILES = {"start": File("#!/bin/sh\n", 0o755), "etc/gunicorn.conf.py": File("workers = 2\n")}
IMAGE = project.Image("localhost/api:1", {"Containerfile": File("FROM x\n")}, {"title": "5$"}, 7)
HARD = "planted $HOME \"'\\ `id`\nsecond line #"

PROJECT: dict[str, Any] = {
    "directory": "/srv/compose",
    "project": "wsgi",
    "start": True,
    "publish": "127.0.0.1",
    "nginx_base": "debian:trixie-slim",
    "services": {"redis": {"image": "redis:8"}},
    "volumes": ["redis"],
    "logging": {"driver": "local"},
}


def resolved(**keys: Any) -> dict[str, Any]:
    """An app as the checks leave it."""
    schema = settings.load_schema()
    entry = {
        "name": "api",
        "source": {"path": "/src"},
        "entrypoint": "app:app",
        "domains": ["api.example.com"],
        "tls": "selfsigned",
        **keys,
    }
    host, _problems = settings.merge_host(schema, {})
    [app], problems = settings.resolve(schema, host, [entry], ["/"])
    assert not problems
    app.data["server"] = {"stop_timeout": 35, "protocol": "http"}
    app.data["files"] = {"settings.cfg": "password = planted-in-a-file"} if keys.get("files") else {}
    return app.data


def made(app: dict[str, Any] | None = None, image: project.Image = IMAGE) -> project.Release:
    return project.release(app or resolved(), image, FILES, INPUTS)


def server(app: dict[str, Any]) -> dict[str, Any]:
    return next(iter(made(app).services.values()))


def test_secrets_are_in_files_alone() -> None:
    app = resolved(
        secrets={"KEY": HARD}, credentials={"key.pem": "planted-key"}, files=[{"name": "settings.cfg", "text": "x"}]
    )
    release = made(app)
    shown = json.dumps(release.services) + json.dumps([file.text for file in release.files.values()])
    assert "planted" not in shown
    assert {"environment", "files/settings.cfg", "credentials/key.pem"} == set(release.secrets)
    assert {file.mode for file in release.secrets.values()} == {0o444}  # below a directory that nobody else looks into


def test_a_secret_arrives_as_it_is(tmp_path: Path) -> None:
    release = made(resolved(secrets={"KEY": HARD}))
    (tmp_path / "environment").write_text(release.secrets["environment"].text)
    done = subprocess.run(
        ["sh", "-c", f'set -a; . {tmp_path}/environment; printf %s "$KEY"'], capture_output=True, text=True, check=True
    )
    assert done.stdout == HARD


def test_what_compose_would_interpolate_is_escaped() -> None:
    assert server(resolved(env={"PRICE": "5$ ${HOME}"}))["environment"]["PRICE"] == "5$$ $${HOME}"
    assert made().build["labels"] == {"title": "5$$"}


def test_a_container_has_no_more_than_it_needs() -> None:
    service = server(resolved(release={"memory_max": "200M", "cpu_quota": "150%"}, compose={"network": "none"}))
    assert service["user"] == "10001:10001"
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert (service["mem_limit"], service["cpus"], service["network_mode"]) == ("200m", 1.5, "none")
    assert "privileged" not in json.dumps(service)
    assert service["stop_grace_period"] == "40s"


def test_only_nginx_is_root_and_nobody_has_the_engine() -> None:
    base = project.base([resolved()], PROJECT, {"image": "nginx:1", "ports": ["80:80"]})
    nginx = base["services"]["nginx"]
    assert nginx["cap_drop"] == ["ALL"]
    assert nginx["ports"] == ["127.0.0.1:80:80"]
    assert "docker.sock" not in json.dumps(base)
    assert base["services"]["redis"] == {"image": "redis:8"}
    assert set(base["volumes"]) == {"cache", "redis", "api-run", "api-state"}


def test_certbot_has_its_orders_in_files_and_is_nobody() -> None:
    app = resolved(
        tls="letsencrypt", certbot={"email": "ops@example.com", "eab_kid": "k1", "eab_hmac_key": "cGxhbnRlZA"}
    )
    order = certificates.orders([app], "/var/www/acme", agree_tos=True)["api"].splitlines()
    assert {"cert-name = api", "domains = api.example.com", "webroot-path = /var/www/acme"} <= set(order)
    assert {"email = ops@example.com", "agree-tos = true", "eab-hmac-key = cGxhbnRlZA"} <= set(order)
    proxy = {"image": "nginx:1", "ports": ["80:80"], "certbot": "certbot:1", "webroot": "/var/www/acme"}
    base = project.base([app], PROJECT, {**proxy, "ca_bundle": "/etc/ssl/company.pem"})
    certbot = base["services"]["certbot"]
    assert (certbot["user"], certbot["cap_drop"], certbot["read_only"]) == ("10002:10002", ["ALL"], True)
    assert "/etc/ssl/company.pem:/etc/authorities.pem:ro" in certbot["volumes"]
    assert {"certificates", "acme"} <= set(base["volumes"])
    assert "cGxhbnRlZA" not in json.dumps(base)


def test_no_authority_is_asked_for_a_certificate_of_another_kind() -> None:
    apps = [resolved(tls=kind) for kind in ("selfsigned", "off")]
    assert certificates.orders(apps, "/var/www/acme", agree_tos=True) == {}


@pytest.mark.parametrize(
    "context",
    [
        project.nginx_image("debian:trixie-slim", ["nginx", "libnginx-mod-http-brotli-filter"], "", "/var/www/acme"),
        project.certbot_image("debian:trixie-slim", ""),
    ],
)
def test_a_linter_finds_nothing_in_recipes(context: dict[str, File], tmp_path: Path) -> None:
    (tmp_path / "Containerfile").write_text(context["Containerfile"].text)
    done = subprocess.run(["hadolint", str(tmp_path / "Containerfile")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_number_is_put_in_everywhere() -> None:
    services = numbered(made(resolved(workers=[{"name": "queue", "command": "x", "replicas": 2}])).services, "12")
    assert list(services) == ["api-12", "api-12-queue-1", "api-12-queue-2"]
    assert project.NUMBER not in json.dumps(services)
    assert services["api-12"]["environment"]["WSGI_SOCKET"] == "/run/api/12/sock"
    assert services["api-12-queue-2"]["command"] == ["/wsgi/commands/queue"]
    assert services["api-12-queue-2"]["environment"]["WSGI_REPLICA"] == "2"


@pytest.mark.parametrize(
    "keys",
    [
        {"env": {"A": "1"}},
        {"secrets": {"A": "longer than six"}},
        {"release": {"memory_max": "1G"}},
        {"workers": [{"name": "queue", "command": "x"}]},
    ],
)
def test_other_settings_are_another_release(keys: dict[str, Any]) -> None:
    assert made(resolved(**keys)).digest() != made().digest()


def test_a_label_is_not() -> None:
    again = made(image=project.Image(IMAGE.name, IMAGE.context, {"version": "2"}, 7))
    assert again.digest() == made().digest()


def test_an_image_of_a_registry_is_not_built() -> None:
    app = resolved()
    service = next(iter(made(app, project.Image("registry.example.com/api@sha256:1")).services.values()))
    assert "pull_policy" not in service
    assert made(app, project.Image("registry.example.com/api@sha256:1")).build == {}


def test_development_has_the_source_as_it_is_and_no_way_in_from_outside() -> None:
    found = made(resolved(compose={"development": 8000, "network": "none"})).development
    assert found["profiles"] == ["development"]
    assert found["ports"] == ["127.0.0.1:8000:8000"]
    assert "/src:/wsgi/app/src:ro" in found["volumes"]
    assert "network_mode" not in found
    assert found["cap_drop"] == ["ALL"]
    assert made().development == {}


def test_enter_is_a_shell_script(tmp_path: Path) -> None:
    script = tmp_path / "enter"
    script.write_text(project.enter(INPUTS))
    subprocess.run(["sh", "-n", str(script)], check=True)
    assert "-- src/static 'src/it'\"'\"'s here'" in project.enter(INPUTS)


def test_yaml_is_read_as_it_was_meant() -> None:
    value = {
        "on": True,
        "1": "2",
        "text": 'a "b" \\ \n: # $',
        "list": [1, {"a": {}, "b": [1, [2, []]]}, "x"],
        "empty": [],
        "é-x": None,
        "8080:80": 1.5,
    }
    assert yaml.safe_load(to_yaml(value)) == value


def test_a_certificate_is_for_the_names(tmp_path: Path) -> None:
    from cryptography import x509

    app = resolved(domains=["api.example.com", "192.0.2.7"])
    own = certificates.wanted([app], lambda _file: "")["api"]
    names = x509.load_pem_x509_certificate(own["cert"].encode()).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    assert names.value.get_values_for_type(x509.DNSName) == ["api.example.com"]
    assert certificates.wanted([app], lambda _file: "")["api"]["digest"] == own["digest"]
    given = {**app, "tls": "provided", "certificate": {"cert": "c.pem", "key": "k.pem"}}
    assert certificates.wanted([given], lambda file: f"text of {file}")["api"]["key"] == "text of k.pem"
    assert certificates.wanted([{**app, "tls": "off"}], lambda _file: "") == {}


def told(app: dict[str, Any] | None = None, **changes: Any) -> str:
    found = checks.problems([app or resolved()], {**copy.deepcopy(PROJECT), **changes})
    return "\n".join(f"{problem.app}: {problem.text}; {problem.fix}" for problem in found)


def test_a_good_app_has_no_problems() -> None:
    assert told(resolved(compose={"depends_on": ["redis"]}, workers=[{"name": "queue", "command": "x"}])) == ""


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (
            {"timers": [{"name": "tidy", "command": "x", "on_calendar": "daily"}]},
            "timers is set, and a Compose project",
        ),
        ({"listen": "127.0.0.1:8000"}, "listen is set, and a Compose project does not have it"),
        ({"release": {"bake": 30}}, "release.bake is set"),
        ({"release": {"unit_extra": ["[Service]"]}}, "release.unit_extra is set"),
        ({"release": {"writable_paths": ["/srv/data"]}}, "release.writable_paths is set"),
        ({"tls": "letsencrypt"}, "at compose_publish, 127.0.0.1, no authority reaches nginx"),
        ({"tls": "letsencrypt", "certbot": {"challenge": "dns-01"}}, 'certbot.challenge is "dns-01"'),
        (
            {"tls": "letsencrypt", "certbot": {"fallbacks": [{"acme_directory": "https://ca.example.com/dir"}]}},
            "certbot.fallbacks is set",
        ),
        ({"nginx": {"static": {"/up/": "/var/lib/api/up"}}}, 'nginx serves "/var/lib/api/up", which is in no image'),
        ({"nginx": {"access_log": "journal"}}, 'nginx.access_log is "journal"'),
        ({"compose": {"depends_on": ["postgres"]}}, 'depends_on has "postgres", which compose_services does not name'),
        ({"compose": {"depends_on": ["redis"], "network": "none"}}, "it would not reach"),
        ({"env": {"WSGI_SOCKET": "/x"}}, "env.WSGI_SOCKET is set"),
        ({"source": {"package": "x", "version": "1"}, "compose": {"development": 8000}}, "source names no directory"),
        ({"release": {"memory_max": "50%"}}, 'release.memory_max is "50%", and Docker takes a size alone'),
        ({"release": {"memory_high": "100M"}}, "release.memory_high is set"),
        ({"image": {"containerfile": "Dockerfile"}}, 'image.containerfile is "Dockerfile"'),
        ({"name": "nginx"}, "which is a name of the project's own"),
    ],
)
def test_what_compose_cannot_do_is_refused_by_name(keys: dict[str, Any], said: str) -> None:
    assert said in told(resolved(**keys))


def test_a_fleet_is_refused() -> None:
    assert "a group balancers" in told({**resolved(), "tier": "app"})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"directory": "srv/compose"}, "compose_directory"),
        ({"directory": "/srv"}, "compose_directory"),
        ({"project": "My Project"}, "compose_project"),
        ({"publish": "everybody"}, "compose_publish"),
        ({"services": {"nginx": {}}}, "a name of the project's own"),
        ({"services": {"api-1": {}}}, "a name of the project's own"),
        ({"services": {"redis": "redis:8"}}, "which is not a service"),
    ],
)
def test_what_is_wrong_with_the_project(changes: dict[str, Any], said: str) -> None:
    assert said in told(**changes)
