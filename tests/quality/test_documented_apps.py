"""What the documentation shows must pass the checks that a user's inventory has to pass."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.webops.wsgi.plugins.plugin_utils.checks import run
from ansible_collections.webops.wsgi.plugins.plugin_utils.inventory.settings import load_schema
from roles import ROOT

PAGES = [
    ROOT / "README.md",
    *sorted(ROOT.glob("docs/**/*.md")),
    *sorted(ROOT.glob("roles/*/README.md")),
    ROOT / "examples" / "flask_api" / "README.md",
]
# The first line of a block names its file. These are read by other programs than Ansible.
OF_OTHERS = ("# .gitlab-ci.yml", "# .github/workflows/", "# prometheus.yml", "# requirements.yml")
# What a block leaves out with "# ...": it shows the override, not the app.
SHORTENED = {
    "source": {"path": str(ROOT / "examples" / "flask_api")},
    "entrypoint": "app:create_app()",
    "domains": ["app.example.com"],
}


def blocks(page: Path) -> Iterator[dict[str, Any]]:
    """The variables of every YAML block that has any."""
    for text in re.findall(r"^```yaml\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE):
        content = yaml.safe_load(text)
        if text.startswith(OF_OTHERS):
            continue
        variables = content.get("wsgi", {}).get("vars", content)
        for app in variables.get("wsgi_apps", []):
            if "# ..." in text:
                left_out = {**SHORTENED, "domains": []} if "below" in app else SHORTENED
                app.update({key: value for key, value in left_out.items() if key not in app and value})
        yield variables


def documented() -> Iterator[Any]:
    for page in PAGES:
        for number, variables in enumerate(blocks(page), start=1):
            yield pytest.param(variables, id=f"{page.relative_to(ROOT)}-{number}")


@pytest.mark.parametrize("variables", list(documented()))
def test_documented_apps_pass_the_checks(variables: dict[str, Any]) -> None:
    apps = variables.pop("wsgi_apps", [{"name": "app", **SHORTENED}])
    # Relative paths count from an inventory that lies beside the example, or in inventory/<name>.
    bases = [str(ROOT / "examples" / "inventory"), str(ROOT / "inventory" / "demo")]
    found = run.examine(load_schema(str(ROOT)), [*variables, "wsgi_apps"], variables, apps, bases, {})
    assert not found.problems, run.report(found.problems)


def test_the_first_inventory_is_fifteen_lines() -> None:
    first = re.search(r"^```yaml\n(.*?)^```", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    assert first
    assert len(first[1].splitlines()) <= 15
