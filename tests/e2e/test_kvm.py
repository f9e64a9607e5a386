"""Virtual machines: in the nested host, made from what kvm_guests.py takes."""

import os
import signal
import time

import pytest

# pylint: disable=unused-import,redefined-outer-name
from kvm_guests import SLOW, add_box, disks, guest, kernel, kernel_box, machine  # noqa: F401

pytestmark = [pytest.mark.nested, pytest.mark.timeout(1200)]


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


def test_a_vagrant_box_gets_a_key_of_its_own(project, venv, disks):
    """GRUB on its disk; DHCP; the key that everybody has is replaced."""
    venv("box", "add", "--name", "test", os.path.join(disks, "vagrant.box"), timeout=SLOW)
    project.file("hello", "from the host\n")
    project.write(machine())
    venv("up", timeout=SLOW)
    assert venv("ssh", "-c", "id -un; hostname; cat /workspace/hello").stdout == "vagrant\ndefault\nfrom the host\n"
    keys = venv("ssh", "-c", "cat ~/.ssh/authorized_keys").stdout
    assert "AAAAB3NzaC1yc2EAAAABIwAAAQEA6NF8" not in keys and "ssh-ed25519" in keys, keys
    assert os.stat(os.path.join(project.path, "hello")).st_uid == venv.account.uid
    venv("ssh", "-c", "echo there >/workspace/made")
    assert project.read("made") == "there\n"
    venv("reload", timeout=SLOW)
    assert venv("ssh", "-c", "cat /workspace/made").stdout == "there\n"


def test_containers_and_machines_meet(project, venv, disks, kernel):
    """By name, both ways, and by ports of the host."""
    add_box(venv, disks, "cloud.qcow2")
    project.write({"machines": {
        "vm": machine(kernel, ports=["auto:8000"], folders=[]),
        "box": {"box": "busybox", "folders": [], "needs": {"vm": "started"}}}})
    venv("up", timeout=SLOW)
    assert " 0% packet loss" in venv("exec", "box", "--", "ping", "-c", "2", "-W", "10", "vm").stdout
    assert " 0% packet loss" in venv("exec", "vm", "--", "ping", "-c", "2", "-W", "10", "box").stdout
    venv("exec", "vm", "--", "sh", "-c", "cd /etc; setsid python3 -m http.server 8000 >/dev/null 2>&1 &")
    host = venv.json("port")[0]["host"]
    for _ in range(60):
        answer = venv.run(["python3", "-c", "import urllib.request as u; print(u.urlopen("
                           f"'http://127.0.0.1:{host}/hostname', timeout=20).read().decode())"], check=False)
        if answer.status == 0:
            break
        time.sleep(1)
    assert answer.stdout.startswith("vm"), answer


def test_a_killed_monitor_is_a_crash(project, venv, guest):
    """Its disk is whole, and up goes on."""
    project.write(guest(folders=[]))
    venv("up", timeout=SLOW)
    state = venv.json("status")[0]
    venv("exec", "--", "sh", "-c", "echo kept >/root/kept; sync; (while :; do cat /bin/sh >/root/x; done) >/dev/null 2>&1 &")
    os.kill(state["pid"], signal.SIGKILL)
    time.sleep(1)
    assert venv.json("status")[0]["state"] == "crashed"
    disk = os.path.join(state["directory"], "disk.qcow2")
    check = venv.run(["qemu-img", "check", disk], check=False)
    assert check.status in (0, 3), check  # 3: room that is lost, no harm
    venv("up", timeout=SLOW)
    assert venv("exec", "--", "cat", "/root/kept").stdout == "kept\n"


def test_a_new_netd_takes_the_machine_up(project, venv, guest):
    """netd was killed: the next up starts one, the machine's TAP goes on."""
    keys = guest(folders=[])
    project.write(keys)
    venv("up", timeout=SLOW)
    project_dir = os.path.join(project.data, "projects")
    for pid in venv.run(["pgrep", "-u", str(venv.account.uid), "-x", "venv-netd"]).stdout.split():
        os.kill(int(pid), signal.SIGKILL)
    time.sleep(1)
    assert os.listdir(project_dir)
    assert "network is down" in str(venv("status"))
    if "kvm" in keys:  # reached by ssh alone
        assert "network is down" in venv.fails("exec", "--", "true").stderr
    venv("up", timeout=SLOW)
    assert "network is down" not in str(venv("status"))
    assert " 0% packet loss" in venv("exec", "--", "sh", "-c",
                                     "ping -c 2 -W 10 $(ip route | sed -n 's/^default via \\([^ ]*\\).*/\\1/p')").stdout


NO_KERNEL = ["venv.yml:", "kvm.kernel 'PROJECT/venv.yml' is no kernel: it is neither a bzImage nor an ELF program",
             "hint: name a Linux kernel for x86-64"]


@pytest.mark.parametrize("keys,words", [
    ({"memory": "900G"}, ["this host has", "memory"]),
    ({"kvm": {"kernel": "./none"}}, ["venv.yml:", "cannot open kvm.kernel", "hint: put the file there"]),
    ({"kvm": {"kernel": "./venv.yml"}}, NO_KERNEL),
    ({"kvm": {"firmware": "./venv.yml"}}, ["venv.yml:", "kvm.firmware 'PROJECT/venv.yml' is no firmware", "hint: name"]),
    ({"disk": "1M"}, ["cannot become smaller"]),
    ({"networks": []}, ["networks"]),
    ({"pids": 10}, ["pids"])])
def test_what_a_machine_cannot_be_is_told(project, venv, disks, keys, words):
    add_box(venv, disks, "cloud.qcow2")
    project.write(machine(**{"folders": [], **keys}))
    result = venv.fails("up")
    for word in words:
        assert word.replace("PROJECT", project.path) in result.stderr, result
    assert project.machines() == []


def test_what_never_answers_is_told_with_its_console(project, venv, disks, kernel):
    """A kernel without a root directory: the panic ends the wait, and is shown."""
    add_box(venv, disks, "cloud.qcow2")
    del kernel["initrd"]
    project.write(machine({**kernel, "cmdline": "root=/dev/nowhere"}, folders=[]))
    result = venv.fails("up", timeout=SLOW)
    assert "panicked" in result.stderr and "Unable to mount root fs" in result.stderr, result
    venv("destroy", "-f")
