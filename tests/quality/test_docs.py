"""The pages are true where a machine can tell: links lead somewhere, playbooks, their variables and settings exist."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from ansible_collections.webops.wsgi.plugins.module_utils.failures.remedies import remedy
from roles import ROOT

PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("roles/*/README.md"),
        *ROOT.glob("examples/*/README.md"),
    ]
)
PLAYBOOKS = {path.stem: path.read_text(encoding="utf-8") for path in ROOT.glob("playbooks/*.yml")}
ROLES = {path.parent.parent.name for path in ROOT.glob("roles/*/meta/argument_specs.yml")}
MODULES = {path.stem for folder in ("modules", "filter") for path in ROOT.glob(f"plugins/{folder}/*.py")}
SPECS = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in ROOT.glob("roles/*/meta/argument_specs.yml")]
VARIABLES = {name for spec in SPECS for entry in spec["argument_specs"].values() for name in entry["options"]}
PREFIXES = "|".join(sorted(ROLES - {"server"} | {"wsgi"}))  # variables of the role server begin with wsgi
OTHERS = {"wsgi_fleet"}  # a table of nftables


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def anchors(page: Path) -> set[str]:
    """What headings of a page are called in links."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```", "", text_of(page), flags=re.DOTALL | re.M), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(page: Path) -> Iterator[tuple[str, str]]:
    """Targets of relative links of a page, and the headings they name."""
    for target, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)", re.sub(r"`[^`]*`", "", text_of(page))):
        if not re.match(r"[a-z]+:", target):
            yield target, anchor


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target, anchor in links(page):
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), f"{target} does not exist"
        if anchor and path.suffix == ".md":
            assert anchor in anchors(path), f"{target} has no heading {anchor}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_is_named_exists(page: Path) -> None:
    named = set(re.findall(r"webops\.wsgi\.([a-z_]++)(?!-)", text_of(page)))
    assert not named - set(PLAYBOOKS) - ROLES - MODULES


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_give_variables_that_their_playbook_has(page: Path) -> None:
    for name, rest in re.findall(r"webops\.wsgi\.([a-z]+)((?: +(?:-e +\S+|-[-\w]+(?:[ =][\w.*]+)?))*)", text_of(page)):
        for variable in re.findall(r"-e +([a-z_]+)=", rest):
            known = re.search(rf"^ +{variable}:", PLAYBOOKS[name], re.M) or variable in VARIABLES
            assert known or variable in ("app", "wsgi_all_or_nothing"), f"{name}.yml has no variable {variable}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_variables_exist(page: Path) -> None:
    """Whatever looks like a variable of a role is one."""
    named = set(re.findall(rf"`((?:{PREFIXES})_[a-z0-9_]+)(?:`|:)", text_of(page)))
    assert not named - VARIABLES - ROLES - MODULES - OTHERS


def test_the_site_has_a_page_for_each_task() -> None:
    first = text_of(ROOT / "docs" / "index.md")
    for page in ROOT.glob("docs/[ft]*/*.md"):
        assert f"({page.relative_to(ROOT / 'docs')})" in first, f"{page.name} is missing in docs/index.md"


def test_messages_that_are_explained_are_those_that_people_meet() -> None:
    """They are in the sources, or there is a remedy for them."""
    table = text_of(ROOT / "docs" / "troubleshooting.md").split("## ")[1]
    sources = "".join(path.read_text(encoding="utf-8") for path in ROOT.glob("plugins/**/*.py"))
    messages = [
        message for line in re.findall(r"^\| (`.*?) \|", table, re.M) for message in re.findall(r"`([^`]+)`", line)
    ]
    assert len(messages) > 12
    unknown = [message for message in messages if message not in sources and not remedy(message)]
    assert not unknown
