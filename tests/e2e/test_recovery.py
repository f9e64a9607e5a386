"""What dies, and what the next command does with it."""

import os
import signal
import time

import pytest

SMALL = "box: busybox\nports: [ { host: auto, guest: 80 } ]\n"


def helpers(venv, name):
    """Pids of our helper programs that belong to the sandbox's account."""
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/cmdline", "rb") as file:
                if not file.read().split(b"\0")[0].endswith(name.encode()):
                    continue
            with open(f"/proc/{entry}/environ", "rb") as file:
                if venv.sandbox.encode() in file.read():
                    found.append(int(entry))
        except OSError:
            continue
    return found


def keeper_of(venv):
    (machine,) = venv.json("status")
    with open(f"/proc/{machine['pid']}/status", encoding="ascii") as file:
        return int([line.split()[1] for line in file if line.startswith("PPid:")][0])


@pytest.mark.nested
def test_a_killed_keeper(project, venv):
    project.write(SMALL)
    venv("up")
    venv("exec", "--", "sh", "-c", "echo data > /root/data; sync")
    os.kill(keeper_of(venv), signal.SIGKILL)
    deadline = time.monotonic() + 5
    while venv.json("status")[0]["state"] == "running":
        assert time.monotonic() < deadline
    assert venv.json("status")[0]["state"] == "crashed"
    assert "venv up" in venv.fails("exec", "--", "true").stderr
    venv("up")
    assert venv("exec", "--", "cat", "/root/data").stdout == "data\n"


def test_a_killed_keeper_and_repair(project, venv):
    project.write(SMALL)
    venv("up")
    os.kill(keeper_of(venv), signal.SIGKILL)
    time.sleep(0.2)
    venv("repair")
    assert venv.json("status")[0]["state"] == "stopped"


def test_a_killed_keeper_and_destroy(project, venv):
    project.write(SMALL)
    venv("up")
    os.kill(keeper_of(venv), signal.SIGKILL)
    venv("destroy", "-f")
    assert project.machines() == []


def test_init_dies(project, venv):
    project.write(SMALL)
    venv("up")
    (machine,) = venv.json("status")
    os.kill(machine["pid"], signal.SIGKILL)
    deadline = time.monotonic() + 5
    while venv.json("status")[0]["state"] == "running":
        assert time.monotonic() < deadline
    venv("up")
    venv("exec", "--", "true")


@pytest.mark.nested
def test_a_killed_netd_is_taken_up_again(project, venv):
    import socket
    project.write("box: busybox\nmachines:\n  a: { ports: [ { host: auto, guest: 80 } ] }\n  b: {}\n")
    venv("up")
    (machine, _) = venv.json("status")
    with open(f"/proc/{machine['pid']}/status", encoding="ascii"):
        pass
    inode = os.readlink(f"/proc/{machine['pid']}/ns/net")
    killed = 0
    data = os.path.join(venv.sandbox, "data")
    for entry in os.listdir("/proc"):
        try:
            with open(f"/proc/{entry}/cmdline", "rb") as file:
                name = file.read().split(b"\0")[0]
            if not name.endswith(b"venv-netd"):
                continue
            descriptors = os.listdir(f"/proc/{entry}/fd")
            links = [os.readlink(f"/proc/{entry}/fd/{fd}") for fd in descriptors]
        except (OSError, ValueError):
            continue
        if any(link.startswith(data) for link in links) or os.readlink(f"/proc/{entry}/cwd").startswith(data):
            os.kill(int(entry), signal.SIGKILL)
            killed += 1
    if not killed:
        pytest.skip("netd cannot be told apart from others' here")
    time.sleep(0.2)
    venv("up")
    (machine, _) = venv.json("status")
    assert os.readlink(f"/proc/{machine['pid']}/ns/net") == inode
    venv("exec", "a", "--", "sh", "-c", "mkdir -p /www; echo again > /www/index.html; httpd -p 80 -h /www")
    assert venv("exec", "a", "--", "ping", "-c", "1", "-W", "2", "b").status == 0
    port = venv.json("port")[0]["host"]
    with socket.create_connection(("127.0.0.1", port), 5) as connection:
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert connection.recv(1000)


def test_poweroff_and_reboot_inside(project, venv):
    project.write("box: busybox\nnetworks: []\n")
    venv("up")
    venv("exec", "--", "poweroff", "-f", check=False)
    deadline = time.monotonic() + 10
    while venv.json("status")[0]["state"] == "running":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    venv("up")
    venv("exec", "--", "true")
