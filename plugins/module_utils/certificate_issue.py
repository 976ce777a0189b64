# Copyright (c) webops.wsgi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Certificates that certbot keeps: what differs from what is wanted is issued, put in service, renewed, and removed.

`ensure_issued` is the whole phase; it runs after nginx serves. What fails for one app does not keep the others from
going on.
"""

from __future__ import annotations

import contextlib
import datetime
import glob
import os
import re
import shutil
import tempfile
import time
import typing as t
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from ansible_collections.webops.wsgi.plugins.module_utils import (
    certificate_account,
    certificate_profiles,
    dns_lookup,
)
from ansible_collections.webops.wsgi.plugins.module_utils.certificate_clearance import Clearance, clear, no_room
from ansible_collections.webops.wsgi.plugins.module_utils.certificate_ledger import (
    REFUSES_FOR_NOW,
    Attempt,
    Ledger,
    Limits,
)
from ansible_collections.webops.wsgi.plugins.module_utils.certificate_store import (
    NONE_YET,
    Completed,
    Host,
    Outcome,
    ca_on_disk,
    ensure_placeholder,
    in_use,
    place,
    point,
    prune,
    read_certificate,
    read_text,
    replace_file,
    summary,
    target_of,
    write_pair,
)
from ansible_collections.webops.wsgi.plugins.module_utils.certificate_wire import (
    RELOADED,
    expected_on_wire,
    serve,
    wait_for,
)
from ansible_collections.webops.wsgi.plugins.module_utils.certificates import (
    App,
    Certificate,
    CertificateError,
    Pair,
)

PASSING = ("Another instance of Certbot is already running", "invalid anti-replay nonce", "badNonce")
"""What certbot says when the same command can work a moment later."""
OURS = "Written by the role webops.wsgi.certbot"
"""Stands in every file that the role certbot has written."""
PASSING_WAIT = 3.0
PASSING_TRIES = 20

SIDE_BY_SIDE = 4
"""How many new certificates are asked for at the same time; certbot sleeps for most of the time that one takes."""
ASIDE = ".issuing-"
ASIDE_MAX_AGE = 3600.0
"""Seconds after which nobody works in such a directory any more: certbot gives up on a certificate after minutes."""
HAS_ACCOUNT = "There is an existing account"
WRONG_USE = "certbot: error: "


@dataclass(frozen=True)
class ManagedFile:
    """A small file around certbot (deploy hook, systemd unit); empty content means it must not exist.

    :param always: whether it is wanted on a host without certbot as well
    """

    path: str
    content: str
    mode: int = 0o644
    always: bool = False


@dataclass(frozen=True)
class Lineage:
    """A certificate that certbot keeps, as it lies on disk; `renewal` is the text of its renewal configuration."""

    certificate: Certificate | None
    renewal: str

    @property
    def known(self) -> bool:
        """Whether certbot knows how to renew it; killed, it leaves a configuration that is empty or cut off."""
        return bool(self.server)

    @property
    def server(self) -> str:
        """The ACME directory it came from."""
        return self._setting("server")

    @property
    def authenticator(self) -> str:
        """How certbot answers the challenge when it renews."""
        return self._setting("authenticator")

    @property
    def renew_before(self) -> str:
        """How long before its end certbot renews it, where it has been told."""
        return self._setting("renew_before_expiry")

    @property
    def profile(self) -> str:
        """The profile that was asked for."""
        return self._setting("preferred_profile")

    @property
    def webroot(self) -> str:
        """Where certbot puts the answer to the challenge when it renews."""
        return self._setting("webroot_path").rstrip(", ")

    def _setting(self, name: str) -> str:
        found = re.search(rf"^{name}\s*=\s*(.*?)\s*$", self.renewal, re.M)
        return found[1] if found else ""


def read_lineage(host: Host, app: str) -> Lineage:
    """Return what certbot has for the app."""
    return Lineage(read_certificate(host.live(app)), read_text(host.renewal(app)))


def renewal_wanted(lineage: Lineage, host: Host) -> dict[str, tuple[str, str]]:
    """Return what certbot should know of the next renewal and does not: by setting what it is and what it should be."""
    if lineage.certificate is None or not lineage.known:
        return {}
    before = f"{lineage.certificate.renewal_seconds(host.renew_left)} seconds"
    settings = {
        "renew_before_expiry": (lineage.renew_before, before),
    }
    if lineage.authenticator == "webroot":
        settings["webroot_path"] = (lineage.webroot, host.webroot)
    return {name: (found, wanted) for name, (found, wanted) in settings.items() if found != wanted}


def renewal_text(lineage: Lineage, wanted: t.Mapping[str, tuple[str, str]]) -> str:
    """Return the renewal configuration with other settings."""
    text = lineage.renewal
    if "webroot_path" in wanted:
        text = moved_webroot(lineage, wanted["webroot_path"][1])
    if "renew_before_expiry" in wanted:
        line = f"renew_before_expiry = {wanted['renew_before_expiry'][1]}"
        text = line + "\n" + _RENEW_BEFORE.sub("", text)
    return text


_RENEW_BEFORE = re.compile(r"^(# *)?renew_before_expiry *=.*\n", re.M)


def moved_webroot(lineage: Lineage, webroot: str) -> str:
    """Return the renewal configuration with another webroot."""
    line = re.compile(rf"^(.+ = ){re.escape(lineage.webroot)}(,?)[ \t]*$", re.M)
    return line.sub(lambda found: f"{found[1]}{webroot}{found[2]}", lineage.renewal)


def identity_differences(lineage: Lineage, app: App) -> list[str]:
    """Return in what the certificate on disk is another one than the one wanted: names, key type, authority."""
    certificate = lineage.certificate
    if certificate is None:
        return [NONE_YET]
    reasons = []
    if set(certificate.names) != set(app.domains):
        reasons.append(f"names {', '.join(certificate.names)} -> {', '.join(sorted(app.domains))}")
    if certificate.key_type != app.acme.key_type:
        reasons.append(f"key type {certificate.key_type} -> {app.acme.key_type}")
    if lineage.server not in app.acme.directories:
        reasons.append(f"CA {lineage.server or 'unknown'} -> {app.acme.directory}")
    authenticator = app.acme.dns_plugin or "webroot"
    if lineage.known and lineage.authenticator != authenticator:
        reasons.append(f"challenge {lineage.authenticator or 'unknown'} -> {authenticator}")
    if lineage.known and lineage.profile != app.acme.profile:
        reasons.append(f"profile {lineage.profile or 'default'} -> {app.acme.profile or 'default'}")
    return reasons


def twin(host: Host, app: App) -> str:
    """Return under which name certbot has the certificate that the app wants, when it has none under the app's own."""
    if not app.present or app.tls != "letsencrypt" or target_of(host.link(app.name)) == host.live(app.name):
        return ""
    if read_lineage(host, app.name).known:
        return ""
    for path in sorted(glob.glob(host.renewal("*"))):
        name = os.path.basename(path).removesuffix(".conf")
        lineage = read_lineage(host, name)
        if lineage.known and not identity_differences(lineage, app):
            return name
    return ""


def differences(lineage: Lineage, app: App, now: datetime.datetime) -> list[str]:
    """Return why the app's certificate has to be issued; nothing when the one on disk is what is wanted."""
    reasons = identity_differences(lineage, app)
    certificate = lineage.certificate
    if certificate is not None and certificate.not_after <= now:
        reasons.append(f"expired on {certificate.not_after:%Y-%m-%d}")
    elif certificate is not None and certificate.overdue(now):
        reasons.append(f"renewal overdue, valid only until {certificate.not_after:%Y-%m-%d}")
    return reasons


def stands_in(lineage: Lineage, app: App, now: datetime.datetime, renew_left: int) -> bool:
    """Return whether another authority than the first has issued the certificate, and it is halfway to its renewal.

    The timer would have it renewed where it comes from; so the first authority is asked before that.
    """
    certificate = lineage.certificate
    if certificate is None or lineage.server == app.acme.directory or differences(lineage, app, now):
        return False
    return certificate.not_after - now < certificate.life * (100 + renew_left) / 200


def _challenge(host: Host, app: App) -> list[str]:
    """Return how certbot answers the authority's challenge."""
    plugin = app.acme.dns_plugin
    if not plugin:
        return ["--webroot", "--webroot-path", host.webroot]
    options = ["--authenticator", plugin, f"--{plugin}-credentials", host.credentials(app.name)]
    if app.acme.dns_propagation:
        options += [f"--{plugin}-propagation-seconds", str(app.acme.dns_propagation)]
    return options


@contextlib.contextmanager
def account_binding(app: App) -> t.Iterator[list[str]]:
    """Yield what certbot needs to bind a new account; in a file, since everybody on the host sees its arguments."""
    if not app.acme.eab_kid:
        yield []
        return
    handle, path = tempfile.mkstemp(prefix="wsgi-eab-", suffix=".ini")  # 0600
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(f"eab-kid = {app.acme.eab_kid}\neab-hmac-key = {app.acme.eab_hmac_key}\n")
        yield ["--config", path]
    finally:
        os.unlink(path)


def certbot_command(host: Host, app: App, lineage: Lineage) -> list[str]:
    """Return the command that issues the app's certificate into the lineage of its name."""
    acme = app.acme
    command = [*host.certbot, "certonly", "--non-interactive", "--cert-name", app.name, "--server", acme.directory]
    command += ["--key-type", acme.key_type, *_challenge(host, app), *account_options(host, app)]
    command.append("--no-directory-hooks")  # for renewals; one that stops nginx would keep it from answering
    if acme.profile:
        command += ["--preferred-profile", acme.profile]
    if lineage.known:
        command += ["--renew-with-new-domains", "--force-renewal"]
        if "staging" in acme.directory and "staging" not in lineage.server:
            command.append("--break-my-certs")
    for domain in app.domains:
        command += ["--ip-address" if dns_lookup.is_address(domain) else "--domain", domain]
    return command


def account_options(host: Host, app: App) -> list[str]:
    """Return the options that an account at the CA is made with."""
    email = app.acme.email
    options = ["--email", email, "--no-eff-email"] if email else ["--register-unsafely-without-email"]
    return [*options, "--agree-tos"] if host.agree_tos else options


_NOISE = re.compile(
    r"^(Saving debug log|Plugins selected|Requesting a certificate|Renewing an existing|Performing the following|"
    r"Account registered|Waiting for|Cleaning up|Hint:|Some challenges have failed|Ask for help|- - -|$)"
)
_FAILED = re.compile(
    r"(?:Domain|Identifier):\s*(?P<domain>\S+)\s+Type:\s*(?P<type>\S+)\s+Detail:\s*(?P<detail>.+?)"
    r"(?=\n\s*\n|\n\s*(?:Domain|Identifier):|\Z)",
    re.S,
)  # from 5.3 on certbot says Identifier
_NO_ANSWER = (
    re.compile(r"HTTPS?ConnectionPool\(host='(?P<host>[^']+)', port=(?P<port>\d+)\): (?P<why>.+)", re.S),
    re.compile(r"ValueError: Requesting (?P<host>[^/\s]+)\S*: (?P<why>.+)", re.S),
)
_WHY = re.compile(
    r"(?P<tls>certificate verify failed: [^('\"]*[^('\" ])|(?P<dns>Failed to resolve '[^']+')|"
    r"\[Errno -?\d+\] (?P<errno>[^'\")\]]+)|(?P<timeout>[Tt]imed out)"
)


_STATUS = re.compile(r"ClientError: <Response \[(\d+)\]>")
_MASKED = "AttributeError: can't set attribute"
_REFUSED = re.compile(r"urn:ietf:params:acme:error:(?P<type>\w+) :: (?P<title>[^\n]*?) :: (?P<detail>[^\n]+)")


def _no_answer(output: str) -> str:
    """Return why certbot had no answer from the CA at all, or nothing when it had one."""
    for pattern in _NO_ANSWER:
        found = pattern.search(output)
        if not found:
            continue
        at = ":".join(filter(None, (found["host"], found.groupdict().get("port"))))
        why = _WHY.search(found["why"])
        text = why.group(why.lastgroup or 0) if why else found["why"].strip().splitlines()[0]
        hint = ""
        if why and why.lastgroup == "tls":
            of_time = "expired" in text or "not yet valid" in text
            hint = "; is this host's clock right?" if of_time else "; name its own authority in certbot_ca_bundle"
        return f"the CA at {at} cannot be reached: {text}{hint}"
    return ""


def cause(output: str) -> str:
    """Return why certbot failed, in one line, from what it printed."""
    failed = [
        f"{found['domain']}: {' '.join(found['detail'].split())} ({found['type']})"
        for found in _FAILED.finditer(output)
    ]
    if failed:
        return "; ".join(failed)
    refused = _REFUSED.search(output)
    if refused:
        return f"{refused['detail']} ({refused['type']})"
    _, unexpected, text = output.partition("An unexpected error occurred:")
    lines = [line.strip() for line in (text or output).splitlines() if not _NOISE.match(line.strip())]
    line = " ".join(lines[:3] if unexpected else lines[-3:])
    status = _STATUS.search(output)
    if status:
        return f"the CA answered {status[1]} without a reason, as a proxy in front of one does that is down"
    return _no_answer(output) or line or "certbot said nothing; see /var/log/letsencrypt/letsencrypt.log"


def _hinted(output: str) -> str:
    """Return why certbot failed, and what to do where that is a matter of settings."""
    if "external account binding" in output:
        return f"{cause(output)}; set certbot_eab_kid and certbot_eab_hmac_key to what the CA gave you"
    if "unrecognized arguments: --preferred-profile" in output:
        return "this certbot knows no profiles; set certbot_install_method: venv"
    return cause(output)


def unreachable(output: str) -> bool:
    """Return whether certbot never reached the CA, so that asking it for the next app is pointless in this run."""
    return not _FAILED.search(output) and bool(_no_answer(output))


def refuses(output: str) -> bool:
    """Return whether it is the CA that has not done what was asked: no domain has failed, and certbot was used well."""
    return not _FAILED.search(output) and WRONG_USE not in output


def unmasked(output: str) -> str:
    """Return certbot's output with the CA's own answer in it.

    certbot before 2.2 under Python 3.11, which is Debian 12's, says "can't set attribute" for every error that the CA
    returns (https://github.com/certbot/certbot/issues/9539). The answer itself is in its log.
    """
    log = re.search(r"Saving debug log to (\S+)", output)
    if _MASKED not in output or not log:
        return output
    answers = re.findall(r"^acme\.messages\.Error: (.+)$", read_text(log[1]), re.M)
    return output.replace(_MASKED, answers[-1]) if answers else output


def run_certbot(host: Host, command: t.Sequence[str], sleep: t.Callable[[float], None] = time.sleep) -> Completed:
    """Run certbot, again while its timer's run holds the lock or the CA refuses a nonce."""
    environment = {"REQUESTS_CA_BUNDLE": host.ca_bundle} if host.ca_bundle else {}
    completed = _run_once(host, command, environment)
    for _attempt in range(PASSING_TRIES):
        if completed.rc == 0 or not any(phrase in completed.output for phrase in PASSING):
            break
        sleep(PASSING_WAIT)
        completed = _run_once(host, command, environment)
    return completed


def _run_once(host: Host, command: t.Sequence[str], environment: t.Mapping[str, str]) -> Completed:
    completed = host.run(command, environment)
    return replace(completed, output=unmasked(completed.output))


def set_aside(host: Host, app: str, lineage: Lineage, now: datetime.datetime) -> None:
    """Move the remains of a damaged lineage out of certbot's way, which would not write over them.

    A lineage is damaged when its pair or its renewal configuration is missing: certbot was killed, or files were
    removed by hand. A pair that can still be served is kept in service from a directory of its own.
    """
    remains = [host.renewal(app), host.live(app), os.path.join(host.letsencrypt, "archive", app)]
    if (lineage.known and lineage.certificate) or not any(map(os.path.lexists, remains)):
        return
    if lineage.certificate and target_of(host.link(app)) == host.live(app):
        pair = Pair(*(read_text(os.path.join(host.live(app), name)) for name in ("fullchain.pem", "privkey.pem")))
        point(host.link(app), write_pair(os.path.join(host.store, app), "kept", pair))
    aside = os.path.join(host.letsencrypt, "damaged", f"{app}-{now:%Y%m%dT%H%M%S}")
    os.makedirs(aside, mode=0o700)
    for path in filter(os.path.lexists, remains):
        os.rename(path, os.path.join(aside, os.path.basename(os.path.dirname(path))))


def issue(host: Host, app: App, now: datetime.datetime) -> Completed:
    """Ask the CA for the app's certificate.

    Returns certbot's answer; raises CertificateError when certbot reports success but what was wanted is not there.
    """
    _have_webroot(host)
    set_aside(host, app.name, read_lineage(host, app.name), now)
    command = certbot_command(host, app, read_lineage(host, app.name))
    with account_binding(app) as binding:
        completed = run_certbot(host, [*command, *binding])
    if completed.rc != 0 and certificate_account.FORGOTTEN.search(completed.output):
        with certificate_account.RENEWING:
            if certificate_account.set_aside(host, app.acme.directory, completed.output, now):
                register(host, app)
        completed = run_certbot(host, command)
    if completed.rc == 0:
        left = identity_differences(read_lineage(host, app.name), app)
        if left:
            raise CertificateError(f"certbot reported success, but the certificate is not as wanted: {'; '.join(left)}")
        _settle_renewal(host, app, read_lineage(host, app.name), False, Outcome())
    return completed


def _have_webroot(host: Host) -> None:
    if not os.path.isdir(host.webroot):
        os.makedirs(host.webroot)
        os.chmod(host.webroot, 0o755)


def register(host: Host, app: App) -> Completed:
    """Make an account at the app's CA; `HAS_ACCOUNT` is in the answer when there is one."""
    command = [*host.certbot, "register", "--non-interactive", "--server", app.acme.directory]
    with account_binding(app) as binding:
        return run_certbot(host, [*command, *account_options(host, app), *binding])


def issue_aside(host: Host, app: App, now: datetime.datetime) -> Completed:
    """Ask the CA for the certificate of an app that has none, in directories of its own, and adopt what comes of it.

    certbot locks its directories, so several can only work at the same time when each has its own. They share the
    account, which must be there, and the credentials for DNS. Killed, it leaves a directory that `sweep` removes.

    Returns certbot's answer; raises CertificateError as `issue` does.
    """
    with tempfile.TemporaryDirectory(prefix=ASIDE + app.name + "-", dir=host.letsencrypt) as aside:
        for shared in ("accounts", "credentials"):
            os.symlink(os.path.join(host.letsencrypt, shared), os.path.join(aside, shared))
        logs = os.path.join(aside, "logs")
        directories = ("--config-dir", aside, "--work-dir", os.path.join(aside, "work"), "--logs-dir", logs)
        completed = issue(replace(host, letsencrypt=aside, certbot=(*host.certbot, *directories)), app, now)
        if os.path.isfile(os.path.join(logs, "letsencrypt.log")):
            os.makedirs(host.logs, mode=0o700, exist_ok=True)
            shutil.copy(os.path.join(logs, "letsencrypt.log"), os.path.join(host.logs, f"{app.name}.log"))
        if completed.rc == 0:
            set_aside(host, app.name, read_lineage(host, app.name), now)
            _adopt(host, app.name, aside)
    return completed


def _adopt(host: Host, app: str, aside: str) -> None:
    """Move a lineage to where certbot renews it. The renewal configuration comes last: with it, certbot knows it."""
    renewal = os.path.join(aside, "renewal", app + ".conf")
    replace_file(renewal, adopted_renewal(read_text(renewal), aside, host.letsencrypt), 0o644)
    for kind, entry, mode in (("archive", app, 0o700), ("live", app, 0o700), ("renewal", app + ".conf", 0o755)):
        os.makedirs(os.path.join(host.letsencrypt, kind), mode=mode, exist_ok=True)
        os.rename(os.path.join(aside, kind, entry), os.path.join(host.letsencrypt, kind, entry))


def adopted_renewal(renewal: str, aside: str, letsencrypt: str) -> str:
    """Return the renewal configuration of a lineage that was moved, without the directories certbot was called with."""
    return re.sub(r"^(config|work|logs)_dir\s*=.*\n", "", renewal, flags=re.M).replace(aside, letsencrypt)


def sweep(host: Host) -> None:
    """Remove what runs that were killed while they issued certificates have left."""
    for entry in os.scandir(host.letsencrypt) if os.path.isdir(host.letsencrypt) else ():
        if entry.name.startswith(ASIDE) and time.time() - entry.stat().st_mtime > ASIDE_MAX_AGE:
            shutil.rmtree(entry.path, ignore_errors=True)


class Answer(t.NamedTuple):
    """What came of asking one authority: what went wrong, or nothing, and whether another one may do better."""

    problem: str
    refused: bool = False


@dataclass
class Issuer:
    """Issues certificates and remembers which CA cannot be reached.

    `served_by` has the directory of the authority that has issued each app's certificate, `warnings` what the others
    have said.
    """

    host: Host
    now: datetime.datetime
    down: dict[str, str] = field(default_factory=dict)
    asked: dict[str, Answer] = field(default_factory=dict)
    served_by: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    @property
    def ledger(self) -> Ledger:
        """What this host has asked for."""
        return Ledger(self.host.ledger, Limits(self.host.max_failures, self.host.max_certificates))

    def ask_for_new(self, apps: t.Sequence[App]) -> None:
        """Ask the first authority of apps that have no certificate for all at the same time; `problem` goes on."""
        sweep(self.host)
        apps = [first for first in (app.choices()[0] for app in apps) if not self._closed(first).problem]
        if len(apps) < 2 or not shutil.which(self.host.certbot[0]):
            return
        _have_webroot(self.host)
        for app in {app.acme.directory: app for app in reversed(apps)}.values():
            registered = register(self.host, app)
            if registered.rc != 0 and HAS_ACCOUNT not in registered.output:
                self._note(app, registered)
                self.down[app.acme.directory] = _hinted(registered.output)
        with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
            answers = pool.map(lambda app: self._ask(app, issue_aside), apps)
            self.asked = {app.name: answer for app, answer in zip(apps, answers, strict=True)}

    def problem(self, app: App) -> str:
        """Issue the app's certificate, unless that has been tried, and return what went wrong, or nothing.

        An authority that refuses or cannot be reached is followed by the next; a domain that fails is the end.
        """
        if app.name not in self.asked and not shutil.which(self.host.certbot[0]):
            return f"{self.host.certbot[0]} is not installed"
        said: list[str] = []
        for choice in app.choices():
            answer = self.asked.pop(app.name, None) or self._ask(choice, issue)
            if not answer.problem:
                self.served_by[app.name] = choice.acme.directory
                if said:
                    served = f"its certificate is by {choice.acme.directory}, not by {app.acme.directory}"
                    self.warnings.append(f'app "{app.name}": {served}: {"; ".join(said)}')
                return ""
            said.append(f"by {choice.acme.directory}: {answer.problem}" if said else answer.problem)
            if not answer.refused:
                break
        return "; ".join(said)

    def _closed(self, app: App) -> Answer:
        """Return why the app's CA is not to be asked now, or nothing."""
        directory = app.acme.directory
        if directory in self.down:
            return Answer(self.down[directory], refused=True)
        full = no_room(self.host)
        if full:
            return Answer(full)
        closed = self.ledger.closed(directory, app.domains, self.now)
        return Answer(closed, not self.ledger.tells_of_a_domain(directory, app.domains, self.now))

    def _ask(self, app: App, how: t.Callable[[Host, App, datetime.datetime], Completed]) -> Answer:
        closed = self._closed(app)
        if closed.problem:
            return closed
        bundle = app.acme.ca_bundle
        host = self.host if bundle is None else replace(self.host, ca_bundle=bundle)
        unknown = certificate_profiles.problem(app.acme.profile, app.acme.directory, host.ca_bundle)
        if unknown:
            return Answer(unknown, refused=True)
        try:
            completed = how(host, app, self.now)
        except CertificateError as error:
            return Answer(str(error))
        self._note(app, completed)
        if completed.rc == 0:
            return Answer("")
        if completed.rc < 0:
            return Answer(f"certbot was ended by signal {-completed.rc}")
        if unreachable(completed.output):
            self.down[app.acme.directory] = cause(completed.output)
        return Answer(_hinted(completed.output), refuses(completed.output))

    def _note(self, app: App, completed: Completed) -> None:
        """Note what the CA has counted: a certificate, a failed authorisation, or that it refuses for now."""
        named = {found["domain"] for found in _FAILED.finditer(completed.output)}  # a wildcard without its asterisk
        failed = tuple(domain for domain in app.domains if domain.removeprefix("*.") in named)
        if completed.rc != 0 and not failed and REFUSES_FOR_NOW.search(completed.output):
            failed = app.domains
        if completed.rc == 0 or failed:
            why = "" if completed.rc == 0 else cause(completed.output)
            failed = () if completed.rc == 0 else failed
            attempt = Attempt(self.now.timestamp(), app.acme.directory, app.domains, failed, why)
            self.ledger.note(attempt)


def _hooks_in_the_way(host: Host) -> t.Iterator[str]:
    """Warn of what stops nginx before each renewal, as it was needed without a webroot."""
    for path in sorted(glob.glob(f"{glob.escape(host.letsencrypt)}/renewal-hooks/pre/*")):
        if re.search(r"stop.*nginx|nginx.*stop", read_text(path)):
            yield f"{path} stops nginx, which then cannot answer the authority: nothing is renewed; remove it"


def _issue_all(
    host: Host, apps: t.Sequence[App], now: datetime.datetime, check: bool, outcome: Outcome
) -> dict[str, str]:
    """Issue what differs from what is wanted, repoint links, return by app where each of these pointed before."""
    former: dict[str, str] = {}
    issuer = Issuer(host, now)
    wanted = [app for app in apps if app.present and app.tls == "letsencrypt"]
    if check:  # the phase before has predicted that these take over another name's certificate
        wanted = [app for app in wanted if not twin(host, app)]
    lineages = {app.name: read_lineage(host, app.name) for app in wanted}
    back = {app.name for app in wanted if stands_in(lineages[app.name], app, now, host.renew_left)}
    due = [app for app in wanted if app.name in back or differences(lineages[app.name], app, now)]
    cleared = {} if check else clear(host, due)
    to_ask = {app.name: _asked(app, cleared.get(app.name), outcome) for app in wanted if app.name not in back}
    if not check:
        issuer.ask_for_new([app for app, problem in to_ask.values() if not (problem or lineages[app.name].known)])
    for app in wanted:
        lineage = lineages[app.name]
        asked, problem = to_ask.get(app.name, (app, ""))
        before = target_of(host.link(app.name))
        if app.name in back:
            reasons = _go_back(issuer, app, lineage, cleared.get(app.name), check)
        else:
            reasons = differences(lineage, asked, now)
            problem = problem or (issuer.problem(asked) if reasons and not check else "")
        if problem:
            if _stand_in(host, app, now, outcome):
                former[app.name] = before
            outcome.errors.append(_issue_error(host, asked, problem))
            continue
        if not reasons:
            _settle_renewal(host, app, lineage, check, outcome)
        else:
            _note_issued(asked, lineage, issuer.served_by.get(app.name, app.acme.directory), reasons, outcome)
        if not reasons and before != host.live(app.name) and not check:  # else the phase before has predicted it
            outcome.change(f"{app.name}: the certificate of certbot put in place")
        if (reasons or before != host.live(app.name)) and not check:
            former[app.name] = before
            point(host.link(app.name), host.live(app.name))
    outcome.warnings += [*issuer.warnings, *(_hooks_in_the_way(host) if wanted else ())]
    return former


def _go_back(issuer: Issuer, app: App, lineage: Lineage, clearance: Clearance | None, check: bool) -> list[str]:
    """Ask the first authority for what another one has issued, and return why that was done, nothing when it fails.

    The certificate that is there is good, so a failure is only spoken of.
    """
    reason = f"{lineage.server} has stood in for {app.acme.directory}"
    if check:
        return [reason]
    problem = (clearance.problem if clearance else "") or issuer.problem(app.choices()[0])
    if not problem:
        return [reason]
    issuer.warnings.append(f'app "{app.name}": {reason}, and goes on to: {problem}')
    return []


def _asked(app: App, clearance: Clearance | None, outcome: Outcome) -> tuple[App, str]:
    """Return the app with the domains to ask for, and why none of them may be asked for."""
    if clearance is None or not clearance.problem:
        return app, ""
    if not clearance.domains:
        return app, clearance.problem
    outcome.errors.append(_left_out_error(app, clearance))
    return replace(app, domains=clearance.domains), ""


def _stand_in(host: Host, app: App, now: datetime.datetime, outcome: Outcome) -> bool:
    """Put a placeholder where nothing can be served, so that nginx can at least start; return whether it was needed."""
    if in_use(host, app.name).certificate is not None:
        return False
    placed = ensure_placeholder(host, [app], now)
    outcome.actions += placed.actions
    outcome.after += placed.after
    return True


def _settle_renewal(host: Host, app: App, lineage: Lineage, check: bool, outcome: Outcome) -> None:
    """Tell certbot where nginx looks for the answer to the challenge now, and when to renew; nothing is asked for."""
    path = host.renewal(app.name)
    wanted = renewal_wanted(lineage, host)
    for name, (found, new) in wanted.items():
        outcome.change(
            f"{app.name}: {name} {found or 'unset'} -> {new}",
            f"{path}: {name} = {found}",
            f"{path}: {name} = {new}",
        )
    if wanted and not check:
        replace_file(path, renewal_text(lineage, wanted), 0o644)


def _note_issued(app: App, lineage: Lineage, directory: str, reasons: t.Sequence[str], outcome: Outcome) -> None:
    """Note that the app's certificate was, or would be, issued."""
    outcome.issued.append(app.name)
    outcome.change(
        f"{app.name}: certificate for {', '.join(app.domains)} issued by {directory}: {'; '.join(reasons)}",
        summary(app, "letsencrypt", lineage.certificate.names) if lineage.certificate else "",
        f"{summary(app, 'letsencrypt', app.domains)} from {directory}",
    )


def _issue_error(host: Host, app: App, problem: str) -> str:
    """Return the error for an app whose certificate was not issued, and what it serves instead."""
    current = in_use(host, app.name)
    served = f"it keeps its {current.kind} certificate" if current.certificate else "it has no certificate to serve"
    if current.certificate:
        served += f" (valid until {current.certificate.not_after:%Y-%m-%d})"
    asked = f"{', '.join(app.domains)} by {app.acme.directory}"
    return f'app "{app.name}": no certificate was issued for {asked}: {problem}; {served}'


def _left_out_error(app: App, clearance: Clearance) -> str:
    """Return the error for the domains of an app that its certificate is not for, since they failed before."""
    left_out = [domain for domain in app.domains if domain not in clearance.domains]
    return (
        f'app "{app.name}": no certificate was asked for {", ".join(left_out)}: {clearance.problem}; '
        f"the app has one for {', '.join(clearance.domains)}, and clients of the rest are warned"
    )


def _leftovers(host: Host, app: App) -> list[str]:
    """Return what lies on the host for an app that is not served over TLS (any more)."""
    paths = [host.link(app.name), os.path.join(host.store, app.name)]
    if not app.present:
        paths += [host.renewal(app.name), host.live(app.name)]
    return [path for path in paths if os.path.lexists(path)]


def _remove_all(host: Host, apps: t.Sequence[App], check: bool, outcome: Outcome) -> None:
    """Remove the certificates of apps that are gone, once nginx does not name them any more."""
    gone = [(app, paths) for app in apps if not app.served and (paths := _leftovers(host, app))]
    if not gone:
        return
    dump = "" if check or not shutil.which(host.nginx[0]) else host.run([*host.nginx, "-T"], {}).output
    for app, paths in gone:
        if host.link(app.name) + "/" in dump:
            outcome.errors.append(
                f'app "{app.name}": its certificate is not removed: the configuration of nginx still names '
                f"{host.link(app.name)}/; let the role nginx_proxy remove the site first"
            )
            continue
        if not check:
            problem = _remove_one(host, app)
            if problem:
                outcome.errors.append(problem)
                continue
        outcome.change(f"{app.name}: certificate removed", f"{app.name}: {', '.join(paths)}")


def _remove_one(host: Host, app: App) -> str:
    """Remove link, pairs and, for an absent app, certbot's lineage; return what went wrong, or nothing."""
    if os.path.lexists(host.link(app.name)):
        os.unlink(host.link(app.name))
    shutil.rmtree(os.path.join(host.store, app.name), ignore_errors=True)
    if app.present or not any(os.path.lexists(path) for path in (host.renewal(app.name), host.live(app.name))):
        return ""
    if os.path.lexists(host.renewal(app.name)) and shutil.which(host.certbot[0]):
        completed = run_certbot(host, [*host.certbot, "delete", "--non-interactive", "--cert-name", app.name])
        if completed.rc != 0:
            return f'app "{app.name}": certbot could not delete its certificate: {cause(completed.output)}'
    if os.path.lexists(host.renewal(app.name)):
        os.unlink(host.renewal(app.name))
    for path in (host.live(app.name), os.path.join(host.letsencrypt, "archive", app.name)):
        shutil.rmtree(path, ignore_errors=True)
    return ""


def _settle_files(host: Host, files: t.Sequence[ManagedFile], check: bool, outcome: Outcome) -> None:
    """Bring the deploy hook and the systemd drop-in to what is wanted."""
    different = [wanted for wanted in files if not _as_wanted(wanted) and (wanted.content or _ours(wanted.path))]
    for wanted in different:
        before = read_text(wanted.path)
        outcome.change(
            f"{wanted.path} {'written' if wanted.content else 'removed'}",
            f"{wanted.path}:\n{before}" if before else "",
            f"{wanted.path}:\n{wanted.content}" if wanted.content else "",
        )
        if check:
            continue
        if wanted.content:
            replace_file(wanted.path, wanted.content, wanted.mode)
        else:
            if wanted.path.endswith(".timer"):
                host.run([*host.systemctl, "disable", "--now", os.path.basename(wanted.path)], {})
            os.unlink(wanted.path)
    if any("/systemd/" in wanted.path for wanted in different) and not check:
        host.run([*host.systemctl, "daemon-reload"], {})


def _ours(path: str) -> bool:
    """Return whether this role has written a file; a unit of the same name may be somebody's own."""
    return OURS in read_text(path)


def _settle_credentials(host: Host, apps: t.Sequence[App], check: bool, outcome: Outcome) -> None:
    """Bring the files with which certbot changes DNS to what is wanted; nothing of them is shown."""
    for app in apps:
        wanted = ManagedFile(host.credentials(app.name), app.credentials if app.by_dns else "", 0o600)
        if _as_wanted(wanted):
            continue
        outcome.change(f"{app.name}: credentials for DNS {'written' if wanted.content else 'removed'}")
        if check:
            continue
        if wanted.content:
            os.makedirs(os.path.dirname(wanted.path), mode=0o700, exist_ok=True)
            replace_file(wanted.path, wanted.content, wanted.mode)
        else:
            os.unlink(wanted.path)


def _as_wanted(wanted: ManagedFile) -> bool:
    """Return whether a file has the content and mode that are wanted."""
    if not os.path.lexists(wanted.path):
        return not wanted.content
    mode = os.stat(wanted.path).st_mode & 0o777
    return bool(wanted.content) and mode == wanted.mode and read_text(wanted.path) == wanted.content


def _settle_timer(host: Host, timer: str, check: bool, outcome: Outcome) -> None:
    """Have the renewal timer enabled and running."""
    shown = host.run([*host.systemctl, "show", "--property=LoadState,ActiveState,UnitFileState", timer], {})
    state = dict(line.split("=", 1) for line in shown.output.splitlines() if "=" in line)
    if state.get("ActiveState") == "active" and state.get("UnitFileState") == "enabled":
        return
    if state.get("LoadState") != "loaded":
        if not check:
            outcome.errors.append(f"{timer} is not there, so no certificate would be renewed; is certbot installed?")
        return
    outcome.change(
        f"{timer} enabled",
        f"{timer}: {state.get('UnitFileState')}, {state.get('ActiveState')}",
        f"{timer}: enabled, active",
    )
    if not check:
        completed = host.run([*host.systemctl, "enable", "--now", timer], {})
        if completed.rc != 0:
            outcome.errors.append(
                f"{timer} could not be enabled, so no certificate would be renewed: {completed.output.strip()}"
            )


def ensure_issued(
    host: Host,
    apps: t.Sequence[App],
    now: datetime.datetime,
    check: bool = False,
    files: t.Sequence[ManagedFile] = (),
    timer: str = "",
    nginx_reloads: bool = False,
    watch: str = "",
) -> Outcome:
    """Have every certificate issued, served and renewed; remove those of apps that are gone.

    What fails for one app does not keep the others from going on; it is in `errors` of the outcome.

    :param files: deploy hook and drop-ins, brought to their content when an app uses certbot
    :param timer: unit that renews, enabled when an app uses certbot
    :param watch: unit among `files` that looks at certificates of any kind, enabled in any case
    :param nginx_reloads: in check mode, whether nginx would be reloaded before this phase anyway
    """
    outcome = Outcome()
    by_certbot = any(app.present and app.tls == "letsencrypt" for app in apps)
    _settle_files(host, [file for file in files if by_certbot or file.always], check, outcome)
    if timer and by_certbot:
        _settle_timer(host, timer, check, outcome)
    if watch:
        _settle_timer(host, watch, check, outcome)
    _settle_credentials(host, apps, check, outcome)
    former = _issue_all(host, apps, now, check, outcome)
    if not check:
        serve(host, apps, former, outcome)
        if not outcome.errors:
            for name in former:
                prune(host, name, target_of(host.link(name)))
    elif not (nginx_reloads or outcome.issued):
        _predict_serve(host, apps, now, outcome)
    _remove_all(host, apps, check, outcome)
    return outcome


def _predict_serve(host: Host, apps: t.Sequence[App], now: datetime.datetime, outcome: Outcome) -> None:
    """Tell in check mode whether nginx would be reloaded, though no certificate would be issued."""
    ca = ca_on_disk(host, now)
    remade = any(place(host, app, now, ca).reason for app in apps if app.served)
    expected = expected_on_wire(host, apps).fingerprints
    wrong = wait_for(host, expected, host.settle_timeout)
    if any(seen.fingerprint for seen in wrong.values()) or (remade and expected and not wrong):
        outcome.change(RELOADED)
