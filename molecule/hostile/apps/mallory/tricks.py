"""What takes more than a line of shell: ``python -m tricks NAME ARGUMENT...`` ends with 0 when it got there."""

from __future__ import annotations

import ctypes
import errno
import http.client
import itertools
import mmap
import os
import pathlib
import signal
import socket
import sys
import threading
import time

LIBC = ctypes.CDLL(None, use_errno=True)
ORDERS = pathlib.Path("/tmp/orders.py")
HOME = pathlib.Path(os.environ.get("HOME", "/nonexistent"))


def ask(path: str, target: str, host: str) -> None:
    """Ask a server behind a unix socket, as nginx would."""
    link = http.client.HTTPConnection(host, timeout=3)
    link.sock = connect(path)
    link.request("GET", target, headers={"X-Forwarded-Proto": "https"})
    answer = link.getresponse()
    print(answer.read().decode(errors="replace"))
    if answer.status != 200:
        sys.exit(f"status {answer.status}")


def connect(path: str) -> socket.socket:
    """Connect to a unix socket."""
    link = socket.socket(socket.AF_UNIX)
    link.settimeout(3)
    link.connect(path)
    return link


def notify(text: str, path: str = "") -> None:
    """Tell systemd something about the service."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link:
        name = path or os.environ.get("NOTIFY_SOCKET", "/run/systemd/notify")
        link.sendto(text.encode(), "\0" + name[1:] if name.startswith("@") else name)


def journal(*fields: str) -> None:
    """Write an entry to the journal in its own protocol."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link:
        link.sendto("\n".join([*fields, ""]).encode(), "/run/systemd/journal/socket")


def master(code: str) -> None:
    """Have code run in the service's main process."""
    result = ORDERS.with_name("obeyed")
    result.unlink(missing_ok=True)
    partial = ORDERS.with_suffix(".partial")
    partial.write_text(code)
    partial.rename(ORDERS)
    for _ in range(50):
        if result.exists():
            sys.exit(result.read_text() or 0)
        time.sleep(0.1)
    sys.exit("the main process does not obey")


def stay(seconds: float) -> None:
    """A process that outlives its parent, ignores what asks it to end and holds every socket it inherits."""
    if os.fork():
        return
    os.setsid()
    if os.fork():
        os._exit(0)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        notify("EXTEND_TIMEOUT_USEC=600000000")
        time.sleep(0.3)
    os._exit(0)


def deaf() -> None:
    """In the main process: do not end when asked to, and ask for more time again and again."""
    LIBC.signal(signal.SIGTERM, ctypes.c_void_p(1))
    LIBC.signal(signal.SIGQUIT, ctypes.c_void_p(1))

    def more() -> None:
        while True:
            notify("EXTEND_TIMEOUT_USEC=600000000")
            time.sleep(0.3)

    threading.Thread(target=more, daemon=True).start()


def ignore_end() -> None:
    """Be a worker that does not want to end."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        time.sleep(60)


def take_sockets(folder: str, seconds: str) -> None:
    """Put this instance's socket wherever another one of the app appears; ends with 0 when it has done so once."""
    own, done = pathlib.Path(os.environ["WSGI_SOCKET"]), 0
    end = time.monotonic() + float(seconds)
    while time.monotonic() < end:
        for other in {*pathlib.Path(folder).glob("*.sock"), *pathlib.Path(folder).glob("*/sock")} - {own}:
            try:
                spare = own.with_name(f"spare{done}")
                os.link(own, spare)
                spare.rename(other)
                done += 1
            except OSError:
                pass
        time.sleep(0.002)
    sys.exit(0 if done else "no socket could be taken")


def swap(name: str, target: str, seconds: str) -> None:
    """A directory of the app's that is by turns itself and a link to elsewhere."""
    place, aside, link = HOME / name, HOME / f"{name}.aside", HOME / f"{name}.link"
    link.unlink(missing_ok=True)
    link.symlink_to(target)
    end = time.monotonic() + float(seconds)
    while time.monotonic() < end:
        place.rename(aside)
        link.rename(place)
        time.sleep(0.0005)
        place.rename(link)
        aside.rename(place)
        time.sleep(0.0005)
    link.unlink()


def mknod(path: str) -> None:
    """Make the device of the machine's memory."""
    os.mknod(path, 0o600 | 0o020000, os.makedev(1, 1))


def mount(source: str, target: str, kind: str, flags: str = "0") -> None:
    """Mount something; with the kind `bind` a directory."""
    number = 4096 if kind == "bind" else int(flags)
    done(LIBC.mount(source.encode(), target.encode(), kind.encode(), number, None))
    done(LIBC.umount2(target.encode(), 2))


def unshare(flags: str) -> None:
    """Leave namespaces."""
    done(LIBC.unshare(int(flags, 16)))


def attach(pid: str) -> None:
    """Trace another process."""
    done(LIBC.ptrace(16, int(pid), 0, 0))
    os.waitpid(int(pid), 0)
    done(LIBC.ptrace(17, int(pid), 0, 0))


def memory(pid: str) -> None:
    """Read another process's memory."""
    with open(f"/proc/{pid}/maps") as maps:
        start = int(next(maps).split("-")[0], 16)
    with open(f"/proc/{pid}/mem", "rb") as stream:
        stream.seek(start)
        sys.exit(0 if stream.read(16) else 1)


def executable_memory() -> None:
    """Memory that can be written and executed."""
    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC).close()


def raw_packets() -> None:
    """Listen to all that passes."""
    socket.socket(socket.AF_PACKET, socket.SOCK_RAW).close()


def netlink() -> None:
    """Ask the kernel about interfaces."""
    socket.socket(socket.AF_NETLINK, socket.SOCK_RAW).close()


def become(user: str) -> None:
    """Become another user."""
    os.setuid(int(user))


def own_host_name() -> None:
    """Name the machine, as it is named."""
    socket.sethostname(socket.gethostname())


def pid_files(path: str) -> None:
    """Leave this process's control group for another."""
    with open(path, "w") as stream:
        stream.write(str(os.getpid()))


def files(folder: str, count: str) -> None:
    """Make so many files."""
    for number in range(int(count)):
        (pathlib.Path(folder) / f"fill-{number}").touch()


def write(path: str, megabytes: str) -> None:
    """Write so much to a file."""
    with open(path, "wb", buffering=0) as stream:
        for _ in range(int(megabytes)):
            if stream.write(bytes(1_000_000)) != 1_000_000:
                sys.exit("no more room")


def hold(megabytes: str, seconds: str) -> None:
    """Hold so much memory."""
    held = [b"x" * 1_000_000 for _ in range(int(megabytes))]
    time.sleep(float(seconds))
    del held


def multiply(count: str, seconds: str) -> None:
    """Have so many processes."""
    for _ in range(int(count)):
        if not os.fork():
            time.sleep(float(seconds))
            os._exit(0)


def open_files(count: str, seconds: str) -> None:
    """Have so many files open."""
    held = [os.open("/dev/null", os.O_RDONLY) for _ in range(int(count))]
    time.sleep(float(seconds))
    assert held


def busy(count: str, seconds: str) -> None:
    """Use so many processors."""
    for _ in range(int(count)):
        if not os.fork():
            end = time.monotonic() + float(seconds)
            while time.monotonic() < end:
                pass
            os._exit(0)


def shout(lines: str) -> None:
    """Write so many lines to the journal."""
    for number in range(int(lines)):
        print(f"noise {number}")


def hold_connections(host: str, count: str, seconds: str) -> None:
    """Hold connections to nginx of the same host."""
    held = []
    for _ in range(int(count)):
        link = socket.create_connection(("127.0.0.1", 443), timeout=3)
        link.send(host.encode())
        held.append(link)
    time.sleep(float(seconds))


def odd_names(folder: str) -> None:
    """Names and shapes that whoever walks or removes the directory stumbles over."""
    place = pathlib.Path(folder)
    place.mkdir(exist_ok=True)
    for name in ("new\nline", "-rf", "--no-preserve-root", "$(id)", "; id", "*", "\x1b[2J", "'\"", " ", "\u202e"):
        (place / name).write_text("x")
    with open(os.fsencode(place) + b"/\xff\xfe", "w") as stream:
        stream.write("x")
    (place / ("n" * 255)).write_text("x")
    os.mkfifo(place / "pipe")
    bound = socket.socket(socket.AF_UNIX)
    bound.bind(str(place / "socket"))
    (place / "loop").symlink_to("loop")
    (place / "closed").mkdir(mode=0)
    with open(place / "sparse", "wb") as stream:
        stream.truncate(1 << 40)
    here = os.open(place, os.O_RDONLY)
    for _ in range(1500):  # deeper than a path may be long
        os.mkdir("deeper", dir_fd=here)
        here, above = os.open("deeper", os.O_RDONLY, dir_fd=here), here
        os.close(above)


def done(code: int) -> None:
    """End with the error of a call of the C library."""
    if code == -1:
        number = ctypes.get_errno()
        raise OSError(number, errno.errorcode.get(number, ""), os.strerror(number))


if __name__ == "__main__":
    globals()[sys.argv[1]](*itertools.islice(sys.argv, 2, None))
