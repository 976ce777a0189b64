#!/bin/sh
# Eight apps on one host, as well-known tutorials and roles of Ansible have people set them up, in our own words.
set -eu
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
    python3-venv supervisor uwsgi-core uwsgi-plugin-python3 >/dev/null
python3 -m venv /opt/installed
/opt/installed/bin/pip install --quiet flask==3.1.2 gunicorn==23.0.0 django==5.2.8
rm -f /etc/nginx/sites-enabled/default
systemctl stop nginx
domain() { echo "$1.$HOST.example.test"; }

# environment DIRECTORY: as if its packages had been installed into it, which takes longer
environment() {
    mkdir -p "$(dirname "$1")"
    cp -al /opt/installed "$1"
    sed -i "1s|.*|#!$1/bin/python3|" "$1/bin/gunicorn"
}

# flask USER DIRECTORY: the code, beside its environment
flask() {
    id "$1" >/dev/null 2>&1 || useradd --create-home --shell /bin/bash "$1"
    mkdir -p "$2/static"
    cp /root/by_hand/app.py "$2/app.py"
    echo 'flask==3.1.2' >"$2/requirements.txt"
    echo 'body {}' >"$2/static/site.css"
}

# django USER DIRECTORY: the code with what collectstatic has left, and its database
django() {
    id "$1" >/dev/null 2>&1 || useradd --create-home --shell /bin/bash "$1"
    mkdir -p "$2/collected"
    cp /root/by_hand/site.py "$2/site_of.py"
    cat >"$2/wsgi.py" <<'PY'
import os
from django.core.wsgi import get_wsgi_application
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "site_of")
application = get_wsgi_application()
PY
    printf 'import sys\nfrom django.core.management import execute_from_command_line\n' >"$2/manage.py"
    printf 'execute_from_command_line(sys.argv)\n' >>"$2/manage.py"
    echo 'django==5.2.8' >"$2/requirements.txt"
    echo 'h1 {}' >"$2/collected/site.css"
    python3 -c "import sqlite3, sys; d = sqlite3.connect(sys.argv[1]); d.execute('CREATE TABLE notes (text)')
d.execute(\"INSERT INTO notes VALUES ('one')\"); d.commit()" "$2/db.sqlite3"
}

# variables FILE APP: a file of variables, closed to others
variables() {
    printf 'APP=%s\nLOG_LEVEL=debug\nSECRET_KEY="horse"\n' "$2" >"$1"
    chmod 600 "$1"
}

# site APP LOCATION...: a server block by HTTP
site() {
    name=$1
    shift
    printf 'server {\n    listen 80;\n    server_name %s;\n    add_header X-Set-Up "by hand";\n' "$(domain "$name")"
    printf '    %s\n' "$@"
    echo '}'
}

# certificate APP: by certbot, which answers the authority itself
certificate() {
    certbot certonly --standalone --non-interactive --agree-tos --quiet --email ada@example.test --server "$ACME" \
        --domain "$(domain "$1")"
}

# secured APP: the lines of a server block by HTTPS
secured() {
    live=/etc/letsencrypt/live/$(domain "$1")
    printf 'server {\n    listen 80;\n    server_name %s;\n    return 301 https://$host$request_uri;\n}\n' "$(domain "$1")"
    printf 'server {\n    listen 443 ssl;\n    server_name %s;\n    add_header X-Set-Up "by hand";\n' "$(domain "$1")"
    printf '    ssl_certificate %s/fullchain.pem;\n    ssl_certificate_key %s/privkey.pem;\n' "$live" "$live"
}

# 1. A unit with a file of variables, a socket below /run, certbot.
flask ada /home/ada/shop
environment /home/ada/shop/venv
variables /home/ada/shop/.env shop
cat >/etc/systemd/system/shop.service <<'UNIT'
[Unit]
Description=The shop
After=network.target

[Service]
User=ada
Group=www-data
WorkingDirectory=/home/ada/shop
RuntimeDirectory=shop-by-hand
EnvironmentFile=/home/ada/shop/.env
ExecStart=/home/ada/shop/venv/bin/gunicorn --workers 2 --threads 3 --timeout 45 \
    --bind unix:/run/shop-by-hand/shop.sock "app:create_app()"
LimitNOFILE=4096
Restart=on-failure

[Install]
WantedBy=multi-user.target
UNIT
certificate shop
{
    secured shop
    cat <<'NGINX'
    client_max_body_size 20M;
    location /static/ { alias /home/ada/shop/static/; }
    location / {
        proxy_set_header Host $host;
        proxy_pass http://unix:/run/shop-by-hand/shop.sock;
        proxy_read_timeout 50s;
    }
}
NGINX
} >/etc/nginx/sites-enabled/shop

# 2. A port on loopback, everything in gunicorn's own file, certbot.
flask ada /home/ada/ledger
environment /home/ada/ledger/.venv
cat >/home/ada/ledger/gunicorn.conf.py <<'PY'
wsgi_app = "app:app"
bind = "127.0.0.1:8000"
workers = 2
accesslog = "-"
raw_env = ["APP=ledger", "LOG_LEVEL=debug", "SECRET_KEY=horse"]
PY
cat >/etc/systemd/system/ledger.service <<'UNIT'
[Service]
User=ada
WorkingDirectory=/home/ada/ledger
Environment="PATH=/home/ada/ledger/.venv/bin"
ExecStart=/home/ada/ledger/.venv/bin/gunicorn -c gunicorn.conf.py
[Install]
WantedBy=multi-user.target
UNIT
certificate ledger
{
    secured ledger
    printf '    location / { include proxy_params; proxy_pass http://localhost:8000; }\n}\n'
} >/etc/nginx/sites-enabled/ledger

# 3. A socket of systemd's, a unit that is called gunicorn, and nobody to answer to other names.
flask ben /home/ben/blog
environment /home/ben/blog/env
printf '[Socket]\nListenStream=/run/gunicorn.sock\nSocketUser=www-data\n[Install]\nWantedBy=sockets.target\n' \
    >/etc/systemd/system/gunicorn.socket
cat >/etc/systemd/system/gunicorn.service <<'UNIT'
[Unit]
Requires=gunicorn.socket
[Service]
Type=notify
User=ben
WorkingDirectory=/home/ben/blog
Environment=APP=blog LOG_LEVEL=debug SECRET_KEY=horse
ExecStart=/home/ben/blog/env/bin/gunicorn --access-logfile - app:app
ExecReload=/bin/kill -s HUP $MAINPID
KillMode=mixed
TimeoutStopSec=5
PrivateTmp=true
[Install]
WantedBy=multi-user.target
UNIT
{
    printf 'upstream app_server { server unix:/run/gunicorn.sock fail_timeout=0; }\n'
    printf 'server { listen 80 default_server; return 444; }\n'
    site blog 'keepalive_timeout 5;' 'location / { try_files $uri @proxy_to_app; }' \
        'location @proxy_to_app { proxy_set_header Host $http_host; proxy_redirect off; proxy_pass http://app_server; }'
} >/etc/nginx/sites-enabled/blog

# 4. Supervisor, a port.
flask cyd /home/cyd/polls
environment /home/cyd/polls/venv
cat >/etc/supervisor/conf.d/polls.conf <<'CONF'
[program:polls]
command=/home/cyd/polls/venv/bin/gunicorn -b localhost:8001 -w 2 app:app
directory=/home/cyd/polls
user=cyd
autostart=true
autorestart=true
stopasgroup=true
killasgroup=true
environment=APP="polls",LOG_LEVEL="debug",SECRET_KEY="horse"
CONF
site polls 'location /static { alias /home/cyd/polls/static; expires 30d; }' \
    'location / { proxy_set_header Host $host; proxy_pass http://localhost:8001; proxy_redirect off; }' \
    >/etc/nginx/sites-enabled/polls

# 5. uWSGI's emperor.
flask eve /home/eve/first
environment /home/eve/envs/first
mkdir -p /etc/uwsgi/sites
cat >/etc/uwsgi/sites/first.ini <<'INI'
[uwsgi]
project = first
uid = eve
base = /home/%(uid)

plugin = python3
chdir = %(base)/%(project)
home = %(base)/envs/%(project)
module = app:app
env = APP=%(project)
env = LOG_LEVEL=debug
env = SECRET_KEY=horse

master = true
processes = 2
socket = /run/uwsgi/%(project).sock
chown-socket = %(uid):www-data
chmod-socket = 660
vacuum = true
INI
cat >/etc/systemd/system/uwsgi.service <<'UNIT'
[Service]
ExecStartPre=/bin/bash -c 'mkdir -p /run/uwsgi; chown eve:www-data /run/uwsgi'
ExecStart=/usr/bin/uwsgi --emperor /etc/uwsgi/sites
Restart=always
KillSignal=SIGQUIT
Type=notify
NotifyAccess=all
[Install]
WantedBy=multi-user.target
UNIT
site first 'location / { include uwsgi_params; uwsgi_pass unix:/run/uwsgi/first.sock; }' >/etc/nginx/sites-enabled/first

# 6. Django with a file of variables, what collectstatic collects, and SQLite.
django dan /home/dan/notes
environment /home/dan/notes/env
variables /home/dan/notes/.env notes
cat >/etc/systemd/system/notes.service <<'UNIT'
[Service]
User=dan
Group=www-data
WorkingDirectory=/home/dan/notes
EnvironmentFile=/home/dan/notes/.env
ExecStart=/home/dan/notes/env/bin/gunicorn --workers 2 --bind unix:/home/dan/notes/notes.sock wsgi:application
[Install]
WantedBy=multi-user.target
UNIT
site notes 'location = /favicon.ico { access_log off; log_not_found off; }' \
    'location /static/ { alias /home/dan/notes/collected/; }' \
    'location / { include proxy_params; proxy_pass http://unix:/home/dan/notes/notes.sock; }' \
    >/etc/nginx/sites-enabled/notes

# 7. As a role for Django does it: Supervisor, a script that starts gunicorn, everything below /webapps.
django hello /webapps/hello_django/hello
environment /webapps/hello_django/env
mkdir -p /webapps/hello_django/run /webapps/hello_django/bin
cat >/webapps/hello_django/bin/gunicorn_start <<'SH'
#!/bin/bash
NAME="hello_app"  # Name of the application
DJANGODIR=/webapps/hello_django/hello
SOCKFILE=/webapps/hello_django/run/gunicorn.sock
NUM_WORKERS=2
DJANGO_SETTINGS_MODULE=site_of

echo "Starting $NAME"
cd $DJANGODIR
source ../env/bin/activate
export DJANGO_SETTINGS_MODULE=$DJANGO_SETTINGS_MODULE
export PYTHONPATH=$DJANGODIR:$PYTHONPATH
export APP=hello
export SECRET_KEY=horse
RUNDIR=$(dirname $SOCKFILE)
test -d $RUNDIR || mkdir -p $RUNDIR

exec ../env/bin/gunicorn wsgi:application \
  --name $NAME \
  --workers $NUM_WORKERS \
  --user=hello \
  --bind=unix:$SOCKFILE
SH
chmod 755 /webapps/hello_django/bin/gunicorn_start
printf '[program:hello]\ncommand = /webapps/hello_django/bin/gunicorn_start\nuser = hello\nredirect_stderr = true\n' \
    >/etc/supervisor/conf.d/hello.conf
{
    printf 'upstream hello_app_server { server unix:/webapps/hello_django/run/gunicorn.sock fail_timeout=0; }\n'
    site hello 'client_max_body_size 4G;' 'location /static/ { alias /webapps/hello_django/hello/collected/; }' \
        'location / { proxy_set_header Host $http_host; if (!-f $request_filename) { proxy_pass http://hello_app_server; break; } }'
} >/etc/nginx/sites-enabled/hello

# 8. As a role that copies releases does it: a link to the one in service, what they share beside them, nginx in two files.
flask fay /var/www/journal/releases/20250101120000
environment /var/www/journal/shared/venv
variables /var/www/journal/shared/.env journal
ln -s releases/20250101120000 /var/www/journal/current
cat >/etc/systemd/system/journal-web.service <<'UNIT'
[Service]
User=fay
Group=www-data
WorkingDirectory=/var/www/journal/current
EnvironmentFile=/var/www/journal/shared/.env
RuntimeDirectory=journal-web
ExecStart=/bin/bash -lc 'exec /var/www/journal/shared/venv/bin/gunicorn --workers 2 --bind unix:/run/journal-web/sock app:app'
[Install]
WantedBy=multi-user.target
UNIT
echo 'upstream journal { server unix:/run/journal-web/sock; }' >/etc/nginx/conf.d/upstreams.conf
site journal 'root /var/www/journal/current/public;' 'location / { try_files $uri @journal; }' \
    'location @journal { proxy_set_header Host $host; proxy_pass http://journal; }' >/etc/nginx/sites-enabled/journal.conf

for user in ada ben cyd dan eve; do
    chown -R $user:$user /home/$user
    chmod 755 /home/$user
done
chown -R hello:hello /webapps/hello_django/hello /webapps/hello_django/run
chmod 755 /webapps/hello_django
chown -R fay:fay /var/www/journal
systemctl daemon-reload
systemctl enable --quiet --now shop.service ledger.service gunicorn.socket notes.service uwsgi.service journal-web.service
systemctl enable --quiet --now supervisor.service
supervisorctl update >/dev/null
nginx -t
systemctl restart nginx
touch /etc/set-up
