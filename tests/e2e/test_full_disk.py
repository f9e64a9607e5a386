"""A disk that fills up in the middle: nothing half done stays, and it goes on when there is room."""

import os
import subprocess

import pytest

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small file system")


@pytest.fixture
def disk(venv):
    """disk(size) gives the data directory so much room; again: changes it."""
    directory = os.path.join(venv.sandbox, "data")
    mounted = False

    def resize(size):
        nonlocal mounted
        options = f"size={size},mode=0755,uid={venv.account.uid},gid={venv.account.gid}"
        if mounted:
            options = f"remount,size={size}"
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "venv-e2e", directory], check=True)
        mounted = True

    yield resize
    if mounted:
        # machines on it, should the test have failed, keep it busy
        subprocess.run(["umount", "-l", directory], check=False)


def fill(venv, leave):
    """Take all room but `leave` bytes; gives what frees it."""
    path = os.path.join(venv.sandbox, "data", "filler")
    status = os.statvfs(os.path.dirname(path))
    size = max(0, status.f_bavail * status.f_frsize - leave)
    with open(path, "wb") as file:
        file.write(b"x" * size)
    return lambda: os.unlink(path)


def assert_full(result):
    assert result.status == 1 or result.status in (9, 10, 12), result
    assert "No space left" in result.stderr or "full" in result.stderr, result


def test_while_unpacking(project, venv, disk):
    project.write("box: busybox\nnetworks: []\n")
    disk("900k")
    for _ in range(2):
        assert_full(venv.fails("up"))
        assert venv.json("box", "list") == []
        assert project.machines() == []
        assert [name for name in os.listdir(os.path.join(project.data, "boxes", "stage"))
                if not name.endswith(".making")] == []
    disk("64m")
    venv("up")
    venv("exec", "--", "true")
    venv("destroy", "-f")


@pytest.mark.parametrize("leave", [0, 4096, 16384, 40960, 81920])
def test_while_creating(project, venv, disk, leave):
    project.write("box: busybox\nports: [ { host: auto, guest: 80 } ]\n")
    disk("16m")
    venv("box", "build", "busybox")
    free = fill(venv, leave)
    result = venv("up", check=False)
    if result.status:
        assert_full(result)
        assert all(machine["state"] in ("not created", "stopped") for machine in venv.json("status"))
    free()
    venv("up")
    venv("exec", "--", "true")
    venv("destroy", "-f")


def test_destroy_and_halt_need_no_room(project, venv, disk):
    project.write("box: busybox\nnetworks: []\n")
    disk("16m")
    venv("up")
    venv("exec", "--", "sh", "-c", "echo kept > /root/kept; sync")
    free = fill(venv, 0)
    assert venv.json("status")[0]["state"] == "running"
    assert "No space" in venv("exec", "--", "sh", "-c", "echo x > /root/more", check=False).stderr
    venv("halt")
    assert venv.json("status")[0]["state"] == "stopped"
    result = venv("up", check=False)
    if result.status:
        assert_full(result)
    free()
    venv("up")
    assert venv("exec", "--", "cat", "/root/kept").stdout == "kept\n"
    fill(venv, 0)
    venv("destroy", "-f")
    assert project.machines() == []
    os.unlink(os.path.join(venv.sandbox, "data", "filler"))
