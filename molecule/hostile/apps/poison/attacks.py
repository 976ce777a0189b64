"""What a hostile build tries: name, command, what it must not reach; ends with 0 when it got there.

With a fourth value, a command of root's tells afterwards instead. To add an attack, add a line.
"""

# ruff: noqa: E501
# fmt: off

ASK = "python3 -c 'import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])' "

ATTACKS = [
    ("is root", "test $(id -u) = 0", "root"),
    ("has a capability", "! grep -q 'CapEff:.0*$' /proc/self/status", "a capability"),
    ("may gain privileges", "grep -q 'NoNewPrivs:.0' /proc/self/status", "set-id programs"),
    ("writes to /etc", "touch /etc/poisoned", "the system's settings"),
    ("adds a cron job", "touch /etc/cron.d/poisoned", "root's cron"),
    ("adds a unit", "touch /etc/systemd/system/poisoned.service", "systemd's units"),
    ("adds a runtime unit", "touch /run/systemd/system/poisoned.service", "systemd's units"),
    ("adds a program", "touch /usr/local/bin/poisoned", "everybody's PATH"),
    ("changes the installer", "touch /opt/wsgi/poisoned || touch $(ls -d /opt/wsgi/*/bin/uv)", "the program that builds every app"),
    ("writes to root's home", "touch /root/poisoned", "root's files", "test -e /root/poisoned"),
    ("reads root's home", "ls -A /root/.ssh", "root's files"),
    ("reads victim's code", "cat /srv/victim/current/app/src/victim.py", "victim's code"),
    ("reads victim's secrets", "cat /srv/victim/current/etc/environment", "victim's secrets"),
    ("reads victim's credentials", "cat /srv/victim/current/credentials/planted.pem", "victim's credentials"),
    ("reads victim's data", "cat /var/lib/victim/data/diary.txt", "victim's data"),
    ("writes to victim's data", "touch /var/lib/victim/poisoned", "victim's data"),
    ("writes to victim's environment", "touch /srv/victim/current/app/venv/poisoned", "the code that victim runs"),
    ("names victim", "ls /srv | grep victim", "names of other apps"),
    ("names victim by its settings", "ls /etc/wsgi/ | grep victim", "names of other apps"),
    ("reads victim's settings", "cat /etc/wsgi/victim/gunicorn.conf.py", "victim's settings"),
    ("reads victim's log", "cat /var/log/nginx/victim.access.log", "what clients asked victim for"),
    ("reads the journal", "journalctl -q -n 1 -u 'victim*' | grep .", "victim's journal"),
    ("reads the shadow file", "cat /etc/shadow", "password hashes"),
    ("reads a TLS key", "cat /etc/nginx/tls/victim/privkey.pem", "victim's TLS key"),
    ("reads SSH keys", "cat /etc/ssh/ssh_host_*_key", "the host's SSH keys"),
    ("finds the index's password in its environment", "env | grep planted-in-index", "the index's password"),
    (
        "finds the index's password in /proc",
        "cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null | grep -a '[p]lanted-in-index'",
        "the index's password",
    ),
    (
        "finds the index's password in files",
        "grep -rls planted-in-index /etc /opt /run /tmp /var/tmp /var/cache /home $HOME",
        "the index's password",
    ),
    (
        "writes to another app's cache",
        "touch /var/cache/private/wsgi-build/victim/poisoned || touch /var/cache/wsgi-build/victim/poisoned",
        "packages of other apps",
    ),
    (
        "changes a package of another app",
        "find / -xdev -path '*/flask/app.py' ! -path '*/poison*' -writable 2>/dev/null | grep -v ^/proc/ | grep .",
        "packages of other apps",
    ),
    ("writes to its own releases", "touch /srv/poison/releases/poisoned || touch /srv/poison/poisoned", "what systemd starts"),
    ("connects to victim", f"{ASK} /run/victim/current.sock", "victim without nginx"),
    ("connects to systemd", f"{ASK} /run/systemd/private", "systemd"),
    ("starts a unit", "systemd-run -q true", "systemd, as root"),
    ("stops a unit", "systemctl stop bystander.service", "another unit"),
    ("sends a signal to the host's first process", "kill -0 1", "other processes"),
    ("sees other users' processes", "cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -a 'gunicorn.*[v]ictim:create'", "what others run"),
    ("makes a device", "mknod device c 1 1", "the machine's memory"),
    ("mounts", "mount -t tmpfs none /mnt", "the file system's layout"),
    ("has a user namespace", "unshare -U true", "namespaces"),
    ("makes a set-id program", "cp /bin/true set-id && chmod 6755 set-id", "a set-id file"),
    ("reads what others left in /tmp", "cat /tmp/bystander", "/tmp of others"),
    ("leaves something in /tmp", "touch /tmp/poisoned", "/tmp of others", "test -e /tmp/poisoned"),
    ("leaves something in /var/tmp", "touch /var/tmp/poisoned", "/var/tmp of others", "test -e /var/tmp/poisoned"),
    ("leaves something in /dev/shm", "touch /dev/shm/poisoned", "/dev/shm of others", "test -e /dev/shm/poisoned"),
    ("leaves a process behind", "setsid sleep 98765 >/dev/null 2>&1 &", "the time after the build", "pgrep -fx 'sleep 98765'"),
    ("installs a set-id program", "true", "a set-id file", "find /srv/poison /var/cache/private -perm /6000 | grep ."),
    ("installs what all may write to", "true", "code that others may change", "find /srv/poison ! -type l -perm /022 | grep ."),
    ("owns what it installed", "true", "code that the app may change", "find /srv/poison ! -user root | grep ."),
]
