# SPDX-License-Identifier: GPL-3.0-or-later
"""Both phases, killed before each of their effects."""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import typing as t

import pytest
from ansible_collections.webops.wsgi.plugins.module_utils.certificates import issue as issue
from ansible_collections.webops.wsgi.plugins.module_utils.certificates import placement
from ansible_collections.webops.wsgi.plugins.module_utils.certificates import store as store
from ansible_collections.webops.wsgi.plugins.module_utils.certificates.acme import order
from ansible_collections.webops.wsgi.plugins.module_utils.certificates.model import App
from certificate_stand_ins import NOW, Authority, Killed, Programs, app


class TestKilled:
    """A run that ends at any of its effects leaves what nginx can load, and the next run finishes the job."""

    def apps(self, authority: Authority, later: bool) -> list[App]:
        domains = ("www.example.test",) if later else ()
        pair = authority.pair("given.example.test")
        return [
            app("api", "api.example.test", *domains),
            app("own", "own.example.test", *(f"own.{domain}" for domain in domains), tls="selfsigned"),
            app("given", tls="provided", chain_pem=pair.chain, key_pem=pair.key),
            app("new", present=later),
            app("newer", present=later),
            app("gone", tls="selfsigned", present=not later),
        ]

    def everything(self, host: store.Host, programs: Programs, apps: t.Sequence[App]) -> store.Outcome:
        """Run both phases, and in between what the role nginx_proxy does."""
        first = placement.ensure_placeholder(host, apps, NOW)
        programs.nginx.sites = {domain: each.name for each in apps if each.served for domain in each.domains}
        programs.nginx.test()
        programs.nginx.reload()
        second = issue.ensure_issued(host, apps, NOW)
        second.actions += first.actions
        return second

    def kill_at(self, monkeypatch: pytest.MonkeyPatch, number: int) -> list[str]:
        """Have the effect of that number kill the run; return the list in which effects are noted."""
        effects: list[str] = []

        def guard(owner: t.Any, name: str) -> None:
            original = getattr(owner, name)

            def effect(*arguments: t.Any, **options: t.Any) -> t.Any:
                effects.append(f"{name} {arguments}")
                if len(effects) >= number:  # the dead do not tidy up
                    raise Killed
                return original(*arguments, **options)

            monkeypatch.setattr(owner, name, effect)

        for owner, names in ((os, ("rename", "symlink", "unlink", "fsync")), (store.shutil, ("rmtree",))):
            for name in names:
                guard(owner, name)
        return effects

    def test_at_every_effect(
        self,
        host: store.Host,
        programs: Programs,
        authority: Authority,
        tmp_path: pathlib.Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(os, "fsync", lambda _descriptor: None)  # the machine itself does not fail here
        before, after = self.apps(authority, later=False), self.apps(authority, later=True)
        assert not self.everything(host, programs, before).errors
        sites, number = programs.nginx.sites, 0
        kept = {path: tmp_path / "kept" / path.name for path in tmp_path.iterdir() if path.is_dir()}
        for path, copy in kept.items():
            shutil.copytree(path, copy, symlinks=True)
        while True:
            number += 1
            for path, copy in kept.items():
                shutil.rmtree(path)
                shutil.copytree(copy, path, symlinks=True)
            programs.nginx.sites = sites
            programs.nginx.reload()
            with pytest.MonkeyPatch.context() as patch:
                effects = self.kill_at(patch, number)
                with contextlib.suppress(Killed):
                    self.everything(host, programs, after)
            programs.nginx.test()
            if len(effects) < number:
                break
            finished = self.everything(host, programs, after)
            assert not finished.errors, effects[-1]
            assert not self.everything(host, programs, after).changed, effects[-1]
            self.assert_tidy(host)
        assert number > 20

    def assert_tidy(self, host: store.Host) -> None:
        assert sorted(os.listdir(host.links)) == ["api", "given", "new", "newer", "own"]
        lineages = ["api", "new", "newer"]
        assert sorted(os.listdir(os.path.dirname(host.renewal("api")))) == [f"{name}.conf" for name in lineages]
        assert sorted(os.listdir(os.path.dirname(host.live("api")))) == lineages
        for left in pathlib.Path(host.letsencrypt).glob(order.ASIDE + "*"):
            os.utime(left, (0, 0))
        order.sweep(host)
        assert not list(pathlib.Path(host.letsencrypt).glob(".*"))
        assert sorted(os.listdir(host.store)) == ["_ca", "ca.pem", "given", "own"]
        for name in ("given", "own"):
            assert len(os.listdir(os.path.join(host.store, name))) == 1
