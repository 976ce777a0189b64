"""A host that replaces another one gets its certificates by playbook."""

from __future__ import annotations

import stat


def test_a_new_host_goes_on_with_what_the_old_one_had(play, hosts, client, authority, tmp_path):
    saved = tmp_path / "saved"
    done = play("-e", f"directory={saved}", playbook="export_certificates")
    assert done.code == 0, done.output
    assert stat.S_IMODE(saved.stat().st_mode) == 0o700
    refused = play("-e", f"directory={saved}", playbook="import_certificates")
    assert refused.code != 0
    assert "has certificates of its own (" in refused.output, refused.output[-2000:]
    before = {host: client.certificate(host.domain("moved")) for host in hosts}

    for host in hosts:  # as if it were another one
        host.run("systemctl stop nginx; rm -rf /etc/letsencrypt /etc/nginx/tls.d /var/lib/letsencrypt")
        host.run("cd /etc/nginx/tls; rm grow keyed moved own")
    restored = play("-e", f"directory={saved}", playbook="import_certificates")
    assert restored.code == 0, restored.output
    seen = authority.mark()
    run = play(playbook="../molecule/tls/certificates")
    assert run.code == 0, run.output
    told = seen()
    assert told.orders == len(hosts), f"only grow, which has a domain less than before, is asked for: {told}"
    for host in hosts:
        assert client.certificate(host.domain("moved")) == before[host]
        assert client.get(host.url("grow")).status == 200
        modes = host.run("find /etc/letsencrypt/archive -name 'privkey*' -exec stat -c '%a %U' {} + | sort -u")
        assert modes == "600 root", modes
        assert host.run("systemctl is-active nginx certbot.timer") == "active\nactive"
