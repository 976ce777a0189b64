"""Files that are written instead of being applied, and nginx's in a pod."""

from __future__ import annotations

from pathlib import Path

import yaml
from ansible_collections.webops.wsgi.plugins.plugin_utils.kubernetes import written
from kube import kube, made, texts


def test_what_is_written_is_listed_and_says_how_many_pods() -> None:
    rendered = made(kubernetes={"strategy": "rolling"}, secrets={"SECRET_KEY": "of the tests"})
    found = written.files([rendered])
    listed = yaml.safe_load(found[written.KUSTOMIZATION])["resources"]
    assert sorted([*listed, written.KUSTOMIZATION]) == sorted(found)
    assert yaml.safe_load(found["api/deployment-api.yaml"])["spec"]["replicas"] == 2


def test_only_what_differs_is_written_and_only_what_was_written_goes(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("kind: ConfigMap\n")
    first = written.files([made(kubernetes={"strategy": "rolling"}, secrets={"SECRET_KEY": "of the tests"})])
    written.write(tmp_path, written.differences(tmp_path, first))
    assert written.differences(tmp_path, first) == {}
    (secret,) = (tmp_path / "api").glob("secret-*.yaml")
    assert secret.stat().st_mode & 0o777 == 0o600
    second = written.files([made(kubernetes={"strategy": "rolling"})])
    written.write(tmp_path, written.differences(tmp_path, second))
    assert not secret.exists()
    assert own.exists()


def test_nginx_of_a_pod_ends_no_tls_and_leads_to_https() -> None:
    tree = texts(kube()).proxy
    assert "listen 8080" in tree["sites/api.conf"]
    assert "ssl_certificate" not in "".join(tree.values())
    assert "worker_processes 2;" in tree["nginx.conf"]
    assert "return 308 https://$host$request_uri;" in tree["sites/api.conf"]
    assert "return 308 https://$host" not in texts(kube(kubernetes={"https_redirect": False})).proxy["sites/api.conf"]
    assert "set_real_ip_from 10.0.0.0/8;" in tree["nginx.conf"]
    assert "Strict-Transport-Security" in tree["sites/api.conf"]


def test_a_pod_has_no_journal() -> None:
    tree = texts(kube(nginx={"access_log": "journal"})).proxy
    assert "syslog" not in tree["sites/api.conf"]
    assert "/var/log/nginx/api.access.log" in tree["sites/api.conf"]


def test_the_node_s_questions_are_answered_while_the_app_is_closed() -> None:
    site = texts(kube()).proxy["sites/api.conf"]
    assert "default /etc/nginx/maintenance/api;" in site
    assert "default $wsgi_api_closed_to;\n    8081 /nonexistent;" in site
    assert "listen 8081;" in site


def test_an_app_below_a_path_has_the_domains_of_another_and_nothing_beside_its_path() -> None:
    site = texts(kube(path="/shop", site="front", tls="off", scheme="https")).proxy["sites/api.conf"]
    assert 'location ^~ "/shop/" {' in site
    assert "server_name api.example.com;" in site
    assert "location / {\n        return 404;" in site
    assert "return 308 https://$host$request_uri;" in site
