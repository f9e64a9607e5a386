"""Boxes of a root file system as virtual machines: in the nested host, with the kernel that kvm_guests.py takes."""

import os
import shutil
import subprocess
import time

import pytest

# pylint: disable=unused-import,redefined-outer-name
from kvm_guests import SLOW, kernel_box, rootfs_machine  # noqa: F401

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


def test_files_and_disk_hold_what_was_written(project, venv, kernel_box, file_checks):
    """What POSIX says of files, in a folder, in a volume and on the machine's own disk; and what that holds after a boot."""
    project.write(rootfs_machine(disk="1G", volumes=["data:/data"]))
    venv("up", timeout=SLOW)
    # owners are mapped; no privileges or devices become the host's (docs/ATTACKS.md)
    for place, left_out in (("/workspace", "chown,setid,device"), ("/data", "setid,device"), ("/root", "")):
        options = ["--without", left_out] if left_out else []
        said = venv("exec", "--", f"{file_checks}/posix_files", *options, place, check=False, timeout=SLOW)
        assert said.status == 0 and "not ok" not in said.stdout, f"{place}: {said.stdout}"
        venv("exec", "--", f"{file_checks}/fsx", "-n", "500", place + "/f", timeout=SLOW)
    venv("exec", "--", "sh", "-c", "mkdir /data/base && echo row >/data/base/table && chown -R 999:998 /data/base")
    blocks = ["-n", "200", "/root/blocks", "64"]
    venv("exec", "--", f"{file_checks}/disk_verify", "write", *blocks, timeout=SLOW)
    venv("reload", timeout=SLOW)
    venv("exec", "--", f"{file_checks}/disk_verify", "check", *blocks, timeout=SLOW)
    assert venv("exec", "--", "stat", "-c", "%u:%g", "/data", "/data/base/table").stdout == "0:0\n999:998\n"
    venv("halt", timeout=SLOW)
    if shutil.which("qemu-img"):
        disk = os.path.join(project.data, "machines", project.machines()[0], "disk.qcow2")
        venv.run(["qemu-img", "check", disk])
    venv("destroy", "-f", timeout=SLOW)


def received(venv):
    return int(venv("exec", "near", "--", "cat", "/sys/class/net/eth0/statistics/rx_packets").stdout)


def test_beside_a_container(project, venv, kernel_box):
    """Owners of files are the same in both on a volume of both, and a virtual machine speaks in its own name alone."""
    project.write({"machines": {"near": {"box": "busybox", "volumes": ["data:/data"]},
                                "far": rootfs_machine(volumes=["data:/data"])}})
    venv("up", timeout=SLOW)
    venv("exec", "near", "--", "sh", "-c", "echo near >/data/near && chown 999:998 /data/near && chmod 600 /data/near")
    assert venv("exec", "far", "--", "stat", "-c", "%u:%g", "/data", "/data/near").stdout == "0:0\n999:998\n"
    assert venv("exec", "far", "--", "cat", "/data/near").stdout == "near\n"
    venv("exec", "far", "--", "sh", "-c", "mkdir /data/far && ln -s x /data/far/link && chown -Rh 33:65535 /data/far")
    assert venv("exec", "near", "--", "stat", "-c", "%u:%g", "/data/far", "/data/far/link").stdout == "33:65535\n" * 2

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


def test_without_a_network(project, venv, kernel_box):
    """The agent needs none."""
    project.write(rootfs_machine(networks=[]))
    venv("up", timeout=SLOW)
    assert venv("exec", "--", "ls", "/sys/class/net").stdout == "lo\n"
    assert venv("ssh", "-c", "echo in").stdout == "in\n"
    venv("destroy", "-f", timeout=SLOW)


def wait_for_file(path):
    for _ in range(SLOW):
        if os.path.exists(path):
            return
        time.sleep(1)
    pytest.fail(f"{path} does not appear")


def test_an_agent_that_was_killed_comes_again(project, venv, kernel_box):
    """By the machine's root, who can do that; process 1 starts it again."""
    project.write(rootfs_machine(networks=[]))
    venv("up", timeout=SLOW)
    for name in ("first", "second"):
        venv("exec", "--", "sh", "-c", f"(sleep 1; killall -9 venv-agent && echo >/workspace/{name}) >/dev/null 2>&1 &")
        wait_for_file(os.path.join(project.path, name))
        assert venv("exec", "--", "echo", "again").stdout == "again\n"
    assert venv("logs").stdout.count("the agent ended, it starts again in") == 2
    assert venv("ssh", "-c", "echo in").stdout == "in\n"
    # the power button is the agent's as well
    venv("halt", timeout=SLOW)
    assert "by force" not in venv("logs").stdout
    venv("destroy", "-f", timeout=SLOW)
