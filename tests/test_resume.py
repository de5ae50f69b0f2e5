"""Killed at any moment, a run goes on where it was and ends with the bytes of a run that nobody disturbed.

The short form of `tests/soak.py`, which kills more, and more kinds of processes.
"""

import random

import pytest
from effectpairs.tests.fixtures_faults import Trial, kill
from effectpairs.tests.fixtures_processes import child_with, main_process, whole_group

VICTIMS = {"main process": main_process, "whole group": whole_group, "worker": child_with("spawn_main")}


@pytest.mark.slow
@pytest.mark.parametrize("victim", VICTIMS)
def test_killed_at_random_moments_it_ends_with_the_same_bytes(victim, source_file, tmp_path):
    trial, rng = Trial(source=source_file, folder=tmp_path / "trial"), random.Random(victim)
    kills = 0
    for _ in range(30):
        kills += trial.disturb(kill(VICTIMS[victim]), rng)
        if kills == 7:
            break
    assert kills == 7
    trial.check()
