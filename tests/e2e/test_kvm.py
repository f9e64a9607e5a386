"""Virtual machines: in the nested host, from the disks that tests/nested/disks makes (VENV_TEST_DISKS)."""

import os

import pytest

pytestmark = [pytest.mark.nested, pytest.mark.timeout(1200)]
SLOW = 600  # seconds: processors are emulated there


@pytest.fixture
def disks():
    if not os.environ.get("VENV_TEST_DISKS"):
        pytest.skip("VENV_TEST_DISKS names no directory that tests/nested/disks made")
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        pytest.skip("/dev/kvm is not for this user")
    return os.environ["VENV_TEST_DISKS"]


@pytest.fixture
def kernel(project, disks):
    """The kernel of the disks as files of the project: keys for venv.yml."""
    for name in ("vmlinuz", "initrd.img"):
        with open(os.path.join(disks, name), "rb") as file:
            project.file("boot/" + name, file.read())
    return {"kernel": "boot/vmlinuz", "initrd": "boot/initrd.img", "cmdline": "quiet mitigations=off"}


def machine(kernel=None, **more):
    keys = {"box": "test", "provider": "kvm", "memory": "512M", "cpus": 1, "boot_timeout": "8m", **more}
    if kernel:
        keys["kvm"] = kernel
    return keys


def add_box(venv, disks, name):
    venv("box", "add", "--name", "test", os.path.join(disks, name), timeout=SLOW)


def test_a_machine_lives_as_any_other(project, venv, disks, kernel):
    """cloud-init puts user, key, name and folders in; every command does what it does to a container."""
    add_box(venv, disks, "cloud.qcow2")
    project.file("hello", "from the host\n")
    project.write(machine(kernel, user="dev", disk="3G", hostname="blue", ports=["auto:8000"],
                          provision=[{"run": "echo \"$VENV_MACHINE $(id -un)\" >/etc/provisioned"}]))
    venv("up", timeout=SLOW)
    state = venv.json("status")[0]
    assert (state["state"], state["provider"]) == ("running", "kvm"), state
    assert venv("exec", "--", "cat", "/etc/provisioned").stdout == "default root\n"
    assert venv("ssh", "-c", "id -un; hostname; cat /workspace/hello").stdout == "dev\nblue\nfrom the host\n"
    venv("exec", "--", "sh", "-c", "echo there >/workspace/made; mkdir /workspace/dir")
    assert project.read("made") == "there\n"
    made = os.stat(os.path.join(project.path, "made"))
    assert made.st_uid == venv.account.uid, made
    # the disk grew, and its file system
    size = int(venv("exec", "--", "sh", "-c", "df -m / | tail -n 1 | tr -s ' ' | cut -d' ' -f2").stdout)
    assert size > 2500, size
    stats = venv.json("stats")[0]
    assert stats["memory"] > 50 << 20 and stats["cpu_us"] > 0 and stats["disk"] > 0, stats
    # OpenSSH takes what ssh-config says
    config = project.file("ssh-config", venv("ssh-config").stdout)
    assert venv.run(["ssh", "-F", config, "default", "echo over ssh"]).stdout == "over ssh\n"
    venv("pause")
    assert venv.json("status")[0]["state"] == "paused"
    venv("resume")
    assert venv("exec", "--", "echo", "again").stdout == "again\n"
    venv("halt", timeout=SLOW)
    assert venv.json("status")[0]["state"] == "stopped"
    venv("up", timeout=SLOW)
    assert venv("exec", "--", "cat", "/etc/provisioned", "/workspace/made").stdout == "default root\nthere\n"
    venv("destroy", "-f", timeout=SLOW)
    assert project.machines() == []
