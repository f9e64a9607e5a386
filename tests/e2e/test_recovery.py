"""What dies, and what the next command does with it."""

import json
import os
import signal
import socket
import time

import pytest

from support.waiting import wait_for

SMALL = "box: busybox\nports: [ { host: auto, guest: 80 } ]\n"


def keeper_of(venv):
    """The parent of the machine's first process."""
    (machine,) = venv.json("status")
    with open(f"/proc/{machine['pid']}/status", encoding="ascii") as file:
        parent = int([line.split()[1] for line in file if line.startswith("PPid:")][0])
    assert os.readlink(f"/proc/{parent}/exe").endswith("/venv-keeper")
    return parent


def netd_of(name):
    """The netd of the project of that name: it is its first argument."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                arguments = file.read().split(b"\0")
        except OSError:  # gone meanwhile
            continue
        if arguments[:2] == [b"venv-netd", name.encode()]:
            found.append(int(pid))
    (pid,) = found
    return pid


def wait_until_down(venv):
    wait_for(lambda: venv.json("status")[0]["state"] != "running")


@pytest.mark.nested
def test_a_killed_keeper(project, venv):
    project.write(SMALL)
    venv("up")
    venv("exec", "--", "sh", "-c", "echo data > /root/data; sync")
    os.kill(keeper_of(venv), signal.SIGKILL)
    wait_until_down(venv)
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


def test_a_keeper_that_hangs(project, venv):
    project.write(SMALL)
    venv("up")
    venv("exec", "--", "sh", "-c", "echo data > /root/data; sync")
    os.kill(keeper_of(venv), signal.SIGSTOP)
    venv("halt", "-f")
    assert venv.json("status")[0]["state"] == "stopped"
    venv("up")
    assert venv("exec", "--", "cat", "/root/data").stdout == "data\n"
    os.kill(keeper_of(venv), signal.SIGSTOP)
    venv("destroy", "-f")


def test_init_dies(project, venv):
    project.write(SMALL)
    venv("up")
    (machine,) = venv.json("status")
    os.kill(machine["pid"], signal.SIGKILL)
    wait_until_down(venv)
    venv("up")
    venv("exec", "--", "true")


def test_half_written_files_are_removed(project, venv):
    """What a process leaves that is killed while it replaces a file."""
    project.write(SMALL)
    venv("up")
    venv("halt", "-f")
    machine = os.path.join("machines", *project.machines())
    (network,) = (directory for directory, _, names in os.walk(project.data) if "net.json" in names)
    left = [os.path.join(project.data, path) for path in (
        f"{machine}/.state.json.01234567.tmp", f"{machine}/keys/.known_hosts.89abcdef.tmp",
        os.path.join(network, ".net.json.01234567.tmp"))]
    for path in left:
        with open(path, "wb"):
            pass
    venv("up")
    assert [path for path in left if os.path.exists(path)] == []


def test_up_while_it_ends(project, venv):
    """A machine that is just ending is waited for, at whatever moment `up` finds it."""
    project.write(SMALL)
    for i in range(20):
        venv("up")
        (machine,) = venv.json("status")
        os.kill(machine["pid"], signal.SIGKILL)
        time.sleep(i * 0.0005)
        venv("up")
    venv("exec", "--", "true")


@pytest.mark.nested
def test_up_while_all_of_it_dies(project, venv):
    """The same when the network's process is killed just before the machine's: `up` does not join a dying one to it."""
    name = f"all-{os.getpid()}-{time.monotonic_ns()}"
    project.write(f"name: {name}\n" + SMALL)
    for i in range(20):
        venv("up")
        pids = [netd_of(name), keeper_of(venv)]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
            time.sleep(i % 5 * 0.0005)
        venv("up")
        venv("exec", "--", "true")


@pytest.mark.nested
def test_a_killed_netd_is_taken_up_again(project, venv):
    name = f"netd-{os.getpid()}-{time.monotonic_ns()}"
    project.write(f"name: {name}\nbox: busybox\nmachines:\n"
                  "  a: { ports: [ { host: auto, guest: 80 } ] }\n  b: {}\n")
    venv("up")
    (before, _) = venv.json("status")
    inode = os.readlink(f"/proc/{before['pid']}/ns/net")
    (port,) = venv.json("port")
    killed = netd_of(name)
    os.kill(killed, signal.SIGKILL)
    time.sleep(0.2)
    assert "network is down" in str(venv("status")) and "network is down" in venv.json("status")[1]["warnings"][-1]
    assert "network is down" in str(venv("port")) and "no port" not in str(venv("port"))
    venv("up")
    assert "network is down" not in str(venv("status"))
    assert netd_of(name) != killed
    (machine, _) = venv.json("status")
    assert machine["pid"] == before["pid"]
    assert os.readlink(f"/proc/{machine['pid']}/ns/net") == inode
    assert machine["addresses"] == before["addresses"]
    assert venv.json("port") == [port]
    venv("exec", "a", "--", "sh", "-c", "mkdir -p /www; echo again > /www/index.html; httpd -p 80 -h /www")
    venv("exec", "a", "--", "ping", "-c", "1", "-W", "2", "b")
    venv("exec", "b", "--", "ping", "-c", "1", "-W", "2", "a")
    with socket.create_connection(("127.0.0.1", port["host"]), 5) as connection:
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert connection.recv(1000)


def test_a_killed_netd_and_one_machine(project, venv):
    """`up` of one machine brings the network of all others back as well."""
    name = f"netd-{os.getpid()}-{time.monotonic_ns()}"
    project.write(f"name: {name}\nbox: busybox\nmachines: {{ a: {{}}, b: {{}}, c: {{}} }}\n")
    venv("up")
    os.kill(netd_of(name), signal.SIGKILL)
    time.sleep(0.2)
    venv("up", "a")
    venv("exec", "b", "--", "ping", "-c", "1", "-W", "2", "c")


def test_a_new_netd_gives_the_ports_of_the_start(project, venv):
    """What changed in the file meanwhile waits for a reload, as `up` says."""
    name = f"netd-{os.getpid()}-{time.monotonic_ns()}"
    project.write(f"name: {name}\nbox: busybox\nports: [ {{ host: auto, guest: 80 }} ]\n")
    venv("up")
    (port,) = venv.json("port")
    os.kill(netd_of(name), signal.SIGKILL)
    time.sleep(0.2)
    project.write(f"name: {name}\nbox: busybox\nports: [ {{ host: auto, guest: 81 }} ]\n")
    assert "'venv reload': ports" in venv("up").stdout
    assert venv.json("port") == [port]
    venv("reload")
    assert venv.json("port")[0]["guest"] == 81


def kill_netd(venv, name):
    """Killed with its machine: nobody took its socket away."""
    killed = netd_of(name)
    os.kill(killed, signal.SIGKILL)
    while os.path.exists(f"/proc/{killed}"):
        time.sleep(0.01)
    (uuid,) = os.listdir(os.path.join(venv.sandbox, "data", "venv", "projects"))
    return os.path.join(venv.sandbox, "data", "venv", "projects", uuid, "net")


@pytest.mark.parametrize("command", [("destroy", "-f"), ("halt",), ("repair",), ("up", "quiet")])
def test_a_killed_netd_leaves_no_socket(project, venv, command):
    name = f"netd-{os.getpid()}-{time.monotonic_ns()}"
    project.write(f"name: {name}\nbox: busybox\nmachines: {{ a: {{}}, quiet: {{ networks: [] }} }}\n")
    venv("up", "a")
    left = kill_netd(venv, name)
    assert os.path.exists(left)
    venv("status")  # asks, changes nothing, and does not fail
    venv(*command)
    assert not os.path.exists(left)
    if command == ("halt",):
        venv("up")  # and a running one keeps its own
        venv("repair")
        assert os.path.exists(left)


def test_a_killed_netd_and_repair_elsewhere(project, venv):
    name = f"netd-{os.getpid()}-{time.monotonic_ns()}"
    project.write(f"name: {name}\nbox: busybox\n")
    venv("up")
    left = kill_netd(venv, name)
    venv("repair", cwd="/")
    assert not os.path.exists(left)


def test_a_killed_netd_and_destroy_by_id(project, venv):
    name = f"netd-{os.getpid()}-{time.monotonic_ns()}"
    project.write(f"name: {name}\nbox: busybox\n")
    venv("up")
    left = kill_netd(venv, name)
    (machine,) = venv.json("status")
    venv("destroy", "-f", "--id", machine["id"])
    assert not os.path.exists(left)


def test_poweroff_inside(project, venv):
    project.write("box: busybox\nnetworks: []\n")
    venv("up")
    venv("exec", "--", "busybox", "poweroff", "-f", check=False)
    wait_until_down(venv)
    assert "powered itself off" in venv("logs").stdout
    venv("up")
    venv("exec", "--", "true")


def test_reboot_inside(project, venv):
    project.write("box: busybox\nnetworks: []\n")
    venv("up")
    before = venv.json("status")[0]["pid"]
    venv("exec", "--", "touch", "/root/kept")
    venv("exec", "--", "busybox", "reboot", "-f", check=False)
    deadline = time.monotonic() + 10
    while True:
        (machine,) = venv.json("status")
        if machine["state"] == "running" and machine["pid"] != before:
            break
        assert time.monotonic() < deadline, machine
        time.sleep(0.02)
    venv("exec", "--", "test", "-e", "/root/kept")
    assert venv("ssh", "-c", "echo back").stdout == "back\n"


def test_a_clock_that_was_set_back(project, venv):
    """Times are only for people: files from the future change nothing."""
    project.write(SMALL)
    venv("up")
    future = time.time() + 10 * 365 * 86400
    for directory, _, files in os.walk(os.path.join(project.data)):
        for name in files:
            path = os.path.join(directory, name)
            if "layers" in path or "/upper/" in path:
                continue
            os.utime(path, (future, future), follow_symlinks=False)
            if name == "state.json":
                with open(path, encoding="utf-8") as file:
                    state = json.load(file)
                state["started"] = int(future)
                with open(path, "w", encoding="utf-8") as file:
                    json.dump(state, file)
    assert venv.json("status")[0]["state"] == "running"
    assert venv("up").stdout.startswith("default is up already")
    venv("exec", "--", "true")
    venv("stats")
    venv("halt")
    venv("up")
    venv("destroy", "-f")


def test_a_machine_whose_project_is_gone(project, venv):
    """rm -r of the project's directory while it runs: global-status shows it, --id reaches it."""
    project.write("box: busybox\nnetworks: []\n")
    venv("up")
    venv.run(["rm", "-r", project.path], cwd="/")
    (machine,) = venv.json("global-status", cwd="/")
    assert machine["state"] == "running"
    venv("halt", "--id", machine["id"][:7], cwd="/")
    (machine,) = venv.json("global-status", cwd="/")
    assert machine["state"] == "stopped"
    assert "global-status" in venv.fails("destroy", "-f", "--id", "ffffffff", status=4, cwd="/").stderr
    venv("destroy", "-f", "--id", machine["id"], cwd="/")
    assert project.machines() == []
    os.mkdir(project.path)
