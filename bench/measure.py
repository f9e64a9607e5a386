"""Timing and memory, with as little of this program in it as can be."""

import os
import signal
import statistics
import subprocess
import time

DEV_NULL = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)


class Failed(Exception):
    """A command did not do what the row needs; the row says so."""


class Figures:
    """Runs of one command, in seconds (or whatever the row's unit is)."""

    def __init__(self, values=()):
        self.values = list(values)

    def add(self, value):
        self.values.append(value)

    @property
    def median(self):
        return statistics.median(self.values)

    def __len__(self):
        return len(self.values)


def spawn(argv, env, cwd, stdin=None, stdout=None, timeout=120):
    """Run a program to its end by vfork; gives (seconds, status). Standard error goes to a file."""
    log = os.open(os.path.join(env["BENCH_DIR"], "stderr"), os.O_CREAT | os.O_TRUNC | os.O_RDWR, 0o644)
    actions = [(os.POSIX_SPAWN_DUP2, DEV_NULL if stdin is None else stdin, 0),
               (os.POSIX_SPAWN_DUP2, DEV_NULL if stdout is None else stdout, 1),
               (os.POSIX_SPAWN_DUP2, log, 2)]
    previous = os.getcwd()
    os.chdir(cwd)
    try:
        began = time.perf_counter()
        pid = os.posix_spawnp(argv[0], argv, env, file_actions=actions)

        def give_up(_signal, _frame):
            os.kill(pid, signal.SIGKILL)

        signal.signal(signal.SIGALRM, give_up)
        signal.alarm(timeout)
        _, status = os.waitpid(pid, 0)
        elapsed = time.perf_counter() - began
        signal.alarm(0)
    finally:
        os.chdir(previous)
        os.close(log)
    return elapsed, os.waitstatus_to_exitcode(status)


def timed(argv, env, cwd, **options):
    """Seconds that a command took; Failed with its last line when its status is not 0."""
    seconds, status = spawn(argv, env, cwd, **options)
    if status != 0:
        raise Failed(f"`{' '.join(argv)}`: status {status}: {last_line(env)}")
    return seconds


def last_line(env):
    with open(os.path.join(env["BENCH_DIR"], "stderr"), encoding="utf-8", errors="replace") as file:
        lines = [line.strip() for line in file if line.strip()]
    errors = [line for line in lines if line.startswith("error")]
    return (errors or lines or ["(it said nothing)"])[-1 if not errors else 0][:200]


def output(argv, env, cwd, timeout=120):
    result = subprocess.run(argv, env=env, cwd=cwd, stdin=subprocess.DEVNULL, check=False,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout)
    if result.returncode != 0:
        text = result.stderr.decode("utf-8", "replace").strip().splitlines()
        raise Failed(f"`{' '.join(argv)}`: status {result.returncode}: {(text or ['?'])[-1][:200]}")
    return result.stdout.decode("utf-8", "replace")


def processes():
    """(pid, program, parent) of all processes."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            program = os.readlink(f"/proc/{pid}/exe").removesuffix(" (deleted)")
            with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
                parent = int(file.read().rpartition(")")[2].split()[1])
        except OSError:
            continue
        yield int(pid), program, parent


def pss(pid):
    """Bytes of memory that a process accounts for, shared pages divided among who shares them."""
    try:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
            for line in file:
                if line.startswith("Pss:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0
