#!/bin/sh
# Something is served by nginx.conf itself; and what Ansible's module for packages needs is missing, as in a minimal installation.
set -eu
sed -i 's|^http {|&\n\tserver { listen 80; server_name inline.example.test; return 200 inline; }|' /etc/nginx/nginx.conf
nginx -t
systemctl restart nginx
dpkg --purge --force-depends python3-apt
touch /etc/touched
