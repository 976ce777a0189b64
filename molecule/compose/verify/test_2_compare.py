"""What other ways of updating a Compose project lose, under the same load on the same host, in one table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

PLACE = "/srv/compare"
# The same image, over TCP, as Compose projects commonly have it; nginx asks the engine's DNS each second.
PROJECT = """
services:
  nginx:
    image: {nginx}
    entrypoint: [nginx, -c, /compare/nginx.conf, -g, "daemon off;"]
    ports: ["127.0.0.1:8080:8080"]
    volumes: ["./nginx.conf:/compare/nginx.conf:ro"]
  web:
    image: {image}
    entrypoint: [/wsgi/app/venv/bin/python, -m, gunicorn, --bind, "0.0.0.0:8000", --workers, "2", --threads, "4",
                 --worker-tmp-dir, /dev/shm, --no-control-socket, "app:create_app()"]
    working_dir: /wsgi/app/src
    environment: {{MOTTO: "${{MOTTO:-0}}", STATE_DIRECTORY: /tmp}}
    stop_grace_period: 40s
    healthcheck:
      test: [CMD, /wsgi/app/venv/bin/python, -c, "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/')"]
      interval: 1s
      timeout: 5s
      retries: 60
"""
NGINX = """
events {}
http {
    resolver 127.0.0.11 valid=1s;
    access_log off;
    server {
        listen 8080;
        location / {
            set $upstream http://web:8000;
            proxy_pass $upstream;
        }
    }
}
"""
# What docker-rollout does, in its own order: twice as many containers, until the new one is healthy; ten seconds as it
# recommends for the proxy; then the old one goes.
ROLLOUT = r"""
set -eu
cd {place}
old=$(docker compose ps --quiet web)
MOTTO={motto} docker compose up --detach --scale web=2 --no-recreate web </dev/null
new=$(docker compose ps --quiet web | grep -v "$old")
timeout 90 sh -c "until [ \"\$(docker inspect -f '{{{{.State.Health.Status}}}}' $new)\" = healthy ]; do sleep 1; done"
{pause}
docker stop "$old"
docker rm "$old"
"""


@pytest.fixture
def common(host: Any, project: Any) -> Any:
    """A project as it is commonly written, of the same image."""
    image = host.run(f"docker inspect -f '{{{{.Config.Image}}}}' wsgi-api-{project.release()}-1")
    nginx = host.run("docker inspect -f '{{.Config.Image}}' wsgi-nginx-1")
    host.run(f"mkdir -p {PLACE}; cat >{PLACE}/nginx.conf <<'N'\n{NGINX}\nN")
    host.run(f"cat >{PLACE}/compose.yaml <<'C'\n{PROJECT.format(image=image, nginx=nginx)}\nC")
    project.compose("up --detach --wait", PLACE)
    yield project
    project.compose("down --timeout 2", PLACE)
    host.run(f"rm -rf {PLACE}")


@pytest.mark.usefixtures("common")
def test_what_each_way_loses(deploy: Callable[..., Any], host: Any, visitors: Callable[..., Any]) -> None:
    assert deploy().code == 0
    table = {}
    with visitors(port=8080) as table["docker compose up"]:
        for number in (1, 2, 3):
            host.run(f"cd {PLACE}; MOTTO={number} docker compose up --detach --wait web </dev/null")
    for name, pause in (("scale, healthy, stop", ":"), ("the same with 10 s before the stop", "sleep 10")):
        with visitors(port=8080) as table[name]:
            for number in (4, 5, 6):
                host.run(ROLLOUT.format(place=PLACE, motto=number, pause=pause))
    with visitors() as table["webops.wsgi.compose"]:
        for number in ("7", "8", "9"):
            done = deploy(number)
            assert done.code == 0, done.output
    print(f"\n{'three deployments by':36}  failed      of  slowest")
    for name, seen in table.items():
        asked = seen["good"] + seen["failed"]
        print(f"{name:36}  {seen['failed']:6}  {asked:6}  {seen['slowest']:5.2f} s")
    assert table["webops.wsgi.compose"]["failed"] == 0
    assert table["docker compose up"]["failed"] > 0
