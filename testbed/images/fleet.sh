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

# All containers have the boot id of the machine; that of a host is another one after each boot, by which a reboot is known.
cat >/etc/systemd/system/boot-id.service <<'UNIT'
[Unit]
DefaultDependencies=no
Before=sysinit.target systemd-journald.service

[Service]
Type=oneshot
ExecStart=/bin/sh -c 'cat /proc/sys/kernel/random/uuid >/run/boot-id && mount --bind /run/boot-id /proc/sys/kernel/random/boot_id'
UNIT
systemctl unmask -q systemd-logind.service # which a reboot of Debian 12 asks
ln -s ../boot-id.service /etc/systemd/system/sysinit.target.wants/
