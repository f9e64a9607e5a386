"""Machines that exchange a name for another while venv follows it (container.md, the rows marked R).

Nothing of a machine runs while that machine is set up, so only what two machines share can be raced
with, and what venv does with a running one: cp, exec, ssh. The short forms try for some seconds, the
long ones as often as the table wants.
"""

import contextlib
import os
import signal
import subprocess
import time

import pytest

SECRET = "a secret of the host"
TWO = """box: busybox
networks: []
volumes: { data: {}, inner: {} }
machines:
  evil: { primary: true, volumes: [ "data:/srv" ] }
  victim: { volumes: [ "data:/srv", "inner:%s" ] }
"""


@pytest.fixture
def outside(project, venv):
    """A directory of the host that everybody may write to: kept as it was, or the test fails."""
    path = os.path.join(venv.sandbox, "outside")
    project.file("../outside/secret", SECRET)
    project.file("../outside/b/keep", SECRET)
    for name in (".", "b"):
        os.chmod(os.path.join(path, name), 0o777)
    before = look(path)
    yield path
    assert look(path) == before
    assert project.path not in mounts() and path not in mounts()


def look(path):
    """All that a change would change."""
    found = []
    for directory, names, files in os.walk(path):
        for name in [".", *sorted(names), *sorted(files)]:
            status = os.lstat(os.path.join(directory, name))
            found.append((directory, name, status.st_ino, status.st_mode, status.st_uid, status.st_size,
                          status.st_mtime_ns))
    return found


def mounts():
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        return file.read()


@contextlib.contextmanager
def exchanging(venv, a, b, seconds=600, machine="evil"):
    """While it lasts, a and b change places in the machine."""
    with subprocess.Popen(venv.command("exec", machine, "--", "/workspace/guest", "exchange", a, b, seconds),
                          cwd=venv.directory, env=venv.environment(), stdout=subprocess.PIPE) as process:
        try:
            time.sleep(0.3)
            assert process.poll() is None
            yield process
            assert process.poll() is None, "the machine gave up"
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=10)


def seconds(number, long_number):
    return [pytest.param(number), pytest.param(long_number, marks=[pytest.mark.long, pytest.mark.timeout(
        long_number * 3 + 60)])]


# ---- What two machines share (2021-30465, 2024-45310, 2023-0778) ------------------------------


@pytest.mark.parametrize("duration", seconds(1, 20))
@pytest.mark.parametrize("shared", ["/srv", "/workspace"])
@pytest.mark.parametrize("where,tail", [("outside", "b/mount"), ("/proc", "sys/net"), ("/dev", "shm"),
                                        ("/sys", "kernel"), ("/etc", "b/mount")])
def test_a_mount_in_what_is_shared(project, venv, guest_program, outside, shared, where, tail, duration):
    """The victim mounts a volume below a directory that the other machine changes into a link."""
    project.write(TWO % f"{shared}/a/{tail}")
    project.file("guest", guest_program, 0o755)
    venv("up", "evil")
    target = "../" * 12 + (outside if where == "outside" else where).lstrip("/")
    venv("exec", "--", "sh", "-c", f"mkdir -p {shared}/a/{tail} && ln -s {target} {shared}/link")
    started = refused = 0
    with exchanging(venv, shared + "/a", shared + "/link"):
        end = time.monotonic() + duration
        while time.monotonic() < end or started + refused < 4:
            result = venv("up", "victim", check=False, timeout=30)
            assert result.status < 128, result
            if result.status:
                refused += 1
                assert "mounting a folder" in result.stderr or "sharing" in result.stderr, result
                continue
            started += 1
            inside = venv("exec", "victim", "--", "sh", "-c",
                          "cat /proc/self/mountinfo; test -c /dev/null && test -r /proc/self/status && "
                          "head -n 1 /etc/passwd && echo fine").stdout
            (place,) = [line.split()[4] for line in inside.splitlines() if "/volumes/inner " in line]
            assert not place.startswith(("/proc", "/dev", "/sys")), inside
            assert inside.endswith("fine\n"), inside
            venv("destroy", "-f", "victim")
    print(f"{started} started, {refused} refused")


@pytest.mark.parametrize("duration", seconds(2, 60))
def test_a_shared_folder_becomes_a_link(project, venv, guest_program, outside, duration):
    """A folder in the project, which the other machine can write, is what the victim shares."""
    project.write("box: busybox\nnetworks: []\nmachines:\n  evil: { primary: true }\n"
                  "  victim: { folders: [ ./sub:/mnt ] }\n")
    project.file("guest", guest_program, 0o755)
    project.file("sub/inside", "x")
    venv("up", "evil")
    venv("exec", "--", "ln", "-s", outside, "/workspace/link")
    with exchanging(venv, "/workspace/sub", "/workspace/link"):
        end, tried = time.monotonic() + duration, 0
        while time.monotonic() < end or tried < 4:
            tried += 1
            result = venv("up", "victim", check=False, timeout=30)
            assert result.status < 128, result
            if result.status == 0:
                assert venv("exec", "victim", "--", "ls", "/mnt").stdout == "inside\n"
                venv("destroy", "-f", "victim")
            else:
                assert "folder" in result.stderr, result


# ---- venv cp (2018-15664, 2019-14271, 2026-41567) ---------------------------------------------


@pytest.mark.parametrize("duration", seconds(2, 60))
def test_copying_while_a_directory_becomes_a_link(project, venv, guest_program, outside, duration):
    project.write("box: busybox\nnetworks: []\nmachines: { evil: {} }\n")
    project.file("guest", guest_program, 0o755)
    project.file("new", "new\n")
    venv("up")
    venv("exec", "--", "sh", "-c", f"mkdir -p /root/d {outside} && echo machine | tee /root/d/secret "
         f"{outside}/secret && ln -s {outside} /root/link")
    with exchanging(venv, "/root/d", "/root/link"):
        end, copied = time.monotonic() + duration, 0
        while time.monotonic() < end or copied < 4:
            result = venv("cp", ":/root/d/secret", "out", check=False)
            if result.status == 0:
                copied += 1
                assert project.read("out") == "machine\n"
            result = venv("cp", ":/root/d", "tree", check=False)
            assert result.status < 128, result
            result = venv("cp", "new", ":/root/d/new", check=False)
            assert result.status < 128, result
    names = {name for _, _, files in os.walk(os.path.join(project.path, "tree")) for name in files}
    assert names <= {"secret", "new", "d", "link"}


@pytest.mark.parametrize("duration", seconds(2, 60))
def test_copying_out_to_where_a_machine_writes(project, venv, guest_program, outside, duration):
    """The directory on the host lies in the project, and the machine changes it into a link."""
    project.write("box: busybox\nnetworks: []\nmachines: { evil: {} }\n")
    project.file("guest", guest_program, 0o755)
    project.file("sub/x", "x")
    venv("up")
    venv("exec", "--", "sh", "-c",
         f"echo owned > /root/secret; echo owned > /root/keep; ln -s {outside} /workspace/link")
    with exchanging(venv, "/workspace/sub", "/workspace/link"):
        end, tried = time.monotonic() + duration, 0
        while time.monotonic() < end or tried < 4:
            tried += 1
            for command in (["cp", ":/root/secret", "sub"], ["cp", ":/root/secret", "sub/secret"],
                            ["cp", ":/root", "sub"], ["cp", "sub/secret", ":/root/stolen"],
                            ["cp", "sub", ":/root/all"]):
                result = venv(*command, check=False)
                assert result.status < 128, result
    stolen = venv("exec", "--", "sh", "-c", "cat /root/stolen /root/all/* /root/all/*/* 2>/dev/null", check=False)
    assert SECRET not in stolen.stdout


# ---- exec ------------------------------------------------------------------------------------


@pytest.mark.parametrize("duration", seconds(3, 60))
def test_nobody_takes_hold_of_a_keeper(project, venv, guest_program, duration):
    """Guest root traces whatever enters; what is not yet venv-enter must not be had."""
    project.write("box: busybox\nnetworks: []\nmachines: { evil: {} }\n")
    project.file("guest", guest_program, 0o755)
    venv("up")
    with subprocess.Popen(venv.command("exec", "--", "/workspace/guest", "trace", duration),
                          cwd=venv.directory, env=venv.environment(), stdout=subprocess.PIPE) as process:
        while process.poll() is None:
            # what is held may stay stopped: a machine may do that to its own
            venv("exec", "--", "timeout", "-s", "KILL", "1", "true", check=False)
        said = process.stdout.read().decode()
    assert process.returncode == 0 and " 0 of them ours" in said, said


def test_a_machine_that_stops_what_enters(project, venv, guest_program):
    """Its commands hang, but nobody waits for them but who gave them."""
    project.write("box: busybox\nnetworks: []\nmachines: { evil: {} }\n")
    project.file("guest", guest_program, 0o755)
    venv("up")
    with subprocess.Popen(venv.command("exec", "--", "/workspace/guest", "stop", 30), cwd=venv.directory,
                          env=venv.environment(), stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"ready\n"
        for _ in range(5):
            with venv.terminal("exec", "--", "true"):
                time.sleep(0.1)
            began = time.monotonic()
            assert venv.json("stats")
            assert time.monotonic() - began < 5
        assert venv("halt", timeout=30).seconds < 20
        process.wait(timeout=10)
