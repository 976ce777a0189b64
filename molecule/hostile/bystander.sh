#!/bin/sh
# What belongs to root and to no app: a directory, files for all, a unit, and a package index that takes a password.
set -e
umask 022
mkdir -p /opt/bystander/below /opt/index/simple
echo planted-in-bystander >/opt/bystander/below/secret
chmod 640 /opt/bystander/below/secret

cat >/etc/systemd/system/bystander.service <<'UNIT'
[Service]
ExecStart=/bin/sleep infinity
ExecStartPre=/bin/sh -c 'umask 0; for place in /tmp /var/tmp /dev/shm; do echo planted-in-bystander >$place/bystander; done'
UNIT
cat >/etc/systemd/system/index.service <<'UNIT'
[Service]
ExecStart=/usr/bin/python3 -m http.server --bind 127.0.0.1 --directory /opt/index 8099
DynamicUser=yes
UNIT
systemctl daemon-reload
systemctl start bystander.service index.service
touch /opt/bystander/planted
