#!/bin/sh
# Turns a prepared host's image into that of a host with container engines, and with a registry of its own on loopback.
set -eu
export DEBIAN_FRONTEND=noninteractive

printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d # nothing is started while the image is made
chmod 755 /usr/sbin/policy-rc.d
engines="podman crun netavark aardvark-dns iptables nftables passt uidmap docker-registry apache2-utils skopeo"
# Debian 12 has no Docker that builds with BuildKit, and no Compose of today.
if grep -q trixie /etc/os-release; then engines="$engines docker.io docker-cli docker-buildx docker-compose podman-compose"; fi
# shellcheck disable=SC2086 # a list
apt-get install -y -qq --no-install-recommends $engines
rm -f /usr/sbin/policy-rc.d /var/cache/apt/archives/*.deb

# What an engine needs in a container of an engine that is not told to give it everything.
cat >/usr/local/sbin/nested-engines <<'SCRIPT'
#!/bin/bash
set -eu
# On cgroup v1 each controller is a mount of its own, and read-only.
for mount in /sys/fs/cgroup/*/ /proc/sys; do
    if grep -q " ${mount%/} " /proc/self/mounts; then mount -o remount,rw,bind "${mount%/}"; fi
done
# Nobody here may raise a limit, and Podman would.
mkdir -p /etc/containers/containers.conf.d
printf '[containers]\ndefault_ulimits = ["nofile=%s:%s", "nproc=%s:%s"]\n' \
    "$(ulimit -Hn)" "$(ulimit -Hn)" "$(ulimit -Hu)" "$(ulimit -Hu)" >/etc/containers/containers.conf.d/testbed.conf
SCRIPT
chmod 755 /usr/local/sbin/nested-engines
cat >/etc/systemd/system/nested-engines.service <<'UNIT'
[Unit]
DefaultDependencies=no
After=local-fs.target
Before=docker.service containerd.service sysinit.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/local/sbin/nested-engines

[Install]
WantedBy=sysinit.target
UNIT
systemctl enable -q nested-engines.service
