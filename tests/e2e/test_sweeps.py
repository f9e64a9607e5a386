"""kill -9 at the n-th system call of every process of a command, for n growing until nothing is hit.

After each: what was there before is there, the next command succeeds, and nothing is orphaned. strace
injects the signal; it follows threads and helpers, and counts for each of them apart, so that one run
may lose several processes, each at its own n-th call.
"""

import os
import random
import shutil
import signal
import subprocess
import time

import pytest

pytestmark = pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")

SMALL = "box: busybox\nports: [ { host: auto, guest: 80 } ]\n"


def tracers(venv):
    """strace processes that work in the sandbox."""
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{entry}/comm", encoding="ascii", errors="replace") as file:
                if file.read() == "strace\n" and \
                        os.readlink(f"/proc/{entry}/cwd").startswith(venv.sandbox):
                    yield int(entry)
        except OSError:
            continue


def killed_at(venv, n, *arguments):
    """Run venv with everything killed at its n-th call; True when the command was hit."""
    # -D: the command is our child and strace is not, so that its end is seen under helpers that stay
    argv = [*venv.account.prefix, "strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", "trace=all",
            "-e", "signal=none", "-e", f"inject=all:signal=KILL:when={n}", venv.path, *arguments]
    with subprocess.Popen(argv, cwd=venv.directory, env=venv.environment(), stdin=subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            status = process.wait(timeout=60)
        finally:
            for pid in tracers(venv):
                os.kill(pid, signal.SIGTERM)
            deadline = time.monotonic() + 5
            while list(tracers(venv)) and time.monotonic() < deadline:
                time.sleep(0.01)
    return status != 0


def points(seed, dense):
    """1, 2, 3 … growing; everybody's n is hit somewhere in the long run."""
    generator = random.Random(seed)
    n = 1
    while n < 4000:
        yield n
        n += 1 if dense and n < 400 else max(1, int(n * generator.uniform(0.15, 0.45)))


def dense(request):
    return "long" in (request.config.getoption("-m") or "").split("not ")[0]


def sweep(request, seed, run):
    """run(n) gives whether anything was hit; ends when three in a row were not."""
    missed = 0
    for n in points(seed, dense(request)):
        missed = 0 if run(n) else missed + 1
        if missed == 3:
            return


def write_data(venv):
    venv("exec", "--", "sh", "-c", "echo precious > /root/data")


def has_data(venv):
    return venv("exec", "--", "cat", "/root/data").stdout == "precious\n"


@pytest.mark.long
@pytest.mark.timeout(3000)
def test_first_up(project, venv, request):
    venv("box", "build", "busybox")
    project.write(SMALL)

    def run(n):
        hit = killed_at(venv, n, "up")
        venv("status")
        venv("up")
        venv("exec", "--", "true")
        venv("destroy", "-f")
        assert project.machines() == [], f"after n = {n}"
        return hit

    sweep(request, "up", run)


@pytest.mark.long
@pytest.mark.timeout(3000)
def test_later_up(project, venv, request):
    project.write(SMALL)
    venv("up")
    write_data(venv)

    def run(n):
        venv("halt", "-f")
        hit = killed_at(venv, n, "up")
        venv("up")
        assert has_data(venv), f"after n = {n}"
        return hit

    sweep(request, "later", run)


@pytest.mark.long
@pytest.mark.timeout(3000)
def test_halt(project, venv, request):
    project.write(SMALL)
    venv("up")
    write_data(venv)

    def run(n):
        hit = killed_at(venv, n, "halt")
        venv("up")
        assert has_data(venv), f"after n = {n}"
        return hit

    sweep(request, "halt", run)


@pytest.mark.long
@pytest.mark.timeout(3000)
def test_destroy(project, venv, request):
    project.write(SMALL)

    def run(n):
        venv("up")
        hit = killed_at(venv, n, "destroy", "-f")
        venv("destroy", "-f")
        assert project.machines() == [], f"after n = {n}"
        assert os.listdir(os.path.join(project.data, "trash")) == [], f"after n = {n}"
        return hit

    sweep(request, "destroy", run)


@pytest.mark.long
@pytest.mark.timeout(3000)
def test_box_add(project, venv, request):
    project.write("box: x\n")
    project.file("root/bin/sh", "#!")
    project.file("root/etc/passwd", "root:x:0:0::/:/bin/sh\n")
    venv.run(["tar", "-C", "root", "-cf", "x.tar", "."])

    def run(n):
        hit = killed_at(venv, n, "box", "add", "--name", "x", "x.tar")
        venv("box", "list")
        venv("box", "add", "--name", "x", "x.tar")
        venv("box", "remove", "x")
        venv("box", "prune")
        left = os.listdir(os.path.join(project.data, "boxes", "layers"))
        assert left == [], f"after n = {n}"
        staged = os.listdir(os.path.join(project.data, "boxes", "stage"))
        assert [name for name in staged if not name.endswith(".making")] == [], f"after n = {n}"
        return hit

    sweep(request, "add", run)


def test_a_few_points_of_a_first_up(project, venv):
    """What CI runs of the sweep."""
    venv("box", "build", "busybox")
    project.write(SMALL)
    for n in (20, 60, 95, 130, 180, 260):
        killed_at(venv, n, "up")
        venv("up")
        venv("exec", "--", "true")
        venv("destroy", "-f")
        assert project.machines() == [], f"after n = {n}"


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
