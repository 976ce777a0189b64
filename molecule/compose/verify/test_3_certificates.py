"""Certificates of an authority: asked for by the project itself, shown, renewed, and kept where another is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from testbed import labs

PLACES = "--config-dir /certificates --work-dir /certificates/work --logs-dir /tmp"


def test_certificates_of_an_authority(
    deploy: Callable[..., Any], play: Callable[..., Any], client: Any, host: Any, project: Any
) -> None:
    domain = host.domain("api")
    done = deploy(tls="letsencrypt")
    assert done.code == 0, done.output
    issued = client.certificate(domain)
    assert "Pebble Intermediate CA" in issued
    assert client.get(host.url("api")).status == 200
    assert project.services() == {"nginx", "certbot", f"api-{project.release()}"}
    again = deploy(tls="letsencrypt")
    assert (again.code, again.changed) == (0, []), again.output
    assert project.compose("exec -T certbot id -u") != "0"
    [row] = [line for line in play(playbook="compose_status").output.splitlines() if line.startswith("d13 ")]
    assert " 89 " in row, row

    # By its own clock, on which nobody waits.
    project.compose(f"exec -T certbot certbot renew {PLACES} --force-renewal --no-random-sleep-on-renew")
    labs.wait_for(lambda: client.certificate(domain) not in (issued, ""), "nginx to show what certbot has renewed")
    renewed = client.certificate(domain)
    assert "Pebble Intermediate CA" in renewed

    # A name that leads nowhere is refused; what there is stays in service.
    refused = deploy(tls="letsencrypt", domains=[domain, "nowhere.example.test"])
    assert refused.code != 0
    assert 'app "api": has no certificate of an authority for its domains' in refused.output
    assert "Domain: nowhere.example.test" in refused.output
    assert client.certificate(domain) == renewed
    assert client.get(host.url("api")).status == 200
    assert deploy(tls="letsencrypt").code == 0
    assert deploy().code == 0
    assert project.services() == {"nginx", f"api-{project.release()}"}
