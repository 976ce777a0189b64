"""Check that every role's ``defaults/main.yml`` and ``meta/argument_specs.yml`` tell the same story.

Both name the same variables (a required one has no default); a default that the spec repeats is the same there; every
default passes its own spec; every variable carries the role's prefix, a type and a description.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from roles import ROLES, Role, load_roles


def main() -> int:
    roles = load_roles()
    problems = [f"roles/{role.name}: {problem}" for role in roles for problem in problems_of(role)]
    known = {name for role in roles for name in role.options}
    for role in ROLES.values():
        named = {
            *role.host_wide,
            *role.per_location,
            *role.limits,
            *role.words,
            *(name for name, _value in role.removed),
        }
        problems += [
            f"roles/{role.name}/meta/settings.yml names {name}, which it has not"
            for name in named - role.options.keys()
        ]
    for problem in problems:
        print(problem, file=sys.stderr)
    if not problems:
        print(f"{len(roles)} roles, {len(known)} variables: defaults and argument_specs agree")
    return 1 if problems else 0


def problems_of(role: Role) -> Iterator[str]:
    """What is wrong with one role's variables, one line each."""
    # wsgi_* are variables of the playbooks.
    expected = {
        name for name, option in role.options.items() if not option.get("required") and not name.startswith("wsgi_")
    }
    for name in sorted(expected - role.defaults.keys()):
        yield f"{name} is in meta/argument_specs.yml, but has no default in defaults/main.yml"
    for name in sorted(role.defaults.keys() - role.options.keys()):
        yield f"{name} has a default in defaults/main.yml, but is not described in meta/argument_specs.yml"

    for name, option in role.options.items():
        if not option.get("required") and not name.startswith((f"{role.name}_", "wsgi_")):
            yield f"{name} does not start with {role.name}_"
        for key in ("type", "description"):
            if not option.get(key):
                yield f"{name} has no {key} in meta/argument_specs.yml"
        if "default" in option and name in role.defaults and option["default"] != role.defaults[name]:
            yield f"{name} is {role.defaults[name]!r} in defaults/main.yml and {option['default']!r} in the spec"

    plain = {name: value for name, value in role.defaults.items() if name in expected and "{{" not in str(value)}
    for message in ArgumentSpecValidator({name: role.options[name] for name in plain}).validate(plain).error_messages:
        yield f"a default in defaults/main.yml does not pass meta/argument_specs.yml: {message}"


if __name__ == "__main__":
    sys.exit(main())
