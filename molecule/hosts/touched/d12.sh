#!/bin/sh
# Other people's settings: /srv on another disk, pip of a developer's machine, a locale that is not UTF-8.
set -eu
mkdir /data
mv /srv /data/srv
ln -s /data/srv /srv
printf '[global]\nrequire-virtualenv = true\nindex-url = http://127.0.0.1:9/simple\n' >/etc/pip.conf
systemctl set-environment LANG=de_DE.ISO-8859-1
rm -rf /opt/wsgi # the role is to install uv all the same
touch /etc/touched
