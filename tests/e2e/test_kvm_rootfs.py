"""Boxes of a root file system as virtual machines: in the nested host, with the kernel that kvm_guests.py takes."""

import json
import os
import re
import shutil
import signal
import subprocess

import pytest

from support.console import talk_at_the_console
from support.waiting import wait_for
# pylint: disable=unused-import,redefined-outer-name
from kvm_guests import SLOW, debian, kernel_box, rootfs_machine  # noqa: F401

pytestmark = [pytest.mark.nested, pytest.mark.timeout(1200)]


def test_a_rootfs_box_lives_as_a_virtual_machine(project, venv, kernel_box):
    """Every command does what it does to a container."""
    project.file("hello", "from the host\n")
    project.write(rootfs_machine(hostname="blue", disk="1G", env={"COLOUR": "green"}, volumes=["data:/data"],
                          provision=[{"run": "echo \"$VENV_MACHINE $(id -un) $COLOUR\" >/etc/provisioned"}]))
    venv("up", timeout=SLOW)
    state = venv.json("status")[0]
    assert (state["state"], state["provider"]) == ("running", "kvm"), state
    assert venv("exec", "--", "cat", "/etc/provisioned").stdout == "default root green\n"
    assert venv("exec", "--", "sh", "-c", "echo out; echo err >&2; exit 7", check=False).status == 7
    assert venv("ssh", "-c", "hostname; cat /workspace/hello").stdout == "blue\nfrom the host\n"
    venv("exec", "--", "sh", "-c", "echo there >/workspace/made; echo kept >/data/kept; echo mine >/root/mine")
    assert project.read("made") == "there\n"
    talk_at_the_console(venv)
    assert int(venv("exec", "--", "sh", "-c", "df -m / | tail -n 1 | awk '{print $2}'").stdout) > 800
    # both ways through ssh: OpenSSH, scp, sftp, forwarded ports
    config = project.file("ssh-config", venv("ssh-config").stdout)
    assert venv.run(["ssh", "-F", config, "default", "echo over ssh"]).stdout == "over ssh\n"
    blob = os.urandom(1 << 20)
    project.file("blob", blob)
    venv.run(["scp", "-q", "-F", config, os.path.join(project.path, "blob"), "default:/tmp/blob"])
    venv.run(["scp", "-q", "-O", "-F", config, "default:/tmp/blob", os.path.join(project.path, "back")])
    with open(os.path.join(project.path, "back"), "rb") as file:
        assert file.read() == blob
    venv("exec", "--", "sh", "-c", "(while :; do echo pong | nc -l -p 7000; done) >/dev/null 2>&1 &")
    with subprocess.Popen(["ssh", "-F", config, "-W", "127.0.0.1:7000", "default"], stdout=subprocess.PIPE,
                          stdin=subprocess.PIPE) as client:
        assert client.stdout.read(5) == b"pong\n"
        client.kill()
    venv("pause")
    assert venv.json("status")[0]["state"] == "paused"
    venv("resume")
    assert venv("exec", "--", "echo", "again").stdout == "again\n"
    venv("halt", timeout=SLOW)
    assert venv.json("status")[0]["state"] == "stopped"
    assert "by force" not in venv("logs").stdout
    venv("up", timeout=SLOW)
    assert venv("exec", "--", "cat", "/root/mine", "/data/kept").stdout == "mine\nkept\n"
    venv("destroy", "-f", timeout=SLOW)
    assert project.machines() == []


def hold(project, venv, verify):
    """What was written is there after a suspend in the midst of it, and after the monitor's sudden death."""
    done, more = ["-n", "200", "/root/done", "32"], ["-n", "1000", "-s", "2", "/root/more", "32"]
    venv("exec", "--", verify, "write", *done, timeout=SLOW)
    venv("exec", "--", "sh", "-c", f"({verify} write {' '.join(more)}; echo $? >/root/status) >/dev/null 2>&1 &")
    venv("suspend", timeout=SLOW)
    venv("resume", timeout=SLOW)
    assert venv("exec", "--", "sh", "-c", "until test -s /root/status; do sleep 1; done; cat /root/status",
                timeout=SLOW).stdout == "0\n"
    for blocks in (done, more):
        venv("exec", "--", verify, "check", *blocks, timeout=SLOW)
    os.kill(venv.json("status")[0]["pid"], signal.SIGKILL)
    wait_for(lambda: venv.json("status")[0]["state"] == "crashed", SLOW)
    venv("up", timeout=SLOW)
    for blocks in (done, more):
        venv("exec", "--", verify, "check", *blocks, timeout=SLOW)


def test_files_and_disk_hold_what_was_written(project, venv, kernel_box, file_checks):
    """What POSIX says of files, in a folder, in a volume and on the machine's own disk; and what that holds later."""
    project.write(rootfs_machine(disk="1G", volumes=["data:/data"]))
    venv("up", timeout=SLOW)
    # owners are mapped; no privileges or devices become the host's (docs/ATTACKS.md)
    for place, left_out in (("/workspace", "chown,setid,device"), ("/data", "setid,device"), ("/root", "")):
        options = ["--without", left_out] if left_out else []
        said = venv("exec", "--", f"{file_checks}/posix_files", *options, place, check=False, timeout=SLOW)
        assert said.status == 0 and "not ok" not in said.stdout, f"{place}: {said.stdout}"
        venv("exec", "--", f"{file_checks}/fsx", "-n", "500", place + "/f", timeout=SLOW)
    venv("exec", "--", "sh", "-c", "mkdir /data/base && echo row >/data/base/table && chown -R 999:998 /data/base")
    hold(project, venv, f"{file_checks}/disk_verify")
    assert venv("exec", "--", "stat", "-c", "%u:%g", "/data", "/data/base/table").stdout == "0:0\n999:998\n"
    venv("halt", timeout=SLOW)
    if shutil.which("qemu-img"):
        disk = os.path.join(project.data, "machines", project.machines()[0], "disk.qcow2")
        venv.run(["qemu-img", "check", disk])
    venv("destroy", "-f", timeout=SLOW)


def received(venv):
    return int(venv("exec", "near", "--", "cat", "/sys/class/net/eth0/statistics/rx_packets").stdout)


def test_beside_a_container(project, venv, kernel_box):
    """Two and a container on one network: owners of files are the same on a volume of both kinds, all meet by name, and
    a virtual machine speaks in its own name alone."""
    project.write({"machines": {"near": {"box": "busybox", "volumes": ["data:/data"]},
                                "far": rootfs_machine(volumes=["data:/data"]), "other": rootfs_machine(folders=[])}})
    venv("up", timeout=SLOW)
    venv("exec", "near", "--", "sh", "-c", "echo near >/data/near && chown 999:998 /data/near && chmod 600 /data/near")
    assert venv("exec", "far", "--", "stat", "-c", "%u:%g", "/data", "/data/near").stdout == "0:0\n999:998\n"
    assert venv("exec", "far", "--", "cat", "/data/near").stdout == "near\n"
    venv("exec", "far", "--", "sh", "-c", "mkdir /data/far && ln -s x /data/far/link && chown -Rh 33:65535 /data/far")
    assert venv("exec", "near", "--", "stat", "-c", "%u:%g", "/data/far", "/data/far/link").stdout == "33:65535\n" * 2

    for one, another in (("far", "other"), ("other", "far"), ("other", "near"), ("near", "other")):
        said = venv("exec", one, "--", "ping", "-c", "1", "-W", "10", another).stdout
        assert " 0% packet loss" in said, said

    def ping():
        return venv("exec", "far", "--", "ping", "-c", "1", "-W", "5", "near", check=False).status

    assert ping() == 0
    address = venv("exec", "far", "--", "cat", "/sys/class/net/eth0/address").stdout.strip()
    spoof = "ping -c 12 -W 1 {} near >/dev/null; true"
    for change, undo, options in (
            ("ip link set eth0 address 02:00:00:00:de:ad", f"ip link set eth0 address {address}", ""),
            ("ip address add 10.254.1.2/32 dev eth0", "ip address delete 10.254.1.2/32 dev eth0", "-I 10.254.1.2")):
        before = received(venv)
        venv("exec", "far", "--", "sh", "-c", f"{change} && {spoof.format(options)}", timeout=SLOW)
        assert received(venv) - before < 6
        venv("exec", "far", "--", "sh", "-c", undo)
        assert ping() == 0
    venv("destroy", "-f", timeout=SLOW)


def test_an_image_with_systemd(project, venv, kernel_box, debian):
    """Debian as containers have it: its own systemd is the first process, and is told when to stop."""
    venv("box", "add", "--name", "debian/12", debian, timeout=SLOW)
    project.write(rootfs_machine(box="debian/12", init="systemd", memory="512M", disk="2G", stop_timeout="5m"))
    venv("up", timeout=SLOW)
    assert venv("exec", "--", "cat", "/proc/1/comm").stdout == "systemd\n"
    is_up = ["exec", "--", "systemctl", "is-active", "multi-user.target"]
    wait_for(lambda: venv(*is_up, check=False).stdout == "active\n", SLOW)
    assert venv("ssh", "-c", "systemd-run --wait -q --pipe id -un").stdout == "root\n"
    venv("halt", timeout=SLOW)
    said = venv("logs").stdout
    assert "reboot: Power down" in said and "Waiting for process" not in said and "stopped by force" not in said, said[-3000:]


def test_without_a_network(project, venv, kernel_box):
    """The agent needs none. Beside it: two processors in two sockets."""
    project.write(rootfs_machine(networks=[], cpus=2, kvm={"sockets": 2}))
    venv("up", timeout=SLOW)
    sockets = venv("exec", "--", "grep", "physical id", "/proc/cpuinfo").stdout
    assert sorted(re.findall(r": (\d+)", sockets)) == ["0", "1"]
    assert venv("exec", "--", "ls", "/sys/class/net").stdout == "lo\n"
    assert venv("ssh", "-c", "echo in").stdout == "in\n"
    venv("destroy", "-f", timeout=SLOW)


def group_of(project):
    """Where the limits of the machine's process are, on unified control groups."""
    (name,) = project.machines()
    with open(os.path.join(project.data, "machines", name, "alive"), encoding="utf-8") as file:
        member = json.load(file)["pid"]
    with open(f"/proc/{member}/cgroup", encoding="ascii") as file:
        return "/sys/fs/cgroup" + os.path.dirname(file.read().strip().split("::", 1)[1])


def test_limits_change_while_it_runs(project, venv, kernel_box):
    """Those of its process; memory and processors are what its guest has booted with."""
    project.write(rootfs_machine(networks=[], cpu_weight=50))
    assert venv("up", timeout=SLOW).status == 0
    weight = os.path.join(group_of(project), "cpu.weight")
    if not os.path.exists(weight):  # the user is not given this controller
        assert "'cpu_weight' cannot be enforced" in str(venv.json("status")[0]["warnings"])
    project.write(rootfs_machine(networks=[], cpu_weight=70, memory="300M"))
    again = venv("up", timeout=SLOW)
    assert "'cpu_weight' changed live" in again.stdout + again.stderr
    assert "takes effect with 'venv reload': memory" in again.stdout + again.stderr
    if os.path.exists(weight):
        with open(weight, encoding="ascii") as file:
            assert file.read() == "70\n"
    else:
        assert "'cpu_weight' cannot be enforced" in again.stdout + again.stderr
    venv("destroy", "-f", timeout=SLOW)


def test_an_agent_that_was_killed_comes_again(project, venv, kernel_box):
    """By the machine's root, who can do that; process 1 starts it again."""
    project.write(rootfs_machine(networks=[]))
    venv("up", timeout=SLOW)
    for name in ("first", "second"):
        venv("exec", "--", "sh", "-c", f"(sleep 1; killall -9 venv-agent && echo >/workspace/{name}) >/dev/null 2>&1 &")
        wait_for(lambda path=os.path.join(project.path, name): os.path.exists(path), SLOW)
        assert venv("exec", "--", "echo", "again").stdout == "again\n"
    assert venv("logs").stdout.count("the agent ended, it starts again in") == 2
    assert venv("ssh", "-c", "echo in").stdout == "in\n"
    # the power button is the agent's as well
    venv("halt", timeout=SLOW)
    assert "by force" not in venv("logs").stdout
    venv("destroy", "-f", timeout=SLOW)
