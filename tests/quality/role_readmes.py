"""Write the variable tables of the role READMEs from ``meta/argument_specs.yml``, or check that they are current.

A README holds the tables between ``<!-- variables:begin -->`` and ``<!-- variables:end -->``; the rest of it is written
by hand.
"""

from __future__ import annotations

import argparse
import difflib
import json
import re
import sys
from collections.abc import Iterator
from typing import Any

import yaml
from roles import ROOT, Role, load_roles

BEGIN = "<!-- variables:begin -->"
END = "<!-- variables:end -->"
LONGEST_DEFAULT = 60  # characters; a longer one is better read in its file

MARKUP = re.compile(r"\b(?:[CIVBMOPE]|RV)\(((?:\\.|[^\\)])*)\)")
# What is left of markup whose end is missing, or that took another's end for its own.
UNMATCHED = re.compile(r"\b(?:[CIVBMOPEL]|RV)\(")
LINK = re.compile(r"\bL\(((?:\\.|[^\\,])*), *((?:\\.|[^\\)])*)\)")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    mode = parser.add_mutually_exclusive_group(required=True)
    mode.add_argument("--check", action="store_true", help="fail and show the difference where a README is not current")
    mode.add_argument("--write", action="store_true", help="bring every README up to date")
    write = parser.parse_args().write

    broken = [name for role in load_roles() for name in unmatched(role)]
    if broken:
        print(f"role_readmes: markup without its closing parenthesis: {', '.join(broken)}", file=sys.stderr)
        return 1
    stale = [role for role in load_roles() if not is_current(role, write)]
    if stale:
        print("role_readmes: run `python tests/quality/role_readmes.py --write`", file=sys.stderr)
        return 1
    return 0


def is_current(role: Role, write: bool) -> bool:
    """Compare one README with its role; with ``write``, make it so."""
    readme = role.path / "README.md"
    name = readme.relative_to(ROOT)
    before = readme.read_text() if readme.is_file() else ""
    if before.count(BEGIN) != 1 or before.count(END) != 1:
        print(f"{name}: there must be one {BEGIN} and one {END}, with nothing by hand between them", file=sys.stderr)
        return False
    after = with_tables(before, role)
    if after == before:
        return True
    if write:
        readme.write_text(after)
        print(f"{name}: written")
        return True
    print(
        *difflib.unified_diff(before.splitlines(), after.splitlines(), str(name), "as generated", lineterm="", n=0),
        sep="\n",
    )
    return False


def unmatched(role: Role) -> Iterator[str]:
    """Variables and keys whose description has markup that does not end."""
    for name, option in role.options.items():
        yield from _unmatched(name, option)


def _unmatched(name: str, option: dict[str, Any]) -> Iterator[str]:
    if UNMATCHED.search(meaning(option)):
        yield name
    for key, inner in (option.get("options") or {}).items():
        yield from _unmatched(f"{name}.{key}", inner)


def with_tables(readme: str, role: Role) -> str:
    """The README with fresh tables between the marks."""
    head, _, rest = readme.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return "\n".join([f"{head}{BEGIN}", *tables(role), f"{END}{tail}"])


def tables(role: Role) -> Iterator[str]:
    """The role's own variables, then the keys of every variable that is a structure."""
    yield "| variable | type | default | for one app | meaning |"
    yield "|---|---|---|---|---|"
    own = {name: option for name, option in role.options.items() if not option.get("required")}
    for name, option in own.items():
        default = value_text(role.defaults.get(name, option.get("default")), "[defaults](defaults/main.yml)")
        yield row(code(name), type_text(option), default, override_text(role, name), meaning(option))
    for name, option in role.options.items():
        if option.get("options"):
            yield ""
            yield f"Keys of `{name}`:"
            yield ""
            yield "| key | type | default | meaning |"
            yield "|---|---|---|---|"
            yield from key_rows(option["options"])


def override_text(role: Role, name: str) -> str:
    """How one app has its own value, and whether a part of it can."""
    override = role.override(name)
    return f"{code(override)}{', location' if role.per_location(name) else ''}" if override else ""


def key_rows(options: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """One row for every key of a structure, those of structures inside it after their own."""
    for name, option in options.items():
        default = "**required**" if option.get("required") else value_text(option.get("default"), "")
        yield row(code(prefix + name), type_text(option), default, meaning(option))
        yield from key_rows(option.get("options") or {}, f"{prefix}{name}.")


def row(*cells: str) -> str:
    """One line of a table."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def type_text(option: dict[str, Any]) -> str:
    """``list of str``; for a choice, what there is to choose from."""
    if option.get("choices"):
        return " or ".join(value_text(choice, str(choice)) for choice in option["choices"])
    elements = option.get("elements")
    return f"{option['type']} of {elements}" if elements else str(option["type"])


def value_text(value: Any, otherwise: str) -> str:
    """A value as one would write it in YAML on one line; ``otherwise`` for none and for a long one."""
    try:
        plain = isinstance(value, str) and yaml.safe_load(value) == value
    except yaml.YAMLError:
        plain = False
    text = value if plain else json.dumps(value, ensure_ascii=False)
    return otherwise if value is None or len(text) > LONGEST_DEFAULT else code(text)


def meaning(option: dict[str, Any]) -> str:
    """The description without Ansible's markup, and its example."""
    description = option.get("description") or []
    text = " ".join([description] if isinstance(description, str) else description)
    text = LINK.sub(lambda found: f"[{unescape(found[1])}]({unescape(found[2])})", text)
    text = MARKUP.sub(lambda found: code(unescape(found[1])), text)
    if "example" in option:
        text += f" Example: {value_text(option['example'], '`…`')}."
    return " ".join(text.split())


def unescape(text: str) -> str:
    """Ansible's markup escapes parentheses and commas with a backslash."""
    return re.sub(r"\\(.)", r"\1", text)


def code(text: str) -> str:
    """Text in a fixed-width font."""
    return f"`{text}`"


if __name__ == "__main__":
    sys.exit(main())
