#!/bin/sh
# Turns a host's image into that of a host with packages that the roles would install otherwise. Nothing of them is set
# up. What is missing here they install themselves, as on a fresh host: then the tests take longer.
# UV is the version of uv, INDEX where it comes from.
set -eu
export DEBIAN_FRONTEND=noninteractive

printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d # nothing is started while the image is made
chmod 755 /usr/sbin/policy-rc.d
apt-get install -y -qq --no-install-recommends nginx certbot python3-cryptography python3-pip-whl
rm -f /usr/sbin/policy-rc.d /var/cache/apt/archives/*.deb

# For the scenario that installs a broker. In a container its unit gets no user namespace of its own.
apt-get install -y -qq --no-install-recommends --download-only redis-server
mkdir -p /etc/systemd/system/redis-server.service.d
printf '[Service]\nPrivateUsers=no\n' >/etc/systemd/system/redis-server.service.d/container.conf

# As the role python_app does.
export PYTHONPATH="$(echo /usr/share/python-wheels/pip-*.whl)" PIP_CERT=/etc/ssl/certs/ca-certificates.crt
[ -z "$INDEX" ] || export PIP_INDEX_URL="$INDEX"
python3 -m pip install --quiet --no-input --disable-pip-version-check --only-binary :all: --root-user-action ignore \
    --target "/opt/wsgi/uv-$UV" "uv==$UV"
