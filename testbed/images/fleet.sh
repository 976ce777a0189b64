#!/bin/sh
# Turns the image of a prepared host into that of a host of a fleet: what balancers and app hosts behind them need.
set -eu
export DEBIAN_FRONTEND=noninteractive

printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d # nothing is started while the image is made
chmod 755 /usr/sbin/policy-rc.d
apt-get install -y -qq --no-install-recommends haproxy keepalived nftables
rm -f /usr/sbin/policy-rc.d /var/cache/apt/archives/*.deb
# As on a fresh host: what the packages have enabled starts when the roles start it.
systemctl disable -q haproxy.service keepalived.service
