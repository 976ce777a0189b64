"""What the apps can do and what they cannot."""

from __future__ import annotations

import re

EXPOSURE_LIMIT = 1.5  # of `systemd-analyze security`: 0 is best, 10 worst


def test_only_nginx_and_ssh_listen_on_tcp(host):
    listening = host.run("ss --listening --tcp --numeric --processes --no-header")
    programs = set(re.findall(r'users:\(\("([^"]+)"', listening))
    assert programs <= {"nginx", "sshd", "systemd"}, f"unexpected TCP listeners:\n{listening}"
    assert "nginx" in programs, f"nginx does not listen:\n{listening}"


def test_no_process_of_an_app_runs_as_root(host, app):
    instance = host.instance(app)
    processes = host.run(f"ps -eo user:32=,cgroup:200=,args= | grep -F '/{instance}' | grep -v grep").splitlines()
    users = {line.split()[0] for line in processes}
    assert users == {app}, f"processes of {instance} run as {users}, expected only {app}:\n" + "\n".join(processes)


def test_sandbox_is_tight(host, app):
    instance = host.instance(app)
    report = host.run(f"systemd-analyze security --no-pager {instance}")
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", report)
    assert found, f"no exposure in:\n{report}"
    exposed = "\n".join(line for line in report.splitlines() if "✗" in line)
    assert float(found[1]) <= EXPOSURE_LIMIT, f"{instance} scores {found[1]}, limit {EXPOSURE_LIMIT}; open:\n{exposed}"


def test_app_cannot_rewrite_its_own_code(host, app):
    writable = host.run(
        f"setpriv --reuid={app} --regid={app} --init-groups find /srv/{app} -writable -not -type l || true"
    )
    assert writable == "", f"{app} may write to its own code:\n{writable}"


def test_apps_cannot_read_each_other(host):
    found = host.try_("setpriv --reuid=httpbin --regid=httpbin --init-groups ls /var/lib/api/ /run/api/")
    assert found.returncode != 0, f"httpbin may look into api's directories:\n{found.stdout}"


def test_private_keys_are_private(host):
    loose = host.run("find -L /etc/nginx/tls /etc/letsencrypt/live -name 'privkey*.pem' -perm /0077")
    assert loose == "", f"private keys that others may read:\n{loose}"


def test_everything_starts_at_boot(host, app):
    for unit in (f"{app}.target", "nginx.service", "certbot.timer"):
        state = host.try_(f"systemctl is-enabled {unit}").stdout.strip()
        assert state == "enabled", f"{unit} is {state!r}, expected enabled"


def test_nginx_accepts_what_lies_on_disk(host):
    host.run("nginx -t")


def test_no_unit_has_failed(host):
    assert host.run("systemctl list-units --failed --plain --no-legend") == ""
