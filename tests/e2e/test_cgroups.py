"""Limits, freezing and what is counted, on cgroup v2: as root and in a user's session."""

import glob
import os
import re
import subprocess
import time

import pytest

from support.waiting import wait_for

pytestmark = [pytest.mark.nested, pytest.mark.timeout(300)]

UNIFIED = os.path.exists("/sys/fs/cgroup/cgroup.controllers")


def doctor(venv, check):
    for finding in venv.json("doctor", check=False):
        if finding["check"] == check:
            return finding
    raise AssertionError(f"doctor says nothing of '{check}'")


def given(venv):
    """The controllers that limit here, for whom the test runs as."""
    limits = re.search(r"limits:([a-z ]*)", doctor(venv, "control groups")["message"])
    return [] if "none" in limits[1] else limits[1].split()


@pytest.fixture
def controllers(venv):
    if not UNIFIED:
        pytest.skip("no unified control groups on this host: run in the nested host")
    found = given(venv)
    if not {"memory", "cpu", "pids"} <= set(found):
        pytest.skip("no controllers for this user here")
    return found


def group_of(project):
    """The directory with the machine's limits, and the scope around it if there is one."""
    (name,) = project.machines()
    found = glob.glob(f"/sys/fs/cgroup/**/venv-{name}*", recursive=True)
    assert len(found) == 1, found
    inner = os.path.join(found[0], "machine")
    return (inner, found[0]) if os.path.isdir(inner) else (found[0], None)


def read(group, name):
    with open(os.path.join(group, name), encoding="ascii") as file:
        return file.read().strip()


def test_limits_are_set_and_changed_live(project, venv, controllers):
    project.write("box: busybox\nmemory: 100M\ncpus: 0.5\npids: 50\ncpu_weight: 50\n")
    up = venv("up")
    assert "cannot be enforced" not in up.stdout + up.stderr
    group, scope = group_of(project)
    assert read(group, "memory.max") == str(100 * 1024 * 1024)
    assert read(group, "cpu.max") == "50000 100000"
    assert read(group, "pids.max") == "50"
    if scope:  # beside other machines it is the scope that counts
        assert read(scope, "cpu.weight") == "50"
    project.write("box: busybox\nmemory: 120M\ncpus: 0.5\npids: 60\ncpu_weight: 70\n")
    venv("up")
    assert read(group, "memory.max") == str(120 * 1024 * 1024)
    assert read(group, "pids.max") == "60"
    if scope:
        assert read(scope, "cpu.weight") == "70"
    venv("halt")
    wait_for(lambda: not os.path.exists(scope or group))  # systemd collects a scope by itself


def test_memory_and_processes_are_limited(project, venv, controllers):
    project.write("box: busybox\nmemory: 64M\npids: 30\n")
    venv("up")
    eater = venv("exec", "--", "tail", "/dev/zero", check=False)
    assert eater.status == 137
    wait_for(lambda: venv.json("stats")[0]["oom_kills"] >= 1)
    assert "out of memory" in venv("logs").stdout
    many = venv("exec", "--", "sh", "-c", "for i in $(seq 60); do sleep 20 & done", check=False)
    assert "fork" in many.stderr
    assert venv.json("stats")[0]["pids"] <= 30
    venv("halt")


def test_freeze_at_the_memory_limit_and_go_on(project, venv, controllers):
    text = "box: busybox\noom: freeze\nmemory: {}\n"
    project.write(text.format("64M"))
    venv("up")
    eater = subprocess.Popen(venv.command("exec", "--", "sh", "-c",
                                          "dd if=/dev/zero of=/dev/shm/x bs=1M count=90 && echo done"),
                             cwd=venv.directory, env=venv.environment(), stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: venv.json("status")[0]["state"] == "frozen", 60)
        assert eater.poll() is None
        assert "memory" in venv("logs").stdout
        assert "memory" in venv.fails("exec", "--", "true").stderr
        project.write(text.format("200M"))
        venv("up")
        assert eater.communicate(timeout=60)[0] == b"done\n"
        assert venv.json("status")[0]["state"] == "running"
        assert venv.json("stats")[0]["oom_kills"] == 0
    finally:
        eater.kill()
        eater.wait()


def test_pause_stops_the_clock_of_programs(project, venv, controllers):
    project.write("box: busybox\n")
    venv("up")
    count = "i=0; while :; do i=$((i+1)); echo $i > /n; done"
    venv("exec", "--", "sh", "-c", f"({count}) > /dev/null 2>&1 < /dev/null &")
    venv("pause")
    before = venv.json("stats")[0]["cpu_us"]
    time.sleep(1)
    assert venv.json("stats")[0]["cpu_us"] - before < 1000
    venv("resume")
    wait_for(lambda: venv.json("stats")[0]["cpu_us"] - before > 100_000)
    venv("pause")
    venv("halt")  # a paused machine halts, too


@pytest.mark.long
def test_cpus_and_weights_count(project, venv, controllers):
    project.write("box: busybox\nmachines: { a: { cpus: 0.2 }, b: { cpus: 0.6 } }\n")
    venv("up")
    for name in "ab":
        venv("exec", name, "--", "sh", "-c", "(while :; do :; done) > /dev/null 2>&1 < /dev/null &")
    before = {stats["name"]: stats["cpu_us"] for stats in venv.json("stats")}
    time.sleep(10)
    used = {stats["name"]: stats["cpu_us"] - before[stats["name"]] for stats in venv.json("stats")}
    assert 1.5e6 < used["a"] < 4e6 and used["b"] > 1.8 * used["a"], used


def test_what_is_not_given_is_said_with_the_fix(project, venv, as_user):
    if not UNIFIED:
        pytest.skip("no unified control groups on this host: run in the nested host")
    missing = {"memory", "cpu", "pids", "cpuset"} - set(given(venv))
    if not missing:
        pytest.skip("all controllers are given here")
    project.write("box: busybox\nmemory: 100M\ncpus: 1\npids: 100\ncpuset: '0'\n")
    up = venv("up")
    text = up.stdout + up.stderr
    keys = {"memory": "memory", "cpu": "cpus", "pids": "pids", "cpuset": "cpuset"}
    for controller in missing:
        assert f"'{keys[controller]}' cannot be enforced" in text
    assert "Delegate=cpu cpuset io memory pids" in text or "enable-linger" in text
    fix = doctor(venv, "control groups")["fix"]
    assert "Delegate=cpu cpuset io memory pids" in fix or "enable-linger" in fix
    assert venv("exec", "--", "echo", "runs").stdout == "runs\n"
    if "memory" not in missing:
        return
    # nothing to freeze with is an error of `pause` alone
    assert "doctor" in venv.fails("pause").stderr
