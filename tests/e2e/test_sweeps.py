"""kill -9 at the n-th system call of a command and all that it starts, for every n until nothing is hit.

After each: what was there before is there, the next command succeeds, and nothing is orphaned. support/kill_at.c
counts, and kills for odd n the process that makes the call, for even n all of them.
"""

import os
import random
import signal
import subprocess

import pytest

SMALL = "box: busybox\nports: [ { host: auto, guest: 80 } ]\n"
HIT, BROKEN = 99, (97, 98)


@pytest.fixture(scope="session")
def kill_at(tmp_path_factory):
    """The path of support/kill_at.c as a program."""
    source = os.path.join(os.path.dirname(__file__), "support", "kill_at.c")
    program = str(tmp_path_factory.mktemp("sweeps") / "kill_at")
    try:
        subprocess.run(["cc", "-O1", "-o", program, source], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no C compiler: {error}")
    return program


@pytest.fixture
def killed_at(kill_at, venv):
    """killed_at(n, ARGUMENT…) runs venv until its n-th call; True when there was one."""
    if os.geteuid() != 0:
        pytest.skip("newuidmap is traced by root only")

    def run(n, *arguments):
        # its first program is the account's prefix, if there is one
        argv = [kill_at, str(n), "all" if n % 2 == 0 else "one", "2" if venv.account.prefix else "1",
                *venv.command(*arguments)]
        status = subprocess.run(argv, cwd=venv.directory, env=venv.environment(), stdin=subprocess.DEVNULL, check=False,
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode
        assert status not in BROKEN, f"n = {n}: status {status}"
        return status == HIT

    return run


def sweep(venv, run):
    """run(n) gives whether anything was hit; ends when three in a row were not, as not each run makes as many calls.
    An ordinary user's differ little from root's: every third of them, others in each run."""
    step = 1 if venv.account.is_root else 3
    n, missed = random.randint(1, step), 0
    while missed < 3:
        try:
            missed = 0 if run(n) else missed + 1
        except AssertionError as error:
            raise AssertionError(f"n = {n}: {error}") from error
        n += step
    print(f"{n} system calls")


def write_data(venv):
    venv("exec", "--", "sh", "-c", "echo precious > /root/data")


def has_data(venv):
    return venv("exec", "--", "cat", "/root/data").stdout == "precious\n"


@pytest.mark.long
@pytest.mark.timeout(5400)
def test_first_up(project, venv, killed_at):
    venv("box", "build", "busybox")
    project.write(SMALL)

    def run(n):
        hit = killed_at(n, "up")
        venv("status")
        venv("up")
        venv("exec", "--", "true")
        venv("destroy", "-f")
        assert project.machines() == []
        return hit

    sweep(venv, run)


@pytest.mark.long
@pytest.mark.timeout(5400)
def test_later_up(project, venv, killed_at):
    project.write(SMALL)
    venv("up")
    write_data(venv)

    def run(n):
        venv("halt", "-f")
        hit = killed_at(n, "up")
        venv("up")
        assert has_data(venv)
        return hit

    sweep(venv, run)


@pytest.mark.long
@pytest.mark.timeout(5400)
def test_halt(project, venv, killed_at):
    project.write(SMALL)
    venv("up")
    write_data(venv)

    def run(n):
        hit = killed_at(n, "halt")
        venv("up")
        assert has_data(venv)
        return hit

    sweep(venv, run)


@pytest.mark.long
@pytest.mark.timeout(5400)
def test_destroy(project, venv, killed_at):
    project.write(SMALL)

    def run(n):
        venv("up")
        hit = killed_at(n, "destroy", "-f")
        venv("destroy", "-f")
        assert project.machines() == []
        assert os.listdir(os.path.join(project.data, "trash")) == []
        return hit

    sweep(venv, run)


@pytest.mark.long
@pytest.mark.timeout(5400)
def test_box_add(project, venv, killed_at):
    project.write("box: x\n")
    project.file("root/bin/sh", "#!")
    project.file("root/etc/passwd", "root:x:0:0::/:/bin/sh\n")
    venv.run(["tar", "-C", "root", "-cf", "x.tar", "."])

    def run(n):
        hit = killed_at(n, "box", "add", "--name", "x", "x.tar")
        venv("box", "list")
        venv("box", "add", "--name", "x", "x.tar")
        venv("box", "remove", "x")
        venv("box", "prune")
        left = os.listdir(os.path.join(project.data, "boxes", "layers"))
        assert left == []
        staged = os.listdir(os.path.join(project.data, "boxes", "stage"))
        assert [name for name in staged if not name.endswith(".making")] == []
        return hit

    sweep(venv, run)


def test_a_few_points_of_a_first_up(project, venv, killed_at):
    """What CI runs of the sweep."""
    venv("box", "build", "busybox")
    project.write(SMALL)
    for n in range(random.randint(100, 300), 3000, 233):
        killed_at(n, "up")
        venv("up")
        venv("exec", "--", "true")
        venv("destroy", "-f")
        assert project.machines() == []


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_helpers_die_while_it_runs(project, venv):
    """Any of a running machine's processes, killed: the next `up` goes on, with all data."""
    project.write(SMALL)
    venv("up")
    write_data(venv)
    for name in ("venv-keeper", "venv-init", "venv-netd", "venv-netns", "venv-uplink"):
        pids = [pid for pid in of_this_sandbox(venv, name)]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        venv("up")
        assert has_data(venv), name
        venv("ssh", "-c", "true")


def of_this_sandbox(venv, name):
    """Our helpers hold files below the sandbox open, or are children of those who do."""
    holders, parents = set(), {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{entry}/stat", encoding="utf-8", errors="replace") as file:
                rest = file.read().rpartition(")")[2].split()
            with open(f"/proc/{entry}/cmdline", "rb") as file:
                command = file.read().split(b"\0")[0].decode(errors="replace")
            links = [os.readlink(f"/proc/{entry}/fd/{fd}") for fd in os.listdir(f"/proc/{entry}/fd")]
        except OSError:
            continue
        parents[int(entry)] = (int(rest[1]), os.path.basename(command))
        if any(link.startswith(venv.sandbox) for link in links):
            holders.add(int(entry))
    for pid, (parent, command) in parents.items():
        if command == name and (pid in holders or parent in holders):
            yield pid
