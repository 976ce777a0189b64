"""Runs that are killed: what served goes on serving, and the next run needs no help."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time

from testbed import labs

KILLS = 3  # on each host, spread over all effects of an activation; tests/unit/release kills before each of them
RANDOM_KILLS = 1  # of the controller, on each host
LONGEST = 6.0  # seconds of a deployment within which the controller is killed


def test_killed_at_every_step_of_an_activation(hosts, on_all, traps, deploy, serves, whole):
    def through(host):
        trap = traps[host]
        trap.lay("release.run")
        run = deploy(host.name, *trap.interpreter, env={"CHANGE": "counted"})
        assert run.code == 0, run.output
        effects = trap.seen
        assert effects > 50, f"an activation had {effects} effects; is the trap set?"
        for number in range(KILLS):
            at = 1 + (2 * number + hosts.index(host)) * effects // (2 * KILLS)
            trap.set(at)
            run = deploy(host.name, *trap.interpreter, env={"CHANGE": f"killed at {at}"})
            assert run.code != 0, f"{host.name} was not killed at {at} of {effects}"
            assert trap.sprung, f"failed by itself:\n{run.output[-2000:]}"
            serves(host)
            if number % 2 == 0:
                run = deploy(host.name, env={"CHANGE": f"killed at {at}"})
                assert run.code == 0, f"{host.name}, after a kill at {at} of {effects}:\n{run.output[-3000:]}"
                whole(host)

    on_all(through)


def test_controller_killed_at_any_moment(on_all, start, deploy, serves, whole):
    def through(host):
        chance = random.Random(host.name)
        for number in range(RANDOM_KILLS):
            controller = start(host.name, env={"CHANGE": f"random {number}"})
            time.sleep(chance.uniform(0.5, LONGEST))
            os.killpg(controller.pid, signal.SIGKILL)
            controller.wait()
            serves(host)
            run = deploy(host.name, env={"CHANGE": f"random {number}"})
            if "is being deployed by" in run.output:  # what the killed one had started on the host ends by itself
                host.run("flock --wait 60 /srv/api/.lock true")
                serves(host)
                run = deploy(host.name, env={"CHANGE": f"random {number}"})
            assert run.code == 0, run.output[-3000:]
            whole(host)

    on_all(through)


def test_host_killed_in_the_middle_of_a_deployment(on_all, start, deploy, client, serves, whole):
    def through(host):
        controller = start(host.name, env={"CHANGE": "power"})
        before = host.release("api")
        labs.wait_for(lambda: host.run("ls /srv/api/releases").split()[-1] != before, "the new release")
        time.sleep(1.0)
        subprocess.run(["docker", "kill", host.container], check=True, capture_output=True)
        os.killpg(controller.pid, signal.SIGKILL)
        controller.wait()
        subprocess.run(["docker", "start", host.container], check=True, capture_output=True)
        labs.wait_booted(host.container)
        labs.wait_for(lambda: client.get(host.url("api")).status == 200, "an answer after the start")
        serves(host)
        run = deploy(host.name, env={"CHANGE": "power"})
        assert run.code == 0, run.output[-3000:]
        whole(host)

    on_all(through)
