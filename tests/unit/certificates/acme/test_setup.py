# SPDX-License-Identifier: GPL-3.0-or-later
"""The files, timers and credentials around certbot."""

from __future__ import annotations

import os
import pathlib
from dataclasses import replace

import pytest
from ansible_collections.webops.wsgi.plugins.module_utils.certificates import store as store
from ansible_collections.webops.wsgi.plugins.module_utils.certificates.acme import setup
from ansible_collections.webops.wsgi.plugins.module_utils.certificates.model import Acme
from certificate_stand_ins import DIRECTORY, OWN, Programs, app, issued, start


class TestSetup:
    def test_files_and_timer(self, host: store.Host, programs: Programs, tmp_path: pathlib.Path) -> None:
        start(host, programs, app())
        hook, dropin = tmp_path / "hooks" / "hook", tmp_path / "systemd" / "wsgi.conf"
        files = [
            setup.ManagedFile(str(hook), "#!/bin/sh\n", 0o755),
            setup.ManagedFile(str(dropin), OWN),
        ]
        programs.timer = "LoadState=loaded\nActiveState=inactive\nUnitFileState=disabled\n"
        issued(host, app(), files=files, timer="certbot.timer")
        assert hook.stat().st_mode & 0o777 == 0o755
        assert dropin.read_text() == OWN
        assert programs.asked("daemon-reload")
        assert programs.asked("enable") == [["systemctl", "enable", "--now", "certbot.timer"]]
        outcome = issued(host, app(), files=[files[0], setup.ManagedFile(str(dropin), "")])
        assert outcome.actions == [f"{dropin} removed"]
        assert not dropin.exists()
        dropin.write_text("# somebody's own\n")
        assert not issued(host, app(), files=[files[0], setup.ManagedFile(str(dropin), "")]).changed

    @pytest.mark.parametrize("spoil", ["mode", "owner", "link", "content"])
    def test_a_hook_is_root_s_own_file(
        self, host: store.Host, programs: Programs, tmp_path: pathlib.Path, spoil: str
    ) -> None:
        start(host, programs, app())
        hook = tmp_path / "hooks" / "hook"
        files = [setup.ManagedFile(str(hook), "#!/bin/sh\n", 0o755)]
        issued(host, app(), files=files)
        assert not issued(host, app(), files=files).changed
        if spoil == "mode":
            hook.chmod(0o777)
        elif spoil == "owner":
            os.chown(hook, 12345, 12345)
        elif spoil == "link":
            hook.unlink()
            hook.symlink_to("/nowhere")
        else:
            hook.write_text("")
        assert issued(host, app(), files=files).actions == [f"{hook} written"]
        found = hook.lstat()
        assert (found.st_uid, found.st_gid, found.st_mode & 0o7777) == (os.geteuid(), os.getegid(), 0o755)
        assert hook.read_text() == "#!/bin/sh\n"

    def test_without_letsencrypt_certbot_is_left_alone(self, host: store.Host, programs: Programs) -> None:
        own = app(tls="selfsigned")
        start(host, programs, own)
        outcome = issued(host, own, files=[setup.ManagedFile("/nonexistent", "x")], timer="certbot.timer")
        assert not outcome.changed
        assert not programs.calls

    def test_watch_is_for_certificates_of_every_kind(
        self, host: store.Host, programs: Programs, tmp_path: pathlib.Path
    ) -> None:
        own = app(tls="selfsigned")
        start(host, programs, own)
        timer = tmp_path / "systemd" / "watch.timer"
        programs.timer = "LoadState=loaded\nActiveState=inactive\nUnitFileState=disabled\n"
        files = [
            setup.ManagedFile(str(timer), OWN, always=True),
            setup.ManagedFile("/nonexistent", "x"),
        ]
        assert len(issued(host, own, files=files, watch="watch.timer").actions) == 2
        assert programs.asked("enable") == [["systemctl", "enable", "--now", "watch.timer"]]
        assert issued(host, own, files=[replace(files[0], content="")]).actions == [f"{timer} removed"]
        assert programs.asked("disable") == [["systemctl", "disable", "--now", "watch.timer"]]

    @pytest.mark.parametrize(
        ("state", "found"), [("not-found", "not there: is certbot"), ("masked", "masked: run systemc")]
    )
    def test_missing_timer_is_an_error(self, host: store.Host, programs: Programs, state: str, found: str) -> None:
        start(host, programs, app())
        programs.timer = f"LoadState={state}\nActiveState=inactive\nUnitFileState=\n"
        assert f"certbot.timer is {found}" in issued(host, app(), timer="certbot.timer").errors[0]

    def test_credentials_for_dns(self, host: store.Host, programs: Programs) -> None:
        named = app(acme=Acme(DIRECTORY, dns_plugin="dns-rfc2136"), credentials="secret = hunter2\n")
        start(host, programs, named)
        programs.authenticator = "dns-rfc2136"
        predicted = issued(host, named, check=True)
        done = issued(host, named)
        assert predicted == done
        assert done.actions[0] == "api: credentials for DNS written"
        assert "hunter2" not in repr(done) + repr(named)
        path = pathlib.Path(host.credentials("api"))
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o777 == 0o700
        assert not issued(host, named).changed
        path.chmod(0o644)
        assert issued(host, named).actions == ["api: credentials for DNS written"]
        programs.authenticator = "webroot"
        assert issued(host, app()).actions[0] == "api: credentials for DNS removed"
        assert not path.exists()
