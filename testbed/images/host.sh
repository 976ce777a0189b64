#!/bin/sh
# Turns a bare Debian into what a cloud provider hands out: systemd, sshd, sudo, Python, and the package lists in place.
set -eu
export DEBIAN_FRONTEND=noninteractive

rm -f /usr/sbin/policy-rc.d # container base images forbid starting services on install; real hosts do not
rm -f /etc/apt/apt.conf.d/docker-clean /etc/apt/apt.conf.d/docker-gzip-indexes /etc/apt/apt.conf.d/docker-no-languages
apt-get update -qq
apt-get install -y -qq --no-install-recommends \
    systemd systemd-sysv dbus python3 python3-apt sudo openssh-server iproute2 curl ca-certificates procps logrotate
rm -f /var/cache/apt/archives/*.deb # apt's index of the lists stays, as on every host

# Units that make no sense without hardware or a console.
systemctl mask -q getty@.service console-getty.service systemd-logind.service systemd-udevd.service \
    systemd-udev-trigger.service systemd-modules-load.service sys-kernel-debug.mount sys-kernel-config.mount

# The unprivileged user that Ansible logs in as; its key is added when a host starts.
useradd --create-home --shell /bin/bash deploy
install -d -m 0700 -o deploy -g deploy /home/deploy/.ssh
echo 'deploy ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/deploy
chmod 0440 /etc/sudoers.d/deploy
printf 'PasswordAuthentication no\nUseDNS no\n' >/etc/ssh/sshd_config.d/testbed.conf

# Every host makes its own host keys at its first boot.
rm -f /etc/ssh/ssh_host_*
mkdir -p /etc/systemd/system/ssh.service.d
cat >/etc/systemd/system/ssh.service.d/host-keys.conf <<'UNIT'
[Service]
ExecStartPre=
ExecStartPre=/usr/bin/ssh-keygen -A
ExecStartPre=/usr/sbin/sshd -t
UNIT
: >/etc/machine-id

# Outside containers systemd does this itself; without it, a unit's credentials never get to the unit.
cat >/etc/systemd/system/shared-mounts.service <<'UNIT'
[Unit]
DefaultDependencies=no
Before=sysinit.target

[Service]
Type=oneshot
ExecStart=/bin/mount --make-rshared /
UNIT
mkdir -p /etc/systemd/system/sysinit.target.wants
ln -s ../shared-mounts.service /etc/systemd/system/sysinit.target.wants/
