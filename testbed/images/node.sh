#!/bin/sh
# Turns a bare Debian into a node of a cluster: systemd, a container runtime, and what kubelet and kube-proxy call.
set -eu
export DEBIAN_FRONTEND=noninteractive

printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d # nothing is started while the image is made
chmod 755 /usr/sbin/policy-rc.d
apt-get update -qq
apt-get install -y -qq --no-install-recommends \
    systemd systemd-sysv dbus containerd runc containernetworking-plugins etcd-server \
    iptables nftables conntrack iproute2 kmod mount ethtool socat openssl curl ca-certificates procps
rm -rf /usr/sbin/policy-rc.d /var/lib/apt/lists/* /var/cache/apt/*

systemctl mask -q getty@.service console-getty.service systemd-logind.service systemd-udevd.service \
    systemd-udev-trigger.service systemd-modules-load.service sys-kernel-debug.mount sys-kernel-config.mount
systemctl disable -q containerd.service etcd.service
: >/etc/machine-id
