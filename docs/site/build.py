"""Make the site of the documentation: ``python -m docs.site.build``; it needs no network once .venv-docs is there.

The pages are those of the repository, at the paths they have in it, so a link leads to the same page here and there.
Roles, modules and filters are described by antsibull-docs. Sphinx makes HTML with search of it, and takes every
warning, such as of a link that leads nowhere, for an error.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import yaml
from testbed import errors, python_env

ROOT = Path(__file__).resolve().parents[2]
WORK = ROOT / ".cache" / "docs"
SOURCE, SITE = WORK / "source", WORK / "html"
TOOLS = ROOT / ".venv-docs"
PAGES = ("README.md", "SECURITY.md", "CONTRIBUTING.md", "CODE_OF_CONDUCT.md", "docs/**/*.md", "roles/*/README.md")
PICTURES = "docs/img/*.png"
FIRST = "docs/index"
EXAMPLE = "examples/flask_api/README.md"
LINK = re.compile(r"\[([^\]]+)\]\(([^)#\s]+)(#[^)\s]*)?\)")

# What is in which part of the menu: title, and pages or patterns, which mean those that are named nowhere else.
MENU = {
    "Begin": ["docs/start", "docs/transcript", "docs/adopt"],
    "Frameworks": ["docs/frameworks/*", "examples/flask_api/README"],
    "Tasks": ["docs/tasks/*"],
    "Run it": ["docs/troubleshooting", "docs/upgrade", "docs/*"],
    "Reference": ["README", "roles/*/README", "reference/index", "ansible", "CHANGELOG"],
    "Project": ["docs/comparison", "docs/architecture", "SECURITY", "CONTRIBUTING", "CODE_OF_CONDUCT"],
}


def main() -> int:
    """Make the site and say where it is."""
    try:
        python_env.make(TOOLS, sys.executable, [], ROOT / "requirements-docs.txt")
    except errors.TestbedError as error:
        print(f"docs: {error}", file=sys.stderr)
        return 1
    shutil.rmtree(WORK, ignore_errors=True)
    copy_pages()
    describe_plugins()
    for name in ("conf.py", "ansible.rst"):
        shutil.copy(ROOT / "docs" / "site" / name, SOURCE)
    add_menu()
    run("sphinx-build", "-q", "-W", "--keep-going", "-j", "auto", "-b", "html", str(SOURCE), str(SITE))
    (SITE / "index.html").write_text(f'<!doctype html><meta http-equiv="refresh" content="0; url={FIRST}.html">\n')
    check(SITE)
    print(f"docs: {SITE.relative_to(ROOT)}/index.html")
    return 0


def copy_pages() -> None:
    """Copy the pages to where Sphinx looks, with links to anything else than a page as text."""
    pages = {path for pattern in (*PAGES, EXAMPLE) for path in ROOT.glob(pattern)}
    for path in pages:
        target = SOURCE / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(with_links_to_pages(path, pages), encoding="utf-8")
    for picture in ROOT.glob(PICTURES):
        target = SOURCE / picture.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(picture, target)
    shutil.copy(ROOT / "CHANGELOG.rst", SOURCE)


def with_links_to_pages(page: Path, pages: set[Path]) -> str:
    """A page in which what leads to a file that is no page is only its name."""

    def replaced(found: re.Match[str]) -> str:
        text, target = found[1], found[2]
        if "://" in target or target.startswith("mailto:"):
            return found[0]
        leads_to = (page.parent / target).resolve()
        if leads_to in pages or leads_to.suffix in (".png", ".rst"):
            return found[0]
        return text if text.startswith("`") else f"{text} (`{leads_to.relative_to(ROOT)}`)"

    return LINK.sub(replaced, page.read_text(encoding="utf-8"))


def describe_plugins() -> None:
    """Have antsibull-docs describe the collection, from a copy whose specifications have only what it knows."""
    collection = WORK / "collections" / "ansible_collections" / "webops" / "wsgi"
    for name in ("galaxy.yml", "meta", "plugins", "docs/docsite", "README.md", "LICENSE"):
        source = ROOT / name
        target = collection / name
        target.parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, target)
    specs = {path.parts[-3]: path.read_text(encoding="utf-8") for path in ROOT.glob("roles/*/meta/argument_specs.yml")}
    owners = {
        option: role
        for role, text in specs.items()
        for option in yaml.safe_load(text)["argument_specs"]["main"]["options"]
        if option != "wsgi_apps" or role == "python_app"
    }
    for role, text in specs.items():
        target = collection / "roles" / role / "meta" / "argument_specs.yml"
        target.parent.mkdir(parents=True)
        content = yaml.safe_load(with_full_names(text, owners, role))
        without_examples(content)
        target.write_text(yaml.safe_dump(content), encoding="utf-8")
    for plugin in collection.glob("plugins/[fm]*/*.py"):
        plugin.write_text(with_full_names(plugin.read_text(encoding="utf-8"), owners), encoding="utf-8")
    target = SOURCE / "reference"
    target.mkdir(parents=True)
    here = {"ANSIBLE_COLLECTIONS_PATH": str(WORK / "collections")}
    checks = ["--plugin-docs", "--validate-collection-refs=self"]
    run("antsibull-docs", "lint-collection-docs", *checks, str(collection), **here)
    options = ["--use-current", "--squash-hierarchy", "--fail-on-error", "--dest-dir", str(target)]
    run("antsibull-docs", "collection", *options, "webops.wsgi", **here)


def with_full_names(text: str, owners: dict[str, str], own: str = "") -> str:
    """Descriptions in which options of other roles, and roles, are named as antsibull-docs wants it."""

    def option(found: re.Match[str]) -> str:
        role = owners.get(re.split(r"[\[.=]", found[1])[0], own)
        return found[0] if role == own else f"O(webops.wsgi.{role}#role:main:{found[1]})"

    text = re.sub(r"\bO\(([a-z][^)]*)\)", option, text)
    return re.sub(rf"\bM\((webops\.wsgi\.(?:{'|'.join(set(owners.values()))}))\)", r"P(\1#role)", text)


def without_examples(content: object) -> None:
    """Move each example of an option, which is a key of this project's own, into its description."""
    if isinstance(content, list):
        for item in content:
            without_examples(item)
    if isinstance(content, dict):
        if "example" in content and "type" in content:
            example = yaml.safe_dump(content.pop("example"), default_flow_style=True, width=1000).replace("...", "")
            content["description"] = [*content.get("description", []), f"Example - {example.strip()}"]
        for value in content.values():
            without_examples(value)


def add_menu() -> None:
    """Give the first page the menu of all others."""
    parts = []
    for title, patterns in MENU.items():
        names = [f"/{name}" for pattern in patterns for name in named(pattern)]
        parts.append(
            "\n".join(["```{toctree}", ":hidden:", ":maxdepth: 1", f":caption: {title}", "", *names, "```", ""])
        )
    with (SOURCE / f"{FIRST}.md").open("a", encoding="utf-8") as stream:
        stream.write("\n".join(["", *parts]))


def named(pattern: str) -> list[str]:
    """The pages that an entry of the menu means."""
    found = sorted(str(path.relative_to(SOURCE).with_suffix("")) for path in SOURCE.glob(f"{pattern}.*"))
    if not found:
        raise SystemExit(f"docs: no page is named {pattern}")
    elsewhere = {FIRST, *(entry for entries in MENU.values() for entry in entries)}
    return [page for page in found if page == pattern or page not in elsewhere]


def check(site: Path) -> None:
    """Fail unless the site has a search and asks nobody for anything."""
    if not (site / "searchindex.js").stat().st_size:
        raise SystemExit("docs: there is no search")
    outside = re.compile(r'<(?:script|img|iframe|link rel="stylesheet")[^>]* (?:src|href)="(?:https?:)?//[^"]*"')
    for page in site.rglob("*.html"):
        for found in outside.findall(page.read_text(encoding="utf-8")):
            raise SystemExit(f"docs: {page.relative_to(site)} needs something from elsewhere: {found}")


def run(program: str, *arguments: str, **environment: str) -> None:
    """Run one of the tools; exit where it fails."""
    path = f"{TOOLS / 'bin'}{os.pathsep}{os.environ['PATH']}"
    command = [str(TOOLS / "bin" / program), *arguments]
    done = subprocess.run(command, env={**os.environ, "PATH": path, **environment}, check=False)
    if done.returncode != 0:
        raise SystemExit(f"docs: {program} failed ({done.returncode})")


if __name__ == "__main__":
    sys.exit(main())
