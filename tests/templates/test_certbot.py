"""What the timer runs where certbot is Debian's: certbot itself, for what is due and nothing else."""

from __future__ import annotations

import datetime
import os
import subprocess
from pathlib import Path

import pytest
from ansible_collections.webops.wsgi.plugins.module_utils.certificates import making, model
from render import app, render

DAY = 86400


@pytest.fixture
def renew(tmp_path: Path):
    """Run it with a certbot that writes down its arguments; the one of the lineage `bad` fails."""
    script = render("certbot", "renew.sh.j2").replace("/etc/letsencrypt", str(tmp_path))
    certbot = tmp_path / "certbot"
    certbot.write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/asked\n[ "$5" != bad ]\n')
    certbot.chmod(0o755)

    def run() -> tuple[int, list[str]]:
        environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
        done = subprocess.run(["sh", "-c", script], env=environment, check=False)
        asked = tmp_path / "asked"
        return done.returncode, asked.read_text().splitlines() if asked.exists() else []

    return run


def lineage(folder: Path, name: str, told: str, days_ago: int = 0) -> None:
    """A certificate as certbot keeps it, and when it is told to renew it. It lives 365 days."""
    made = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=days_ago)
    pair = making.make_certificate(model.App(name, (f"{name}.test",), "selfsigned"), None, made)
    (folder / "live" / name).mkdir(parents=True)
    (folder / "live" / name / "cert.pem").write_text(pair.chain)
    (folder / "renewal").mkdir(exist_ok=True)
    (folder / "renewal" / f"{name}.conf").write_text(told)


def test_only_what_is_due_is_asked_for_and_a_failure_keeps_nothing_back(tmp_path: Path, renew) -> None:
    due = f"renew_before_expiry = {100 * DAY} seconds\n"
    lineage(tmp_path, "bad", due, days_ago=300)
    lineage(tmp_path, "due", due, days_ago=300)
    lineage(tmp_path, "fresh", due)
    lineage(tmp_path, "half", due, days_ago=200)  # which certbot 4.0 would renew if it lived six days
    lineage(tmp_path, "other", "# renew_before_expiry = 30 days\n")
    code, asked = renew()
    assert asked == [f"-q renew --no-random-sleep-on-renew --cert-name {name}" for name in ("bad", "due", "other")]
    assert code == 1


def test_a_damaged_one_is_left_to_certbot(tmp_path: Path, renew) -> None:
    lineage(tmp_path, "torn", f"renew_before_expiry = {DAY} seconds\n")
    (tmp_path / "live" / "torn" / "cert.pem").write_text("")
    assert renew() == (0, ["-q renew --no-random-sleep-on-renew --cert-name torn"])


def test_nothing_at_all(renew) -> None:
    assert renew() == (0, [])


@pytest.mark.parametrize(
    ("bundles", "method", "said"),
    [
        (
            ["/etc/a.pem"],
            "package",
            ["ExecStart=/usr/local/lib/wsgi-renew", "Environment=REQUESTS_CA_BUNDLE=/etc/a.pem"],
        ),
        (["/etc/a.pem"], "venv", ["Environment=REQUESTS_CA_BUNDLE=/etc/a.pem"]),
        ([""], "package", ["ExecStart=/usr/local/lib/wsgi-renew"]),
        (["/etc/a.pem", "", "/etc/a.pem"], "venv", ["cat /etc/a.pem /etc/ssl/certs/ca-certificates.crt >/run/"]),
    ],
)
def test_what_the_timer_runs_and_trusts(bundles: list[str], method: str, said: list[str]) -> None:
    fallbacks = [{"acme_directory": f"https://{name}.test/", "ca_bundle": name} for name in bundles[1:]]
    apps = [app(certbot={"fallbacks": fallbacks}), app("off", tls="off")]
    settings = {"certbot_ca_bundle": bundles[0], "certbot_install_method": method, "__wsgi_apps": apps}
    text = render("certbot", "certbot.service.conf.j2", **settings)
    assert all(line in text for line in said), text
    assert ("wsgi-renew" in text) is (method == "package")
    assert ("ExecStartPre" in text) is (len(bundles) > 1)
    unit = text if method == "package" else render("certbot", "certbot.service.j2", **settings)
    assert "EnvironmentFile=-/etc/environment" in unit, "renewals get out by the host's proxy, as the run does"
