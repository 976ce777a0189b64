# SPDX-License-Identifier: GPL-3.0-or-later
"""How certbot is called, and when it is called again."""

from __future__ import annotations

import os
import pathlib
from dataclasses import replace

import pytest
from ansible_collections.webops.wsgi.plugins.module_utils.certificates import model
from ansible_collections.webops.wsgi.plugins.module_utils.certificates import store as store
from ansible_collections.webops.wsgi.plugins.module_utils.certificates.acme import command as certbot_command
from ansible_collections.webops.wsgi.plugins.module_utils.certificates.acme import lineage as certbot_lineage
from ansible_collections.webops.wsgi.plugins.module_utils.certificates.model import Acme
from certificate_stand_ins import DIRECTORY, Authority, Programs, app, issued, lineage_of, start


class TestCommand:
    def test_first_command(self, host: store.Host) -> None:
        wanted = app("api", "api.example.test", "www.example.test", acme=Acme(DIRECTORY, email="ops@example.test"))
        command = certbot_command.certonly_command(host, wanted, certbot_lineage.Lineage(None, ""))
        assert command[2:] == [
            *("certonly", "--non-interactive", "--cert-name", "api", "--server", DIRECTORY, "--key-type", "ecdsa"),
            *(
                "--webroot",
                "--webroot-path",
                host.webroot,
                "--email",
                "ops@example.test",
                "--no-eff-email",
                "--agree-tos",
                "--no-directory-hooks",
            ),
            *("--domain", "api.example.test", "--domain", "www.example.test"),
        ]

    def test_address(self, host: store.Host) -> None:
        wanted = app("api", "192.0.2.1", "a.example.test")
        command = certbot_command.certonly_command(host, wanted, certbot_lineage.Lineage(None, ""))
        assert command[-4:] == ["--ip-address", "192.0.2.1", "--domain", "a.example.test"]

    def test_further_command(self, host: store.Host, authority: Authority) -> None:
        command = certbot_command.certonly_command(
            replace(host, agree_tos=False), app(), lineage_of(authority, "api.example.test")
        )
        assert {"--renew-with-new-domains", "--force-renewal", "--register-unsafely-without-email"} <= set(command)
        assert not {"--agree-tos", "--break-my-certs"} & set(command)

    def test_going_back_to_staging_has_to_be_allowed(self, host: store.Host, authority: Authority) -> None:
        staging = app(acme=Acme(model.LETS_ENCRYPT_STAGING))
        lineage = lineage_of(authority, "api.example.test", server=model.LETS_ENCRYPT)
        assert "--break-my-certs" in certbot_command.certonly_command(host, staging, lineage)

    def test_account_is_bound_by_a_file_that_goes_again(
        self, host: store.Host, programs: Programs, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bound = app(acme=Acme(DIRECTORY, eab_kid="kid-1", eab_hmac_key="hunter2", preflight=False))
        start(host, programs, bound)
        read: list[tuple[str, int]] = []
        certbot = programs._issue

        def look(command: list[str]) -> store.Completed:
            path = pathlib.Path(command[command.index("--config") + 1])
            read.append((path.read_text(), path.stat().st_mode & 0o777))
            return certbot(command)

        monkeypatch.setattr(programs, "_issue", look)
        outcome = issued(host, bound)
        assert read == [("eab-kid = kid-1\neab-hmac-key = hunter2\n", 0o600)]
        assert "hunter2" not in str(programs.calls) + repr(outcome) + repr(bound)
        (command,) = programs.asked("certonly")
        assert not os.path.exists(command[command.index("--config") + 1])


class TestRun:
    def test_nonce_that_debian_12_masks_is_tried_again(self, host: store.Host, tmp_path: pathlib.Path) -> None:
        log = tmp_path / "letsencrypt.log"
        log.write_text("acme.messages.Error: urn:ietf:params:acme:error:badNonce :: The client sent :: JWS has one\n")
        answers = [
            store.Completed(1, f"Saving debug log to {log}\nAttributeError: can't set attribute\n"),
            store.Completed(0, ""),
        ]
        assert (
            certbot_command.run_certbot(replace(host, run=lambda *_: answers.pop(0)), ["certbot"], lambda _: None).rc
            == 0
        )

    def test_waits_while_certbot_runs_already(self, host: store.Host) -> None:
        answers = [store.Completed(1, "Another instance of Certbot is already running."), store.Completed(0, "")]
        waited: list[float] = []
        completed = certbot_command.run_certbot(
            replace(host, run=lambda *_: answers.pop(0)), ["certbot"], waited.append
        )
        assert completed.rc == 0
        assert len(waited) == 1
