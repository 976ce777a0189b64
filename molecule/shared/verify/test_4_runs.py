"""What runs of the playbook promise: check mode, refusals, healing, removal."""

from __future__ import annotations

import shutil
import subprocess
import tarfile

import pytest

ROOT_FILES = ("app", "requirements.txt")


def test_check_mode_predicted_the_first_run(runs):
    checks = [run for run in runs if run["check"]]
    real = [run for run in runs if not run["check"]]
    assert checks, "no check run recorded; this test belongs to `molecule test`, or: molecule destroy, check, converge"
    predicted, done = _tasks(checks[0]["changed"]), _tasks(real[0]["changed"])
    assert predicted == done, f"predicted but not done: {predicted - done}; done but not predicted: {done - predicted}"


def test_check_mode_on_a_finished_host_predicts_nothing(play):
    run = play("--check", "--diff")
    assert run.code == 0, run.output
    assert run.changed == []


@pytest.fixture
def source(repository_example, tmp_path):
    """A copy of the example that a test may change."""
    copy = tmp_path / "source"
    copy.mkdir()
    for name in ROOT_FILES:
        origin = repository_example / name
        (shutil.copytree if origin.is_dir() else shutil.copy)(origin, copy / name)
    return copy


def test_a_failed_run_loses_nothing(play, apps, hosts, client, source):
    """Both at once: new code, and an nginx that cannot be configured. Mending only nginx must bring the new code."""
    _replace(source / "app" / "views.py", 'version=config["VERSION"]', 'version="after-the-failure"')
    apps["api"]["source"] = {"path": str(source)}
    broken = play(wsgi_apps=list(apps.values()), nginx_proxy_http_snippet="no_such_directive on;")
    _refused(broken, "no_such_directive")
    for host in hosts:
        host.run("nginx -t")
        assert client.get(host.url("api")).status == 200

    mended = play(wsgi_apps=list(apps.values()))
    assert mended.code == 0, mended.output
    for host in hosts:
        assert client.get(host.url("api")).json["version"] == "after-the-failure"


def test_app_that_cannot_be_imported_is_refused(play, apps, serving):
    apps["api"]["entrypoint"] = "app:no_such_factory()"
    run = play(wsgi_apps=list(apps.values()))
    _refused(run, "api", "no_such_factory")
    serving.as_before()


def test_requirement_that_does_not_exist_is_refused(play, apps, serving, source):
    (source / "requirements.txt").write_text("flask==3.1.3\nno-such-package-of-anyone==1.0\n", encoding="utf-8")
    apps["api"]["source"] = {"path": str(source)}
    run = play(wsgi_apps=list(apps.values()))
    _refused(run, "api", "no-such-package-of-anyone")
    serving.as_before()


def test_archive_with_another_digest_is_refused(play, apps, serving, source):
    archive = source.parent / "api.tar.gz"
    with tarfile.open(archive, "w:gz") as packed:
        packed.add(source, arcname="api")
    apps["api"]["source"] = {"archive": str(archive), "sha256": "0" * 64}
    run = play(wsgi_apps=list(apps.values()))
    _refused(run, "api", "sha256", "0" * 64)
    serving.as_before()


def test_git_version_that_does_not_exist_is_refused(play, apps, serving, source):
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "one"]):
        identity = ["-c", "user.name=Test", "-c", "user.email=test@example.test"]
        subprocess.run(["git", "-C", str(source), *identity, *command], check=True)
    apps["api"]["source"] = {"git": f"file://{source}", "version": "v9.9.9"}
    run = play(wsgi_apps=list(apps.values()))
    _refused(run, "api", "v9.9.9")
    serving.as_before()


def test_port_taken_by_another_program_is_refused(play, hosts, client):
    for host in hosts:
        host.run("systemctl stop nginx")
        host.run("systemd-run -q --unit=squatter python3 -m http.server 80")
    try:
        run = play()
    finally:
        for host in hosts:
            host.run("systemctl stop squatter; systemctl start nginx")
    _refused(run, "80", "python3")
    for host in hosts:
        assert client.get(host.url("api")).status == 200


def test_unreachable_authority_leaves_the_site_serving(play, apps, hosts, client):
    """A new domain, and nobody to certify it: the site serves it on the placeholder, the run fails and says which."""
    apps["httpbin"]["domains"].append("new.{{ inventory_hostname }}.example.test")
    apps["httpbin"]["certbot"] = {"acme_directory": "https://ca.example.test:1/dir"}
    run = play(wsgi_apps=list(apps.values()))
    assert run.code != 0, "the run reports success though no certificate could be issued"
    assert "new.d12.example.test" in run.output or "new.d13.example.test" in run.output, run.output[-3000:]
    for host in hosts:
        served = client.get(host.url("httpbin"), "--insecure")
        assert served.status == 200, f"{host.url('httpbin')} answered {served.status} {served.error}"
        named = ["--resolve", f"new.{host.name}.example.test:443:{host.ipv4}", "--insecure"]
        new = client.get(f"https://new.{host.name}.example.test/", *named)
        assert new.status == 200, f"the new domain answered {new.status} {new.error}"


def test_the_inventory_as_it_was_heals_everything(play, hosts, client):
    mended = play()
    assert mended.code == 0, mended.output
    again = play()
    assert again.code == 0, again.output
    assert again.changed == [], "a run right after a successful one changed something"
    for host in hosts:
        for app in ("api", "httpbin"):
            answer = client.get(host.url(app))
            assert answer.status == 200, f"{host.url(app)}: {answer.status} {answer.error}"


def test_app_the_inventory_no_longer_names_is_reported_and_kept(play, apps, hosts, client):
    look = "readlink /srv/httpbin/current; systemctl show --property=MainPID 'httpbin@*'"
    look += "; cat /etc/nginx/wsgi/sites/httpbin.conf"
    before = [host.run(look) for host in hosts]
    run = play(wsgi_apps=[apps["api"]])
    assert run.code == 0, run.output
    assert [host.run(look) for host in hosts] == before, "an app that the inventory does not name was touched"
    for host in hosts:
        lines = [line for line in run.output.splitlines() if host.name in line and "httpbin" in line]
        assert lines, f"no line of the run names {host.name} and httpbin:\n{run.output}"
        assert client.get(host.url("httpbin")).status == 200


def test_absent_removes_all_but_the_data(play, apps, hosts, client):
    for host in hosts:
        host.run("echo precious >/var/lib/httpbin/data.txt")
    removal = {"wsgi_apps": [apps["api"], {**apps["httpbin"], "state": "absent"}]}
    predicted = play("--check", **removal)
    run = play(**removal)
    assert run.code == 0, run.output
    assert _tasks(predicted.changed) == _tasks(run.changed)
    for host in hosts:
        left = host.run(
            "ls -d /srv/httpbin /run/httpbin /etc/wsgi/httpbin /etc/nginx/wsgi/sites/httpbin.conf "
            "/etc/nginx/tls/httpbin /etc/letsencrypt/live/httpbin /etc/letsencrypt/renewal/httpbin.conf "
            "/etc/systemd/system/httpbin* /etc/systemd/system/*/httpbin* 2>/dev/null || true"
        )
        assert left == "", f"{host.name}: left behind:\n{left}"
        assert host.try_("getent passwd httpbin").returncode != 0, f"{host.name}: user httpbin is still there"
        units = host.run("systemctl list-units --all --plain --no-legend 'httpbin*'")
        assert units == "", f"{host.name}: units left:\n{units}"
        assert client.get(host.url("httpbin")).exit != 0, "the domain is still served"
        assert host.run("cat /var/lib/httpbin/data.txt") == "precious", "data went without purge: true"
        assert client.get(host.url("api")).status == 200
    again = play(**removal)
    assert again.changed == [], "removing what is gone changed something"


def test_purge_removes_the_data(play, apps, hosts):
    run = play(wsgi_apps=[apps["api"], {**apps["httpbin"], "state": "absent", "purge": True}])
    assert run.code == 0, run.output
    for host in hosts:
        assert host.try_("test -e /var/lib/httpbin").returncode != 0, f"{host.name}: /var/lib/httpbin is still there"


def _tasks(changed):
    return {tuple(pair) for pair in changed}


def _replace(path, old, new):
    text = path.read_text(encoding="utf-8")
    assert old in text, f"{path} no longer holds {old!r}; mend this test"
    path.write_text(text.replace(old, new), encoding="utf-8")


def _refused(run, *words):
    assert run.code != 0, f"the run reports success:\n{run.output[-3000:]}"
    for word in words:
        assert word in run.output, f"the message does not name {word}:\n{run.output[-3000:]}"
