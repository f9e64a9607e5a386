"""`init: systemd`: Debian's own systemd as process 1, with its own part of cgroup v2."""

import glob
import os
import time

import pytest

pytestmark = [pytest.mark.nested, pytest.mark.timeout(600)]

WAIT = "for i in $(seq 300); do [ -S /run/systemd/private ] && break; sleep 0.2; done; " \
       "systemctl is-system-running --wait"


@pytest.fixture
def archive():
    """Debian with systemd, a tar archive that VENV_TEST_DEBIAN names."""
    if not os.path.exists("/sys/fs/cgroup/cgroup.controllers"):
        pytest.skip("no unified control groups on this host: run in the nested host")
    if not os.environ.get("VENV_TEST_DEBIAN"):
        pytest.skip("VENV_TEST_DEBIAN names no archive that boxes/debian-12/build made")
    return os.environ["VENV_TEST_DEBIAN"]


def keepers(project):
    """The machine's group, and who keeps it there."""
    found = []
    for name in project.machines():
        for group in glob.glob(f"/sys/fs/cgroup/**/venv-{name}*/keeper", recursive=True):
            with open(os.path.join(group, "cgroup.procs"), encoding="ascii") as file:
                found.append((group, file.read()))
    return found


@pytest.fixture
def running(project, venv, archive):
    groups = next(item for item in venv.json("doctor", check=False) if item["check"] == "control groups")
    if "none" in groups["message"]:
        pytest.skip("no control group for this user here")
    project.write("box: debian/12\ninit: systemd\nmemory: 600M\n")
    venv("box", "add", "--name", "debian/12", archive, timeout=300)
    venv("up", timeout=120)
    return wait_until_up(venv)


def wait_until_up(venv):
    """The state that systemd reaches: running, or degraded with the units that failed."""
    result = venv("exec", "--", "sh", "-c", WAIT, check=False, timeout=240)
    failed = venv("exec", "--", "systemctl", "--failed", "--no-legend", "--plain", check=False).stdout
    return result.stdout.strip(), failed


def test_boots_works_reboots_and_halts(project, venv, running):
    assert running == ("running", "")
    assert venv("exec", "--", "cat", "/proc/1/comm").stdout == "systemd\n"
    assert venv("exec", "--", "systemctl", "is-active", "multi-user.target").stdout == "active\n"
    assert venv("exec", "--", "journalctl", "-b", "-q", "-n", "3").stdout.count("\n") == 3
    assert "Welcome to" in venv("logs").stdout

    # a service of the machine's own, in a group of its own, below which nobody sees the host's
    venv("exec", "--", "systemd-run", "--wait", "-q", "sh", "-c", "cat /proc/self/cgroup > /root/group")
    assert venv("ssh", "-c", "cat /root/group").stdout.startswith("0::/system.slice/run-")

    # it reboots itself, and is the same machine in the same scope
    (keeper,) = keepers(project)
    venv("ssh", "-c", "echo gone > /run/mark; systemctl reboot", check=False)
    deadline = time.monotonic() + 120
    while venv("exec", "--", "test", "!", "-e", "/run/mark", check=False, timeout=30).status:
        assert time.monotonic() < deadline, "it did not come back"
        time.sleep(0.5)
    assert wait_until_up(venv) == ("running", "")
    assert keepers(project) == [keeper]

    # systemd itself ends it, before anybody has to kill
    venv("halt")
    log = venv("logs").stdout
    assert "Halting system" in log or "Powering off" in log, log[-2000:]
    assert "is killed" not in log
    assert venv.json("status")[0]["state"] == "stopped"
