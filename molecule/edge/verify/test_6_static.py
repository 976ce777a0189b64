"""Static files: ready to send, fresh after a deployment, and there for pages that are still open."""

from __future__ import annotations

import shutil

import pytest

FINGERPRINTED = "/static/main.0a1b2c3d4e.js"


@pytest.fixture
def source(scenario, tmp_path):
    """A copy of the app's source that a test may change."""
    return shutil.copytree(scenario / "apps/probe", tmp_path / "probe")


def test_how_long_a_client_may_keep_a_file(host, client):
    plain = client.get(host.url("probe", "/static/style.css"))
    assert plain.headers["cache-control"] == "max-age=3600"
    digest = client.get(host.url("probe", FINGERPRINTED))
    assert digest.headers["cache-control"] == "public, max-age=31536000, immutable"
    for answer in (plain, digest):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["etag"]


def test_a_file_that_has_not_changed_is_not_sent_again(host, client):
    url = host.url("probe", "/static/style.css")
    tag = client.get(url).headers["etag"]
    again = client.get(url, "-H", f"If-None-Match: {tag}")
    assert (again.status, again.body) == (304, "")


@pytest.mark.parametrize(("accepted", "suffix"), [("gzip", "gz"), ("gzip, br", "br")])
def test_compressed_at_build_time(host, client, accepted, suffix):
    place = f"/srv/probe/current/app/src/static/page.css.{suffix}"
    assert host.run(f"stat -Lc %a {place}") == "644"
    script = 'curl -s --cacert "$1" -H "Accept-Encoding: $2" "$0" | base64'
    sent = client.shell(script, host.url("probe", "/static/page.css"), client.root, accepted)
    on_disk = host.run(f"base64 {place}")
    assert sent == on_disk, "what is sent is not the file that was compressed when the app was built"
    plain = client.get(host.url("probe", "/static/page.css"))
    assert "content-encoding" not in plain.headers


@pytest.mark.parametrize(("accepted", "encoding"), [("gzip, br", "br"), ("gzip", "gzip"), ("identity", None)])
def test_answers_are_compressed_as_the_client_likes(host, client, accepted, encoding):
    url = host.url("probe", "/seen")
    padding = ["-H", f"X-Padding: {'abc' * 300}"]
    answer = client.get(url, "-H", f"Accept-Encoding: {accepted}", *padding, "-o", "/dev/null")
    assert answer.headers.get("content-encoding") == encoding
    assert "accept-encoding" in answer.headers["vary"].lower()
    told = client.get(url, "--compressed", *padding)
    assert told.json["headers"]["X-Padding"] == "abc" * 300


def test_uploads_are_served_without_the_app(host, client):
    assert client.get(host.url("probe", "/keep/page.html"), "-X", "PUT", "--data", "uploaded").status == 200
    host.run("systemctl stop probe.target")
    try:
        answer = client.get(host.url("probe", "/uploads/page.html"))
    finally:
        host.run("systemctl start probe.target")
    assert (answer.status, answer.body) == (200, "uploaded")
    assert answer.headers["x-content-type-options"] == "nosniff"
    tries = ["--retry", "120", "--retry-delay", "1", "--retry-all-errors", "--fail"]
    assert client.get(host.url("probe"), *tries).status == 200


@pytest.mark.parametrize("target", ["/etc/passwd", "../other", "/srv/probe/current/app/src/static/style.css"])
def test_no_link_leads_out_of_the_uploads(host, client, target):
    host.run("install -m 0644 /dev/null /var/lib/probe/other")
    assert client.get(host.url("probe", f"/keep/link?link={target}"), "-X", "PUT").status == 200
    answer = client.get(host.url("probe", "/uploads/link"))
    assert answer.status in (403, 404), f"a link of the app's shows {target}"


@pytest.mark.parametrize("path", ["etc/passwd", "var/log/nginx/below.access.log", "uploads-aside/page.html"])
def test_a_link_in_the_place_of_the_uploads(host, client, path):
    """The directory is the app's own: it may rename it and put a link to anywhere there."""
    client.get(host.url("probe", "/keep/page.html"), "-X", "PUT", "--data", "uploaded")
    target = "/" if not path.startswith("uploads") else "/var/lib/probe"
    assert client.get(host.url("probe", f"/swap/uploads?link={target}"), "-X", "PUT").status == 200
    try:
        answer = client.get(host.url("probe", f"/uploads/{path}"))
    finally:
        client.get(host.url("probe", "/swap/uploads"), "-X", "PUT")
    assert answer.status in (403, 404), f"nginx follows the app's link to {target}: {answer.body[:80]}"
    assert client.get(host.url("probe", "/uploads/page.html")).body == "uploaded"


def test_an_app_does_not_lead_clients_to_what_is_not_for_them(host, client):
    assert client.get(host.url("probe", "/leads-to/static/.env")).status in (403, 404)
    assert client.get(host.url("probe", "/leads-to/static/style.css")).status == 200


def test_uploads_among_the_static_files(host, client):
    assert client.get(host.url("probe", "/keep/page.html?to=static/media"), "-X", "PUT", "--data", "mine").status == 200
    answer = client.get(host.url("probe", "/static/media/page.html"))
    assert (answer.status, answer.body) == (200, "mine")
    client.get(host.url("probe", "/keep/out?to=static/media&link=/etc/passwd"), "-X", "PUT")
    assert client.get(host.url("probe", "/static/media/out")).status in (403, 404)


def test_whom_the_app_does_not_let_in_gets_no_static_files(host, client):
    """The host itself may say who the client is, since nginx_proxy_trusted_proxies names it."""
    url = host.url("probe", "/below/static/style.css")
    ask = f"curl -sk -o /dev/null -w '%{{http_code}}\n' --resolve {host.domain('probe')}:443:127.0.0.1"
    answers = [host.run(f"{ask} -H 'X-Forwarded-For: {who}' {url}") for who in ("203.0.113.9", "203.0.113.8")]
    assert answers == ["403", "200"]
    assert client.get(url).status == 200


def test_nothing_else_of_the_state_is_shown(host, client):
    client.get(host.url("probe", "/keep/.hidden"), "-X", "PUT", "--data", "x")
    host.run("echo private >/var/lib/probe/private && chmod 644 /var/lib/probe/private")
    for path in ("/uploads/.hidden", "/uploads/../private", "/uploads/", "/uploads", "/uploads../private"):
        answer = client.get(host.url("probe", path), "--path-as-is")
        assert answer.status in (403, 404), path
        assert "private" not in answer.body


def readable(host) -> set[str]:
    """What nginx may read of the app's state."""
    host.run("install -o probe -g probe -m 0640 /dev/null /var/lib/probe/attic/later")
    ask = "test -r /var/lib/probe/$0 && echo $0"
    script = f"setpriv --reuid www-data --regid www-data --clear-groups sh -c '{ask}'"
    places = ["uploads", "static/media", "attic", "attic/file", "attic/later"]
    return {place for place in places if host.run(f"{script} {place} || true")}


def test_a_deployment_shows_new_files_at_once_and_keeps_what_open_pages_name(play, apps, hosts, client, source):
    (source / "static/style.css").write_text("body { color: #456 }\n", encoding="utf-8")
    (source / "static/main.0a1b2c3d4e.js").rename(source / "static/main.f0f0f0f0a1.js")
    apps["probe"]["source"] = {"path": str(source)}
    del apps["probe"]["nginx"]["static"]["/attic/"]
    for host in hosts:
        host.run("su -s /bin/sh probe -c 'umask 077; echo up >~/attic/file'")
    assert client.get(hosts[0].url("probe", "/attic/file")).body == "up\n"
    run = play(wsgi_apps=list(apps.values()), playbook="deploy")
    assert run.code == 0, run.output
    for host in hosts:
        assert readable(host) == {"uploads", "static/media"}
        assert "#456" in client.get(host.url("probe", "/static/style.css")).body, "an old file is still served"
        assert client.get(host.url("probe", "/static/main.f0f0f0f0a1.js")).status == 200
        old = client.get(host.url("probe", FINGERPRINTED))
        assert old.status == 200, "a page that is still open lost its script"
        assert "fingerprinted" in old.body
        assert old.headers["cache-control"] == "public, max-age=31536000, immutable"
        gone = client.get(host.url("probe", "/static/main.ffffffff0.js"))
        assert (gone.status, gone.json["status"]) == (404, 404)
