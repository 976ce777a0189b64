# SPDX-License-Identifier: GPL-3.0-or-later
"""Releases of earlier versions of the collection."""

from __future__ import annotations

from ansible_collections.webops.wsgi.plugins.module_utils.host.files import write_file
from ansible_collections.webops.wsgi.plugins.module_utils.release import layout, upgrade
from fake_systemd import APP, FakeSystemd, configure, full, run, serving, unit

OLD = "[Service]\nStateDirectory=api api/data api/instance\nReadWritePaths=/run/api\n"


def test_what_an_earlier_version_wrote_starts_under_the_units_of_this_one() -> None:
    text = upgrade.settings("api", OLD)
    assert "StateDirectory=api\n" in text
    assert "Environment=WSGI_SOCKET=/run/api/%i/sock\n" in text
    assert "Requires=api.instance@%i.service\n" in text
    assert upgrade.settings("api", text) == text, "it is done once"
    assert upgrade.unit(OLD) == "[Service]\nStateDirectory=api\nReadWritePaths=/run/api\n"


def test_the_release_before_can_start_again_while_a_new_one_is_tried(paths: layout.Paths, systemd: FakeSystemd) -> None:
    run(paths, systemd, full(settings=OLD, units=(unit("celery", "worker", OLD),)))
    for path in (paths.settings(APP, "1"), paths.units / f"{APP}.celery@1.service"):
        write_file(path, OLD)  # as the earlier version did
    configure(paths, "500")
    _step, failures = run(paths, systemd, full(config="bad", settings="new WSGI_SOCKET="))
    assert "release 1 still serves" in failures[0]
    assert serving(paths) == "1"
    assert (layout.read_text(paths.settings(APP, "1")) or "").startswith(upgrade.settings(APP, OLD))
    assert layout.read_text(paths.units / f"{APP}.celery@1.service") == upgrade.unit(OLD)
