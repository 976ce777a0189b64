"""Mistakes in raw directives: none goes live, each message says where it is, and nobody notices meanwhile."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import yaml

HERE = Path(__file__)
BROKEN = yaml.safe_load((HERE.parents[1] / "data/broken.yml").read_text(encoding="utf-8"))["broken"]
MODULES = sorted((HERE.parents[3] / "plugins/module_utils/config_tree").glob("*.py"))

# The code of config_tree on the host itself, with the live tree and one mistake in it at a time, while another thread
# runs `nginx -t` and asks for a page.
SCRIPT = """
import json, pathlib, subprocess, sys, tempfile, threading

with tempfile.TemporaryDirectory() as folder:
    package = pathlib.Path(folder, "ansible_collections/webops/wsgi/plugins/module_utils/config_tree")
    package.mkdir(parents=True)
    for name, text in MODULES.items():
        (package / name).write_text(text)
    sys.path.insert(0, folder)
    from ansible_collections.webops.wsgi.plugins.module_utils.config_tree.apply import apply
    from ansible_collections.webops.wsgi.plugins.module_utils.config_tree.files import TOKEN, TreeError, TreeFile
    from ansible_collections.webops.wsgi.plugins.module_utils.config_tree.generation import read_live
    from ansible_collections.webops.wsgi.plugins.module_utils.config_tree.spec import Spec

root, domain = pathlib.Path("/etc/nginx/wsgi"), sys.argv[1]
live = read_live(Spec(str(root), []))
owners = {f"sites/{app}.conf": f'app "{app}"' for app in ["probe"]}
groups = {dest: "www-data" for dest in live.files if dest.startswith("passwords/")}

def spec(files):
    return Spec(
        str(root), files, links={"/etc/nginx/nginx.conf": "wsgi/nginx.conf"},
        validate="nginx -t -c {preview}/nginx.conf", reload="systemctl reload-or-restart nginx.service",
        running="http://127.0.0.1:80/generation", running_host="generation.wsgi.internal", timeout=30,
    )

def tree(mistake):
    files = []
    for dest, found in live.files.items():
        text = found.content.decode().replace(live.name, TOKEN)
        for place, text_of in mistake.items():
            if place == "server" and dest == "sites/probe.conf":
                text = text.rstrip().removesuffix("}") + "    " + text_of + "\\n}\\n"
            if place == "location" and dest == "sites/probe.conf":
                text = text.replace('location "/" {', 'location "/" {\\n        ' + text_of)
            if place == "http" and dest == "nginx.conf":
                text = text.rstrip().removesuffix("}") + "    " + text_of + "\\n}\\n"
        files.append(TreeFile(dest, text, found.mode, owners.get(dest, ""), groups.get(dest, "")))
    return spec(files)

troubles, done = [], threading.Event()
ask = ["curl", "-sk", "-o", "/dev/null", "-w", "%{http_code}", "--resolve", f"{domain}:443:127.0.0.1", f"https://{domain}/"]

def watch():
    while not done.is_set():
        tested = subprocess.run(["nginx", "-t", "-q"], capture_output=True, text=True)
        if tested.returncode:
            troubles.append(tested.stderr)
        status = subprocess.run(ask, capture_output=True, text=True).stdout
        if status != "200":
            troubles.append(f"answered {status}")

watcher = threading.Thread(target=watch)
watcher.start()
told = []
for mistake in BROKEN:
    try:
        apply(tree(mistake))
        told.append({"message": ""})
    except TreeError as error:
        told.append({"message": str(error), **{key: error.details.get(key) for key in ("file", "line", "owner")}})
done.set()
watcher.join()
after = apply(tree({}))
print(json.dumps({"told": told, "troubles": troubles, "changed": after.changed, "name": after.generation == live.name}))
"""


def test_no_mistake_goes_live(host):
    assert len(BROKEN) >= 30
    modules = {path.name: path.read_text(encoding="utf-8") for path in MODULES}
    script = f"MODULES = {modules!r}\nBROKEN = {BROKEN!r}\n{SCRIPT}"
    command = ["docker", "exec", "-i", host.container, "python3", "-", host.domain("probe")]
    done = subprocess.run(command, input=script, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    result = json.loads(done.stdout)
    silent = [mistake for mistake, told in zip(BROKEN, result["told"], strict=True) if not told["message"]]
    assert not silent, f"went live: {silent}"
    for mistake, told in zip(BROKEN, result["told"], strict=True):
        expected = ("nginx.conf", "") if "http" in mistake else ("sites/probe.conf", 'app "probe"')
        assert (told["file"], told["owner"]) == expected, f"{mistake}: {told['message']}"
        assert expected[1] in told["message"]
        assert told["line"] > 0, f"no line for {mistake}: {told['message']}"
    assert result["troubles"] == [], "nginx was not sound, or a client noticed"
    assert (result["changed"], result["name"]) == (False, True), "the good tree is not what is live"


@pytest.mark.parametrize(
    ("app", "nginx", "variables", "task", "words"),
    [
        (
            "below",
            {"location_snippet": "add_header X $none;"},
            {},
            "Report what failed",
            ['app "below"', "mounts/probe/below.conf, line ", 'unknown "none" variable'],
        ),
        (
            "probe",
            {},
            {"nginx_proxy_http_snippet": "geo $x { 300.0.0.0/8 1; }"},
            "webops.wsgi.nginx_proxy : Configure nginx as one tree",
            ["nginx.conf, line ", "300.0.0.0/8"],
        ),
    ],
)
def test_a_whole_run_with_a_mistake(play, apps, hosts, client, app, nginx, variables, task, words):
    """One in an app keeps what is new of that app from going live; one of nobody's keeps everything."""
    (host,) = [host for host in hosts if host.name == "d13"]
    look = f"cat /etc/nginx/wsgi/{'nginx.conf' if variables else 'mounts/probe/below.conf'} | grep -v generation"
    before = host.run(look)
    apps[app]["nginx"] = {**apps[app]["nginx"], **nginx}
    run = play("--limit", host.name, wsgi_apps=list(apps.values()), **variables)
    assert run.code != 0
    assert run.failed == [[host.name, task]]
    for word in words:
        assert word in run.output
    assert host.run(f"{look}; nginx -t -q") == before
    assert [client.get(host.url("probe", path)).status for path in ("/", "/below/healthz")] == [200, 200]


def test_the_run_after_it_is_good(play):
    run = play("--limit", "d13")
    assert run.code == 0, run.output
