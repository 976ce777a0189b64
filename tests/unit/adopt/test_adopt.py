# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts that were set up by hand in the usual ways, and the inventory that comes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.webops.wsgi.plugins.module_utils.adopt import commands, programs, proxy, variables
from ansible_collections.webops.wsgi.plugins.module_utils.adopt.host import Host
from ansible_collections.webops.wsgi.plugins.plugin_utils.adopt.inventory import app_name, inventory, names, secrets
from ansible_collections.webops.wsgi.plugins.plugin_utils.checks import run
from ansible_collections.webops.wsgi.plugins.plugin_utils.inventory.settings import load_schema
from roles import ROOT

COMMIT = "0123456789abcdef" * 2 + "01234567"

# gunicorn on a socket behind nginx, TLS by `certbot --nginx`; a clone, secrets in .env, a worker, a cron job.
GUNICORN = {
    "/etc/systemd/system/shop.service": """\
[Unit]
Description=shop
After=network.target
[Service]
User=www-data
Group=www-data
WorkingDirectory=/home/ada/shop
EnvironmentFile=/home/ada/shop/.env
Environment="LOG_LEVEL=info" 'GREETING=hello there'
ExecStart=/home/ada/shop/venv/bin/gunicorn \\
    --workers 3 --threads=4 -t 90 \\
    --bind unix:/run/shop.sock --access-logfile - --statsd-host localhost:8125 \\
    shop.wsgi:app
LimitNOFILE=65535
[Install]
WantedBy=multi-user.target
""",
    "/etc/systemd/system/shop-celery.service": """\
[Service]
WorkingDirectory=/home/ada/shop
EnvironmentFile=/home/ada/shop/.env
ExecStart=/home/ada/shop/venv/bin/celery -A shop.tasks worker -c 2
""",
    "/etc/nginx/sites-enabled/shop": """\
# by certbot
server {
    server_name shop.example.com www.shop.example.com;
    client_max_body_size 25M;
    location / { include proxy_params; proxy_pass http://unix:/run/shop.sock; proxy_read_timeout 2m; }
    location /static { alias /home/ada/shop/static/; expires 30d; }
    location /old { rewrite ^/old/(.*)$ /new/$1 permanent; }
    add_header X-Robots-Tag "no{index}" always;
    listen 443 ssl; # managed by Certbot
    ssl_certificate /etc/letsencrypt/live/shop.example.com/fullchain.pem; # managed by Certbot
    ssl_certificate_key /etc/letsencrypt/live/shop.example.com/privkey.pem; # managed by Certbot
    include /etc/letsencrypt/options-ssl-nginx.conf;
}
server {
    if ($host = shop.example.com) { return 301 https://$host$request_uri; }
    listen 80;
    server_name shop.example.com;
    return 404;
}
""",
    "/etc/letsencrypt/renewal/shop.example.com.conf": "version = 2.1.0\n",
    "/home/ada/shop/.env": (
        "# of production\nexport DEBUG=false\nSECRET_KEY='correct horse'\n"
        'DATABASE_URL="postgresql://shop:battery@db/shop"\nSTRIPE=sk_live_staple\n'
    ),
    "/home/ada/shop/.git/config": '[remote "origin"]\n\turl = https://ada:token@git.example.com/shop.git\n',
    "/home/ada/shop/.git/HEAD": "ref: refs/heads/main\n",
    "/home/ada/shop/.git/packed-refs": f"# pack-refs\n{COMMIT} refs/heads/main\n",
    "/home/ada/shop/requirements.txt": "flask==3.1.0\n",
    "/home/ada/shop/venv/pyvenv.cfg": "version = 3.11.2\n",
    "/var/spool/cron/crontabs/ada": "# m h\n0 3 * * * /home/ada/shop/venv/bin/flask tidy\n5 5 * * * /usr/bin/backup\n",
}
SECRETS = ("correct horse", "battery", "sk_live_staple", "token@")

# uWSGI with an .ini by a unit, a certificate that somebody bought.
UWSGI = {
    "/etc/systemd/system/uwsgi-notes.service": """\
[Service]
ExecStart=/srv/notes/env/bin/uwsgi --ini /srv/notes/notes.ini
WorkingDirectory=/srv/notes
Type=notify
""",
    "/srv/notes/notes.ini": """\
[uwsgi]
chdir = /srv/notes
module = notes.wsgi
master = true
processes = 4
threads = 2
harakiri = 60
socket = /run/%n.sock
vacuum = true
offload-threads = 2
""",
    "/etc/nginx/conf.d/notes.conf": """\
upstream notes { server unix:///run/notes.sock; }
server {
    listen 443 ssl;
    server_name notes.example.com;
    ssl_certificate /etc/ssl/notes.pem;
    ssl_certificate_key /etc/ssl/private/notes.key;
    location /media/ { root /srv/notes-data; }
    location / { uwsgi_pass notes; include uwsgi_params; }
}
""",
    "/srv/notes/env/pyvenv.cfg": "version_info = 3.13.5.final.0\n",
    "/srv/notes/env/lib/python3.13/site-packages/django-5.2.8.dist-info/METADATA": "",
    "/srv/notes/env/lib/python3.13/site-packages/uwsgi-2.0.31.dist-info/METADATA": "",
    "/srv/notes/env/lib/python3.13/site-packages/pip-25.1.dist-info/METADATA": "",
}

# Supervisor, gunicorn's configuration file, a port, no TLS.
SUPERVISOR = {
    "/etc/supervisor/conf.d/api.conf": """\
[program:api]
command=/opt/api/venv/bin/python -m gunicorn -c gunicorn.conf.py "api:create_app()" ; the server
directory=/opt/api
user=api
autostart=true
environment=FLASK_ENV="production",API_TOKEN="correct horse, battery",RATE="50%%"
nice=5
[program:other]
command=/usr/bin/other
""",
    "/opt/api/gunicorn.conf.py": """\
import multiprocessing
bind = "127.0.0.1:8001"
workers = multiprocessing.cpu_count() * 2 + 1
worker_class = "gthread"
threads = 8
preload_app = True
def on_starting(server):
    pass
""",
    "/etc/nginx/nginx.conf": (
        "events {}\nhttp { server { listen 80; server_name api.example.com; location / "
        "{ proxy_pass http://localhost:8001/; } } }\n"
    ),
    "/opt/api/pyproject.toml": "[project]\nname = 'api'\n",
    "/opt/api/venv/pyvenv.cfg": "version = 3.11.2\n",
}


def host(root: Path, files: dict[str, str]) -> Host:
    for name, text in files.items():
        path = root / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return Host(root)


def written(root: Path, files: dict[str, str]) -> tuple[dict[str, Any], str]:
    """The only app of the inventory that is written, and its text."""
    text = inventory("web1", host(root, files).found(), {"ansible_user": "deploy"})
    content = yaml.safe_load(text)
    assert content["wsgi"]["hosts"] == {"web1": {"ansible_user": "deploy"}}
    (app,) = content["wsgi"]["vars"]["wsgi_apps"]
    return app, text


def test_gunicorn_behind_nginx_with_certbot(tmp_path: Path) -> None:
    app, text = written(tmp_path, GUNICORN)
    assert app == {
        "name": "shop",
        "source": {"git": "https://git.example.com/shop.git", "version": COMMIT},
        "entrypoint": "shop.wsgi:app",
        "domains": ["shop.example.com", "www.shop.example.com"],
        "python": {"version": "3.11"},
        "env": {"LOG_LEVEL": "info", "DEBUG": "false"},
        "secrets": {
            "GREETING": "{{ vault_shop_greeting }}",
            "SECRET_KEY": "{{ vault_shop_secret_key }}",
            "DATABASE_URL": "{{ vault_shop_database_url }}",
            "STRIPE": "{{ vault_shop_stripe }}",
        },
        "gunicorn": {"workers": "3", "threads": 4, "timeout": 90},
        "nginx": {"client_max_body_size": "25m", "read_timeout": 120, "static": {"/static/": "static"}},
        "workers": [{"name": "celery", "command": "celery -A shop.tasks worker -c 2"}],
    }
    comments = [line.strip() for line in text.splitlines() if line.strip().startswith("#")]
    for part in (
        "# systemd: /etc/systemd/system/shop.service",
        "# nginx: its server block is in /etc/nginx/sites-enabled/shop, which is not read any more after the move.",
        "#   LimitNOFILE=65535",
        "#   gunicorn: statsd-host = localhost:8125",
        "#   location /old {...}",
        "#   add_header X-Robots-Tag no{index} always",
        "#   cron: 0 3 * * * /home/ada/shop/venv/bin/flask tidy, see `timers`",
    ):
        assert part in comments, f"{part} is missing in {comments}"
    assert any("SECRET_KEY, DATABASE_URL, STRIPE are in /home/ada/shop/.env" in line for line in comments)
    assert not any("/usr/bin/backup" in line for line in comments)


def test_uwsgi_with_a_file_of_its_own(tmp_path: Path) -> None:
    app, text = written(tmp_path, UWSGI)
    assert app == {
        "name": "notes",
        "source": {"path": "notes"},
        "entrypoint": "notes.wsgi:application",
        "server": "uwsgi",
        "domains": ["notes.example.com"],
        "tls": "provided",
        "certificate": {"cert": "notes.pem", "key": "notes.key"},
        "python": {"version": "3.13", "packages": ["django==5.2.8"]},
        "uwsgi": {"workers": "4", "threads": 2, "harakiri": 60},
        "nginx": {"static": {"/media/": "/srv/notes-data/media"}},
    }
    assert "#   uwsgi: offload-threads = 2" in text
    assert "# Server: uwsgi 2.0.31 is installed" in text
    assert "copy /etc/ssl/notes.pem and /etc/ssl/private/notes.key" in text
    assert "`persistent`" in text


def test_supervisor_with_a_configuration_file_of_gunicorn(tmp_path: Path) -> None:
    app, text = written(tmp_path, SUPERVISOR)
    assert app == {
        "name": "api",
        "source": {"path": "api"},
        "entrypoint": "api:create_app()",
        "domains": ["api.example.com"],
        "tls": "off",
        "python": {"version": "3.11"},
        "env": {"FLASK_ENV": "production"},
        "secrets": {"API_TOKEN": "{{ vault_api_api_token }}", "RATE": "{{ vault_api_rate }}"},
        "gunicorn": {"worker_class": "gthread", "threads": 8, "preload": True},
    }
    assert "#   nice=5" in text
    assert "gunicorn.conf.py: workers = multiprocessing.cpu_count() * 2 + 1" in text
    assert "gunicorn.conf.py: def on_starting(server):" in text


NGINX = "server {{ listen 80; server_name app.example.com; location / {{ {} }} }}"
# The ways that tutorials take which many people have followed: files, and what is to come of them.
WAYS = {
    "a socket by a relative name, umask": (
        {
            "/etc/systemd/system/myproject.service": (
                "[Service]\nUser=sam\nWorkingDirectory=/home/sam/myproject\n"
                'Environment="PATH=/home/sam/myproject/env/bin"\n'
                "ExecStart=/home/sam/myproject/env/bin/gunicorn --workers 3 "
                "--bind unix:myproject.sock -m 007 wsgi:app\n"
            ),
            "/etc/nginx/sites-enabled/myproject": NGINX.format(
                "include proxy_params; proxy_pass http://unix:/home/sam/myproject/myproject.sock;"
            ),
        },
        {"name": "myproject", "entrypoint": "wsgi:app", "gunicorn": {"workers": "3"}},
    ),
    "uWSGI with a socket by a relative name": (
        {
            "/etc/systemd/system/myproject.service": (
                "[Service]\nWorkingDirectory=/home/sam/myproject\n"
                "ExecStart=/home/sam/myproject/env/bin/uwsgi --ini myproject.ini\n"
            ),
            "/home/sam/myproject/myproject.ini": (
                "[uwsgi]\nmodule = wsgi:app\nmaster = true\nprocesses = 5\nsocket = myproject.sock\n"
                "chmod-socket = 660\nvacuum = true\ndie-on-term = true\n"
            ),
            "/etc/nginx/sites-enabled/myproject": NGINX.format(
                "include uwsgi_params; uwsgi_pass unix:/home/sam/myproject/myproject.sock;"
            ),
        },
        {"name": "myproject", "entrypoint": "wsgi:app", "server": "uwsgi", "uwsgi": {"workers": "5"}},
    ),
    "Django, a socket of systemd's": (
        {
            "/etc/systemd/system/gunicorn.socket": "[Socket]\nListenStream=/run/gunicorn.sock\n",
            "/etc/systemd/system/gunicorn.service": (
                "[Unit]\nRequires=gunicorn.socket\n[Service]\nWorkingDirectory=/home/sam/site\n"
                "ExecStart=/home/sam/site/env/bin/gunicorn --access-logfile - --workers 3 mysite.wsgi:application\n"
            ),
            "/etc/nginx/sites-enabled/mysite": NGINX.format("proxy_pass http://unix:/run/gunicorn.sock;"),
        },
        {"name": "mysite", "entrypoint": "mysite.wsgi:application", "gunicorn": {"workers": "3"}},
    ),
    "Supervisor, a port, static files by an alias": (
        {
            "/etc/supervisor/conf.d/blog.conf": (
                "[program:blog]\ncommand=/home/sam/blog/venv/bin/gunicorn -b localhost:8000 -w 4 blog:app\n"
                "directory=/home/sam/blog\nuser=sam\nautostart=true\nautorestart=true\n"
                "stopasgroup=true\nkillasgroup=true\n"
            ),
            "/etc/nginx/sites-enabled/blog": (
                "server { listen 443 ssl; server_name app.example.com; ssl_certificate /home/sam/blog/certs/cert.pem;"
                "ssl_certificate_key /home/sam/blog/certs/key.pem; location / { proxy_pass http://localhost:8000; }"
                "location /static { alias /home/sam/blog/app/static; expires 30d; } }"
            ),
        },
        {
            "name": "blog",
            "entrypoint": "blog:app",
            "tls": "provided",
            "gunicorn": {"workers": "4"},
            "nginx": {"static": {"/static/": "app/static"}},
        },
    ),
    "FastAPI by gunicorn with uvicorn's workers": (
        {
            "/etc/systemd/system/items.service": (
                "[Service]\nWorkingDirectory=/srv/items\n"
                "ExecStart=/srv/items/.venv/bin/gunicorn -k uvicorn.workers.UvicornWorker -w 4 "
                "-b 127.0.0.1:8000 main:app\n"
            ),
            "/etc/nginx/conf.d/items.conf": NGINX.format("proxy_pass http://127.0.0.1:8000;"),
        },
        {
            "name": "items",
            "entrypoint": "main:app",
            "interface": "asgi",
            "server": "uvicorn",
            "uvicorn": {"workers": "4"},
        },
    ),
    "Supervisor, a script that starts gunicorn, Django": (
        {
            "/etc/supervisor/conf.d/hello.conf": (
                "[program:hello]\ncommand = /webapps/hello_django/bin/gunicorn_start\nuser = hello\n"
                "environment=LANG=en_US.UTF-8\n"
            ),
            "/webapps/hello_django/bin/gunicorn_start": (
                '#!/bin/bash\nNAME="hello_app"  # of the app\nDJANGODIR=/webapps/hello_django/hello\n'
                "SOCKFILE=/webapps/hello_django/run/gunicorn.sock\nNUM_WORKERS=3\n"
                "DJANGO_SETTINGS_MODULE=hello.settings\nDJANGO_WSGI_MODULE=hello.wsgi\n"
                'echo "Starting $NAME as `whoami`"\ncd $DJANGODIR\nsource ../bin/activate\n'
                "export DJANGO_SETTINGS_MODULE=$DJANGO_SETTINGS_MODULE\nexport PYTHONPATH=$DJANGODIR:$PYTHONPATH\n"
                "RUNDIR=$(dirname $SOCKFILE)\ntest -d $RUNDIR || mkdir -p $RUNDIR\n"
                "exec ../bin/gunicorn ${DJANGO_WSGI_MODULE}:application \\\n  --name $NAME \\\n"
                "  --workers $NUM_WORKERS \\\n  --user=hello --bind=unix:$SOCKFILE --log-level=debug --log-file=-\n"
            ),
            "/webapps/hello_django/hello/manage.py": "",
            "/webapps/hello_django/pyvenv.cfg": "version = 3.11.2\n",
            "/etc/nginx/sites-enabled/hello": (
                "upstream hello_app_server { server unix:/webapps/hello_django/run/gunicorn.sock fail_timeout=0; }\n"
                "server { listen 80; server_name app.example.com; client_max_body_size 4G;"
                "location /static/ { alias /webapps/hello_django/static/; } location / {"
                "proxy_set_header Host $http_host; "
                "if (!-f $request_filename) { proxy_pass http://hello_app_server; break; } } }"
            ),
        },
        {
            "name": "hello",
            "entrypoint": "hello.wsgi:application",
            "python": {"version": "3.11"},
            "gunicorn": {"workers": "3"},
            "nginx": {"client_max_body_size": "4g", "static": {"/static/": "/webapps/hello_django/static"}},
        },
    ),
    "uWSGI's emperor, settings made of others, an environment elsewhere": (
        {
            "/etc/systemd/system/uwsgi.service": (
                "[Service]\nExecStartPre=/bin/bash -c 'mkdir -p /run/uwsgi; chown sam:www-data /run/uwsgi'\n"
                "ExecStart=/usr/local/bin/uwsgi --emperor /etc/uwsgi/sites\nType=notify\n"
            ),
            "/etc/uwsgi/sites/firstsite.ini": (
                "[uwsgi]\nproject = firstsite\nuid = sam\nbase = /home/%(uid)\n\nchdir = %(base)/%(project)\n"
                "home = %(base)/Env/%(project)\nmodule = %(project).wsgi:application\n\nmaster = true\n"
                "processes = 5\n\nsocket = /run/uwsgi/%(project).sock\nchown-socket = %(uid):www-data\n"
                "chmod-socket = 660\nvacuum = true\n"
                "env = DJANGO_SETTINGS_MODULE=firstsite.settings\nenv = TOKEN=hunter2\n"
            ),
            "/home/sam/Env/firstsite/pyvenv.cfg": "version = 3.11.2\n",
            "/etc/nginx/sites-enabled/firstsite": NGINX.format(
                "include uwsgi_params; uwsgi_pass unix:/run/uwsgi/firstsite.sock;"
            ),
        },
        {
            "name": "firstsite",
            "entrypoint": "firstsite.wsgi:application",
            "server": "uwsgi",
            "python": {"version": "3.11"},
            "uwsgi": {"workers": "5"},
        },
    ),
    "a release of several, an upstream in a file of its own, a named location": (
        {
            "/etc/systemd/system/blog-web.service": (
                "[Service]\nUser=deploy\nWorkingDirectory=/var/www/blog/current\n"
                "EnvironmentFile=/var/www/blog/shared/.env\n"
                "ExecStart=/bin/bash -lc 'exec /var/www/blog/shared/venv/bin/gunicorn --workers 2 --bind "
                "unix:/var/www/blog/shared/web.sock app:app'\n"
            ),
            "/etc/nginx/conf.d/upstreams.conf": "upstream blog { server unix:/var/www/blog/shared/web.sock; }\n",
            "/etc/nginx/sites-enabled/blog.conf": (
                "server { listen 80; server_name app.example.com; root /var/www/blog/current/public; "
                "location / { try_files $uri @blog; } location @blog { proxy_pass http://blog; } }"
            ),
        },
        {"name": "blog", "entrypoint": "app:app", "gunicorn": {"workers": "2"}},
    ),
    "an instance of a template": (
        {
            "/etc/systemd/system/gunicorn@.service": (
                "[Service]\nWorkingDirectory=/srv/%i\nEnvironment=PATH=/srv/%i/venv/bin:/usr/bin\n"
                "ExecStart=gunicorn --bind unix:/run/%i.sock -w 2 %i.wsgi\n"
            ),
            "/etc/systemd/system/multi-user.target.wants/gunicorn@notes.service": "",
            "/srv/notes/venv/pyvenv.cfg": "version = 3.13.5\n",
            "/etc/nginx/sites-enabled/notes": NGINX.format("proxy_pass http://unix:/run/notes.sock;"),
        },
        {
            "name": "notes",
            "entrypoint": "notes.wsgi:application",
            "python": {"version": "3.13"},
            "gunicorn": {"workers": "2"},
        },
    ),
    "everything in a configuration file of gunicorn": (
        {
            "/etc/systemd/system/site.service": (
                "[Service]\nWorkingDirectory=/srv/site\n"
                "ExecStart=/srv/site/venv/bin/gunicorn -c config/gunicorn/prod.py\n"
            ),
            "/srv/site/config/gunicorn/prod.py": (
                'wsgi_app = "project.wsgi:application"\nworkers = 2\nbind = ["0.0.0.0:8000"]\n'
                'accesslog = errorlog = "/var/log/gunicorn.log"\ncapture_output = True\n'
            ),
            "/etc/nginx/sites-enabled/site": (
                "upstream site { server 127.0.0.1:8000 fail_timeout=0; } " + NGINX.format("proxy_pass http://site;")
            ),
        },
        {"name": "site", "entrypoint": "project.wsgi:application", "gunicorn": {"workers": "2"}},
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_the_ways_of_well_known_tutorials(tmp_path: Path, way: str) -> None:
    files, wanted = WAYS[way]
    app, _text = written(tmp_path, files)
    assert app["domains"] == ["app.example.com"]
    settings = {
        key: value for key, value in app.items() if key not in ("source", "domains", "certificate", "env", "secrets")
    }
    assert settings == {**({} if "tls" in wanted else {"tls": "off"}), **wanted}


def test_names_that_say_nothing_and_names_that_are_taken(tmp_path: Path) -> None:
    units = {
        f"/etc/systemd/system/{unit}.service": (
            f"[Service]\nWorkingDirectory=/srv/{folder}\nExecStart=/v/bin/gunicorn -b :{port} wsgi:app\n"
        )
        for port, unit, folder in (("1", "gunicorn", "shop/current"), ("2", "web", "shop"), ("3", "notes", "notes"))
    }
    assert names(host(tmp_path, units).found(), {"notes"}) == ["shop", "notes-app", "shop-app"]


def test_data_beside_the_code_is_spoken_of(tmp_path: Path) -> None:
    root = tmp_path / "home/ada/shop"
    for name in ("media/2026/photo.jpg", "instance/.gitkeep", "venv/x.db", "node_modules/a/b.db"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"SQLite format 3\0" if name.endswith(".db") else b"x")
    (root / "db.sqlite3").write_bytes(b"SQLite format 3\0" + b"x" * 200_000)
    (tmp_path / "var/lib/other.db").parent.mkdir(parents=True)
    (tmp_path / "var/lib/other.db").write_bytes(b"SQLite format 3\0")
    unit = GUNICORN["/etc/systemd/system/shop.service"] + "\n[Service]\nEnvironment=DB=sqlite:////var/lib/other.db\n"
    app, text = written(tmp_path, {**GUNICORN, "/etc/systemd/system/shop.service": unit})
    assert (app["persistent"], app["persistent_files"]) == (["media"], ["db.sqlite3"])
    assert "# Data: db.sqlite3 (0.2 MB, written 0 min ago) in /home/ada/shop. A release begins without it" in text
    assert "# Data: /var/lib/other.db" in text


def test_a_certificate_of_another_kind_or_authority_stays_the_one_that_is_wanted(tmp_path: Path) -> None:
    renewal = "server = https://ca.example.com/dir\nkey_type = rsa\nauthenticator = standalone\n"
    app, _text = written(tmp_path, {**GUNICORN, "/etc/letsencrypt/renewal/shop.example.com.conf": renewal})
    assert app["certbot"] == {"key_type": "rsa", "acme_directory": "https://ca.example.com/dir"}


def test_a_part_of_a_repository_and_what_django_collects(tmp_path: Path) -> None:
    files = {name: text for name, text in GUNICORN.items() if "WorkingDirectory" not in text}
    unit = GUNICORN["/etc/systemd/system/shop.service"].replace(
        "Directory=/home/ada/shop", "Directory=/home/ada/shop/web"
    )
    files |= {"/etc/systemd/system/shop.service": unit, "/home/ada/shop/web/manage.py": ""}
    app, _text = written(tmp_path, files)
    assert app["source"] == {"git": "https://git.example.com/shop.git", "version": COMMIT, "subdirectory": "web"}
    assert app["build"] == ["python manage.py collectstatic --noinput"]


@pytest.mark.parametrize("files", [GUNICORN, UWSGI, SUPERVISOR], ids=["gunicorn", "uwsgi", "supervisor"])
def test_no_secret_leaves_the_host(tmp_path: Path, files: dict[str, str]) -> None:
    found = str(host(tmp_path, files).found())
    assert not [secret for secret in SECRETS if secret in found]


@pytest.mark.parametrize("files", [GUNICORN, UWSGI, SUPERVISOR], ids=["gunicorn", "uwsgi", "supervisor"])
def test_secrets_are_told_to_who_asks_for_them(tmp_path: Path, files: dict[str, str]) -> None:
    there = host(tmp_path, files)
    app = yaml.safe_load(inventory("web1", found := there.found(), {}))["wsgi"]["vars"]["wsgi_apps"][0]
    told = secrets(found, there.secrets)
    assert [f"{{{{ {name} }}}}" for name in told] == list(app.get("secrets", {}).values())
    if files is GUNICORN:
        assert told["vault_shop_secret_key"] == "correct horse"
        assert told["vault_shop_greeting"] == "hello there"


@pytest.mark.parametrize("files", [GUNICORN, UWSGI, SUPERVISOR], ids=["gunicorn", "uwsgi", "supervisor"])
def test_the_collection_takes_what_is_written(tmp_path: Path, files: dict[str, str]) -> None:
    """All but the code and the certificate, which the comments say are to be copied."""
    app, _text = written(tmp_path / "host", files)
    beside = tmp_path / "beside"
    (beside / app["source"].get("path", "nothing")).mkdir(parents=True)
    if "path" in app["source"]:
        (beside / app["source"]["path"] / "requirements.txt").write_text("flask==3.1.0\n")
        for folder in app.get("nginx", {}).get("static", {}).values():
            (beside / app["source"]["path"] / folder.lstrip("/")).mkdir(parents=True, exist_ok=True)
    app.pop("certificate", None)
    if app.get("tls") == "provided":
        app["tls"] = "selfsigned"
    variables_of = {"certbot_email": "ops@example.com"}
    found = run.examine(load_schema(str(ROOT)), [*variables_of, "wsgi_apps"], variables_of, [app], [str(beside)], {})
    assert not found.problems, run.report(found.problems)


def test_a_server_with_a_socket_of_systemd_s_is_not_at_its_usual_port(tmp_path: Path) -> None:
    start = "[Service]\nWorkingDirectory=/home/ada/{0}\nExecStart=/v/bin/gunicorn {0}:app\n"
    passes = "server {{ listen 80; server_name {}.example.com; location / {{ proxy_pass http://{}; }} }}"
    files = {
        "/etc/systemd/system/blog.service": start.format("blog"),
        "/etc/systemd/system/blog.socket": "[Socket]\nListenStream=/run/blog.sock\n",
        "/etc/systemd/system/shop.service": start.format("shop"),
        "/etc/nginx/sites-enabled/a": passes.format("shop", "127.0.0.1:8000"),
        "/etc/nginx/sites-enabled/b": passes.format("blog", "unix:/run/blog.sock"),
    }
    sites = {found["program"]["name"]: found["site"]["names"] for found in host(tmp_path, files).found()}
    assert sites == {"blog": ["blog.example.com"], "shop": ["shop.example.com"]}


def test_what_nginx_says_for_all_sites(tmp_path: Path) -> None:
    files = {
        **GUNICORN,
        "/etc/nginx/nginx.conf": (
            "user www-data; worker_processes auto; events { worker_connections 768; } http { sendfile on; gzip on; "
            "client_max_body_size 64m; proxy_read_timeout 5m; include /etc/nginx/conf.d/*.conf; }"
        ),
        "/etc/nginx/conf.d/real.conf": "real_ip_header X-Real-IP;\nlimit_req_zone $host zone=a:1m rate=1r/s;",
    }
    there = host(tmp_path, files)
    found = there.found()
    # A server block's own win.
    assert found[0]["site"]["settings"] == {"client_max_body_size": "25m", "read_timeout": 120}
    text = inventory("web1", found, {}, left=[*there.left, "map 'a\nwsgi: evil'"])
    assert "# Not carried over: nginx, for all sites: real_ip_header X-Real-IP" in text
    assert "limit_req_zone" in text
    assert "worker" not in text.partition("wsgi_apps")[0]
    assert yaml.safe_load(text)["wsgi"]["vars"]["wsgi_apps"]


def test_apps_that_debian_s_uwsgi_starts_are_at_least_named(tmp_path: Path) -> None:
    there = host(tmp_path, {"/etc/uwsgi/apps-enabled/wiki.ini": "[uwsgi]\nmodule = wiki\n"})
    text = inventory("web1", there.found(), {}, left=there.left)
    assert "# Not carried over: an app of Debian's uWSGI: /etc/uwsgi/apps-enabled/wiki.ini" in text
    assert yaml.safe_load(text) == {"wsgi": {}}


def test_a_server_without_nginx_or_a_directory(tmp_path: Path) -> None:
    unit = "[Service]\nWorkingDirectory=/\nExecStart=/usr/bin/gunicorn -b 0.0.0.0:8000 app:app\n"
    app, text = written(tmp_path, {"/etc/systemd/system/odd.service": unit})
    assert (app["name"], app["source"], app["domains"]) == ("odd", {"path": "odd"}, [])
    assert "# Code: where it is was not found; copy it to odd beside this file" in text
    assert "# Domains: no server block of nginx passes requests on to 0.0.0.0:8000; write them, or `listen`." in text


def test_a_host_without_an_app(tmp_path: Path) -> None:
    text = inventory("web1", host(tmp_path, {}).found(), {})
    assert yaml.safe_load(text) == {"wsgi": {}}
    assert "No unit or program" in text


@pytest.mark.parametrize(
    ("command", "entrypoint", "binds", "settings"),
    [
        ("/v/bin/gunicorn -w4 -b :8000 app:app", "app:app", [":8000"], {"workers": "4"}),
        (
            "/v/bin/gunicorn --preload -k gevent 'app:f(1)'",
            "app:f(1)",
            ["127.0.0.1:8000"],
            {"preload": True, "worker_class": "gevent"},
        ),
        ("/v/bin/python3 /v/bin/gunicorn app:app", "app:app", ["127.0.0.1:8000"], {}),
        ("/v/bin/uvicorn app:app --uds /run/a.sock --workers 2", "app:app", ["unix:/run/a.sock"], {"workers": "2"}),
        ("/v/bin/uvicorn --factory --port 9000 app:make", "app:make()", ["127.0.0.1:9000"], {}),
        (
            "/v/bin/waitress-serve --listen=*:8080 --threads=6 --call app:make",
            "app:make()",
            ["0.0.0.0:8080"],
            {"threads": 6},
        ),
        ("/v/bin/granian --interface asgi --port 1 app:app", "app:app", ["127.0.0.1:1"], {}),
        (
            "/v/bin/uwsgi --http :80 --wsgi-file /s/app.py --chdir /s --callable app -p 3",
            "app:app",
            ["127.0.0.1:80"],
            {"workers": "3"},
        ),
    ],
)
def test_command_lines(command: str, entrypoint: str, binds: list[str], settings: dict[str, Any]) -> None:
    start = commands.start_of(command, lambda _path: None)
    assert (start.entrypoint, start.binds, start.settings, start.left) == (entrypoint, binds, settings, [])


@pytest.mark.parametrize("command", ["/usr/sbin/nginx", "/v/bin/celery -A app worker", "", "/bin/sh -c 'sleep 1'"])
def test_what_is_no_server(command: str) -> None:
    assert not commands.server_of(command)


def test_a_broken_file_is_no_reason_to_give_up(tmp_path: Path) -> None:
    files = {
        "/etc/systemd/system/broken.service": "ExecStart=\n[[\nservice = =\n",
        "/etc/supervisor/conf.d/broken.conf": "[program:x\ncommand",
        "/etc/nginx/sites-enabled/broken": 'server { location / { proxy_pass http://unix:/run/x "',
        "/etc/systemd/system/x.service": "[Service]\nExecStart=/v/bin/gunicorn -c /gone.py 'x:app\n",
    }
    (found,) = host(tmp_path, files).found()
    assert found["program"]["name"] == "x"


@pytest.mark.parametrize("junk", ["\0", "/" + "a" * 5000, "{" * 3000, "(" * 500, "%(", "\x1b[2J", "alias;"])
@pytest.mark.parametrize("way", [GUNICORN, UWSGI, SUPERVISOR], ids=["gunicorn", "uwsgi", "supervisor"])
def test_files_that_are_none_are_no_reason_to_give_up(tmp_path: Path, way: dict[str, str], junk: str) -> None:
    """In the middle of each line: names that cannot be one, blocks without an end, expressions too deep to read."""
    for number, file in enumerate(way):
        lines = way[file].splitlines()
        text = "\n".join(f"{line[: len(line) // 2]}{junk}{line[len(line) // 2 :]}" for line in lines)
        found = host(tmp_path / str(number), {**way, file: text}).found()
        assert yaml.safe_load(inventory("web1", found, {}))
        assert proxy.others(text, {"a.test"}, ()) is not None


def test_what_is_in_a_file_stays_text(tmp_path: Path) -> None:
    unit = GUNICORN["/etc/systemd/system/shop.service"].replace("LimitNOFILE=65535", "Nice=\x1b[2J\u2028- name: evil")
    app, text = written(tmp_path, {**GUNICORN, "/etc/systemd/system/shop.service": unit})
    assert app["name"] == "shop"
    assert "\x1b" not in text


def test_drop_ins_win(tmp_path: Path) -> None:
    texts = ["[Service]\nExecStart=/a\nUser=one", "[Service]\nExecStart=\nExecStart=-/b c\nUser=two"]
    found = programs.unit("x", "/x.service", texts)
    assert (found.command, found.user) == ("/b c", "two")


def test_quotes_and_comments_of_nginx() -> None:
    (server,) = proxy.parse("""server { # { not this
        add_header A "b; c {d}" ; log_format x '$a "b"' '}'; }""")
    assert [str(one) for one in server.block] == ["add_header A b; c {d}", 'log_format x $a "b" }']


@pytest.mark.parametrize(
    ("name", "value", "leaves"),
    [
        ("DEBUG", "1", True),
        ("DJANGO_SETTINGS_MODULE", "notes.settings", True),
        ("FEATURE", "true", True),
        ("MAIL_PASSWORD", "true", False),
        ("SENTRY_DSN", "https://x@sentry.example.com/1", False),
        ("APP_CONFIG", "redis://:pw@host/0", False),
        ("WHATEVER", "abc", False),
    ],
)
def test_what_may_leave_a_host(name: str, value: str, leaves: bool) -> None:
    assert variables.may_leave(name, value) == leaves


def test_a_file_of_variables() -> None:
    text = "A=1 # one\nexport B='x # y'\n# C=3\nD=\"multi \\\nline\"\nE=\nbad line\n"
    assert variables.parse(text) == {"A": "1", "B": "x # y", "D": "multi line", "E": ""}


@pytest.mark.parametrize(
    ("unit", "name"),
    [("shop", "shop"), ("gunicorn_shop", "shop"), ("My.Site", "my-site"), ("1st", "app-1st"), ("shop-web", "shop")],
)
def test_names(unit: str, name: str) -> None:
    assert app_name(unit) == name
