#!/bin/sh
# A Flask app behind nginx as a person sets it up: a virtual environment, a unit with a file of variables, certbot.
set -eu
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3-venv >/dev/null
useradd --create-home --shell /bin/bash ada
mkdir -p /home/ada/shop/static
cp /root/by_hand/shop.py /home/ada/shop/
echo 'flask==3.1.2' >/home/ada/shop/requirements.txt
echo 'body {}' >/home/ada/shop/static/site.css
python3 -m venv /home/ada/shop/venv
/home/ada/shop/venv/bin/pip install --quiet --requirement /home/ada/shop/requirements.txt gunicorn==23.0.0
cat >/home/ada/shop/.env <<'ENV'
LOG_LEVEL=debug
SECRET_KEY="correct horse"
ENV
chmod 600 /home/ada/shop/.env
chown -R ada:ada /home/ada/shop
chmod 755 /home/ada

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
    --bind unix:/run/shop-by-hand/shop.sock "shop:create_app()"
LimitNOFILE=4096
Restart=on-failure

[Install]
WantedBy=multi-user.target
UNIT
systemctl daemon-reload
systemctl enable --quiet --now shop.service

systemctl stop nginx
certbot certonly --standalone --non-interactive --agree-tos --quiet --email ada@example.test --server "$ACME" --domain "$DOMAIN"
rm -f /etc/nginx/sites-enabled/default
cat >/etc/nginx/sites-enabled/shop <<NGINX
server {
    listen 80;
    server_name $DOMAIN;
    return 301 https://\$host\$request_uri;
}
server {
    listen 443 ssl;
    server_name $DOMAIN;
    ssl_certificate /etc/letsencrypt/live/$DOMAIN/fullchain.pem;
    ssl_certificate_key /etc/letsencrypt/live/$DOMAIN/privkey.pem;
    client_max_body_size 20M;
    add_header X-Set-Up "by hand";
    location /static/ { alias /home/ada/shop/static/; }
    location / {
        proxy_set_header Host \$host;
        proxy_pass http://unix:/run/shop-by-hand/shop.sock;
        proxy_read_timeout 50s;
    }
}
NGINX
nginx -t
systemctl restart nginx
touch /etc/set-up
