"""Suspending virtual machines, and snapshots of them: in the nested host, of each kind that kvm_guests.py makes."""

import os
import shutil
import time

import pytest

# pylint: disable=unused-import,redefined-outer-name
from kvm_guests import SLOW, disks, guest, kernel, kernel_box  # noqa: F401

pytestmark = [pytest.mark.nested, pytest.mark.timeout(1200)]

COUNTING = """
setsid sh -c 'exec 3>>/workspace/log; i=0; while :; do i=$((i+1)); echo $i >&3; echo $i >/run/count; sleep 0.2; done' \
    >/dev/null 2>&1 &
echo $! >/run/counter"""


def inside(venv, script):
    return venv("exec", "--", "sh", "-c", script, timeout=SLOW).stdout.strip()


def assert_clock(venv):
    """The machine's clock is right, as far as one can tell over an ssh that takes its time."""
    began = time.time()
    now = int(inside(venv, "date +%s"))
    assert began - 3 <= now <= time.time() + 3, (began, now, time.time())


def test_suspend_keeps_what_it_does(project, venv, guest):
    """A process goes on counting after a suspend, into a file of the shared folder too; the clock is right."""
    project.write(guest())
    venv("up", timeout=SLOW)
    inside(venv, COUNTING)
    boot = inside(venv, "cat /proc/sys/kernel/random/boot_id")
    venv("suspend", timeout=SLOW)
    assert venv.json("status")[0]["state"] == "suspended"
    assert "saved" in venv("status", "--machine-readable").stdout
    assert "venv resume" in venv.fails("exec", "--", "true").stderr
    before = int(project.read("log").split()[-1])
    time.sleep(10)
    assert int(project.read("log").split()[-1]) == before
    venv("resume", timeout=SLOW)
    assert venv.json("status")[0]["state"] == "running"
    assert_clock(venv)
    assert inside(venv, "cat /proc/sys/kernel/random/boot_id") == boot
    time.sleep(2)
    counted = [int(n) for n in project.read("log").split()]
    assert counted[-1] > before and counted == list(range(1, counted[-1] + 1)), counted[-5:]
    # up of a suspended machine is the same; halt lets it shut down
    venv("suspend", timeout=SLOW)
    venv("up", timeout=SLOW)
    assert inside(venv, "cat /proc/sys/kernel/random/boot_id") == boot
    venv("suspend", timeout=SLOW)
    venv("halt", timeout=SLOW)
    assert venv.json("status")[0]["state"] == "stopped"
    venv("destroy", "-f", timeout=SLOW)


def test_snapshots_bring_disk_and_memory_back(project, venv, guest):
    project.write(guest())
    venv("up", timeout=SLOW)
    inside(venv, "echo one >/root/file; sync; echo two >/root/dirty; echo one >/run/memory")
    venv("snapshot", "save", "first", timeout=SLOW)
    assert venv.json("status")[0]["state"] == "running"
    inside(venv, "rm /root/file; echo later >/run/memory; dd if=/dev/urandom of=/root/more bs=1M count=20 2>/dev/null; sync")
    venv("halt", timeout=SLOW)
    venv("snapshot", "save", "stopped", timeout=SLOW)
    names = {snapshot["name"]: snapshot["state"] for snapshot in venv.json("snapshot", "list")}
    assert names == {"first": "running", "stopped": "stopped"}, names
    venv("snapshot", "restore", "first", timeout=SLOW)
    assert venv.json("status")[0]["state"] == "running"
    assert inside(venv, "cat /root/file /root/dirty /run/memory; test ! -e /root/more") == "one\ntwo\none"
    assert_clock(venv)
    venv("snapshot", "restore", "stopped", timeout=SLOW)
    assert venv.json("status")[0]["state"] == "stopped"
    if shutil.which("qemu-img"):
        disk = os.path.join(project.data, "machines", project.machines()[0], "disk.qcow2")
        venv.run(["qemu-img", "check", disk])
    venv("snapshot", "delete", "first", timeout=SLOW)
    venv("destroy", "-f", timeout=SLOW)
    assert project.machines() == []
