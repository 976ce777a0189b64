#!/bin/sh
# No way out but an HTTP proxy: nothing else knows a name of the world outside.
set -eu
printf 'nameserver 127.0.0.2\n' >/etc/resolv.conf
printf 'https_proxy=%s\nhttp_proxy=%s\n' "$PROXY" "$PROXY" >>/etc/environment
rm -rf /opt/wsgi # the role is to install uv all the same
touch /etc/touched
