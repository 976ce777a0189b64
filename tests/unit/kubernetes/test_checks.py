"""Bad input that is known before a cluster is asked."""

from __future__ import annotations

import re
from typing import Any

import pytest
from ansible_collections.webops.wsgi.plugins.plugin_utils.kubernetes.checks import clashes, problems
from kube import kube

WORKER = {"name": "w", "command": "run $WSGI_REPLICA", "replicas": 2, "stop_timeout": 60}
TIMER = {"name": "t", "command": "tidy", "on_calendar": "daily", "random_delay": 0, "timeout": 60}


def test_the_sample_is_good() -> None:
    assert problems(kube()) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"kubernetes": {"image": ""}}, "kubernetes_image is empty"),
        ({"kubernetes": {"image": "registry.example.com/api:1"}}, "does not name one image for good"),
        ({"image": {"pin": True}}, "kubernetes_proxy_image .* has no digest"),
        ({"kubernetes": {"namespace": "Shop"}}, "no name of a namespace"),
        ({"kubernetes": {"namespace": "kube-system"}}, "Kubernetes' own"),
        ({"kubernetes": {"ingress_class": ""}}, "kubernetes_ingress_class is empty"),
        ({"kubernetes": {"route": "gateway"}}, "kubernetes_gateway is empty"),
        ({"kubernetes": {"route": "gateway", "gateway": "e/p", "tls_secret": "x"}}, "certificates of a Gateway"),
        ({"kubernetes": {"annotations": {"a b": "1"}}}, "no name of one"),
        ({"kubernetes": {"annotations": {"example.com/a": 1}}}, "annotations are texts"),
        ({"kubernetes": {"cpu_request": "much"}}, "no quantity"),
        ({"release": {"memory_max": "50%"}}, "a share of a host's memory"),
        ({"kubernetes": {"memory_request": "1Gi"}, "release": {"memory_max": "512M"}}, "more than release_memory_max"),
        ({"kubernetes": {"cpu_request": "2"}, "release": {"cpu_quota": "150%"}}, "more than release_cpu_quota"),
        ({"kubernetes": {"replicas_max": 4, "cpu_request": ""}}, "of which it counts shares"),
        ({"kubernetes": {"replicas_max": 2}}, "kubernetes_replicas_max is 2"),
        ({"kubernetes": {"canary_percent": 10}}, "has no weights"),
        (
            {"kubernetes": {"canary_percent": 10, "route": "gateway", "gateway": "e/p", "strategy": "rolling"}},
            "kubernetes_strategy is",
        ),
        ({"persistent": ["uploads"], "kubernetes": {"storage_access": "ReadWriteOnce"}}, "the app has 2 pods"),
        (
            {"persistent": ["uploads"], "kubernetes": {"storage_access": "ReadWriteOnce", "replicas": 1}},
            "could not start beside the old one",
        ),
        ({"image": {"health_timeout": 900}}, "nginx gives an answer up after"),
        ({"kubernetes": {"trusted_proxies": ["0.0.0.0/0"]}}, "everybody"),
        ({"kubernetes": {"trusted_proxies": ["10.1.0.0/99"]}}, "no network"),
        ({"timers": [{**TIMER, "on_calendar": "*-*-* 03:00:30"}]}, "no seconds"),
        ({"timers": [{**TIMER, "random_delay": 60}]}, "random_delay is set"),
        ({"timers": [{**TIMER, "name": "n" * 50}]}, "CronJob's name is 65 long"),
        ({"workers": [WORKER]}, "have no numbers"),
        ({"listen": "127.0.0.1:8000"}, "an address of a host"),
        ({"hosts": "web1"}, "pods go where the cluster has room"),
        ({"nginx": {"client_ca": "/ca.pem"}}, "TLS ends at the controller"),
        ({"nginx": {"static": {"/media/": "/srv/media"}}}, "a directory of a host"),
        ({"release": {"bake": 10}, "kubernetes": {"strategy": "rolling"}}, "no old pods to go back to"),
        ({"domains": ["192.0.2.7"]}, "an address, and controllers are asked by names"),
        ({"secrets": {"BIG": "x" * 1_000_001}}, "holds 1000000"),
    ],
)
def test_refused(change: dict[str, Any], said: str) -> None:
    found = problems(kube(**change))
    assert len(found) == 1, found
    assert re.search(said, found[0].text)
    assert found[0].fix


def test_a_secret_that_is_too_large_is_not_shown() -> None:
    (found,) = problems(kube(secrets={"BIG": "planted" * 200_000}))
    assert "planted" not in found.text + found.fix


def test_apps_whose_objects_would_have_one_name() -> None:
    first = {**kube(workers=[{**WORKER, "command": "run"}], kubernetes={"namespace": "shop"}), "name": "api"}
    second = {**kube(kubernetes={"namespace": "shop"}), "name": "api-w"}
    assert [problem.app for problem in clashes([first, second])] == ["api-w"]
    apart = {**second, "kubernetes": {**second["kubernetes"], "namespace": "other"}}
    assert clashes([first, apart]) == []
