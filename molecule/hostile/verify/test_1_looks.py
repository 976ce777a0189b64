"""What an app that was taken over reaches from inside its sandbox: nothing of others, of root's or of the host's."""

from __future__ import annotations

import pytest


def test_there_are_many(attacks):
    assert sum(map(len, attacks.values())) >= 60


@pytest.fixture(scope="session")
def outcomes(on_all, mallories, attacks):
    """What came of each attack."""

    def tried(host):
        shell = mallories[host.name]
        done = shell.all({row["attack"]: row["run"] for row in attacks["looks"]})
        return done | {row["attack"]: shell.run(row["run"]) for row in attacks["runtime"]}

    return on_all(tried)


def test_nothing_of_others_is_reached(host, attacks, outcomes, held):
    held(attacks["looks"] + attacks["runtime"], outcomes[host.name], host)


def test_each_attack_works_for_somebody(on_all, owners, mallories, attacks, reached):
    """Or a command that never ends with 0 would prove nothing."""

    def tried(host):
        known = mallories[host.name].knows
        wrong = []
        for row in attacks["looks"]:
            user = row.get("works", "root")
            done = owners(host, user, row["run"], known) if user != "nobody" else None
            if done and not reached(row, {"code": done.returncode, "output": done.stdout + done.stderr}, host):
                wrong.append(f"{host.name}: {row['attack']}: not even {user} gets there: {done.stderr[-200:]}")
        host.run("systemctl start bystander.service")
        return wrong

    wrong = [line for lines in on_all(tried).values() for line in lines]
    assert not wrong, "\n".join(wrong)


def test_victim_is_unharmed(victim):
    victim.unharmed()
    victim.bystanders()
