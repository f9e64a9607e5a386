"""Runs the venv command, with or without a terminal."""

import dataclasses
import fcntl
import glob
import json
import os
import pty
import re
import select
import shlex
import signal
import struct
import subprocess
import termios
import time

TOP = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", "..", ".."))


def find_venv():
    """VENV, else the newest of the installed builds of this checkout."""
    if os.environ.get("VENV"):
        path = os.path.realpath(os.environ["VENV"])
        return path if os.access(path, os.X_OK) else None
    found = glob.glob(os.path.join(TOP, "build", "*", "stage", "bin", "venv"))
    return max(found, key=os.path.getmtime) if found else None


@dataclasses.dataclass
class Result:
    argv: list
    status: int  # as a shell has it: 128 + n when killed by signal n
    out: bytes
    err: bytes
    seconds: float

    @property
    def stdout(self):
        return self.out.decode("utf-8", "replace")

    @property
    def stderr(self):
        return self.err.decode("utf-8", "replace")

    def json(self):
        """The lines of JSON on standard output."""
        return [json.loads(line) for line in self.stdout.splitlines() if line]

    def __str__(self):
        def indent(text):
            lines = text.splitlines()
            cut = [] if len(lines) <= 60 else [f"... {len(lines) - 60} lines ..."]
            return "".join(f"    {line}\n" for line in cut + lines[-60:])
        return (f"$ {shlex.join(self.argv)}\n  status {self.status}, {self.seconds:.2f} s\n"
                f"  stdout:\n{indent(self.stdout)}  stderr:\n{indent(self.stderr)}")


class Venv:
    """venv("up") runs `venv up` in the project's directory and expects status 0."""

    def __init__(self, path, account, sandbox, directory, watch=None):
        self.path = path
        self.account = account
        self.sandbox = sandbox
        self.directory = directory
        self._watch = watch

    def environment(self, extra=None):
        """Nothing of the caller's that could change what the command does."""
        environment = {
            "PATH": os.path.dirname(self.path) + ":/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
            "HOME": os.path.join(self.sandbox, "home"),
            "USER": self.account.name, "LOGNAME": self.account.name, "SHELL": "/bin/sh",
            "XDG_DATA_HOME": os.path.join(self.sandbox, "data"),
            "XDG_CONFIG_HOME": os.path.join(self.sandbox, "config"),
            "TMPDIR": os.path.join(self.sandbox, "tmp"),
            "LANG": "C.UTF-8", "TERM": "xterm-256color",
            **self.account.session,
        }
        # a sanitized build is told how to fail; its helpers are found where the build says
        for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS", "VENV_LIBEXEC", "VENV_BOXES"):
            if name in os.environ:
                environment[name] = os.environ[name]
        for name, value in (extra or {}).items():
            if value is None:
                environment.pop(name, None)
            else:
                environment[name] = str(value)
        return environment

    def command(self, *arguments):
        """The whole command line, for a test that starts it by itself."""
        return [*self.account.prefix, self.path, *map(str, arguments)]

    def run(self, argv, *, stdin=b"", env=None, cwd=None, timeout=60, check=True):
        """Run any program as the test's account in its environment."""
        began = time.monotonic()
        if self._watch:
            self._watch.note_machines()
        if isinstance(stdin, str):
            stdin = stdin.encode()
        with subprocess.Popen([*self.account.prefix, *map(str, argv)], cwd=cwd or self.directory,
                              env=self.environment(env), stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            try:
                out, err = process.communicate(stdin, timeout=timeout)
            except BaseException as error:
                process.kill()
                # a helper that kept our pipes open must not make the test hang
                try:
                    out, err = process.communicate(timeout=2)
                except subprocess.TimeoutExpired:
                    out, err = b"", b"(its output is still held open by another process)"
                if isinstance(error, subprocess.TimeoutExpired):
                    result = Result(list(map(str, argv)), -1, out, err, time.monotonic() - began)
                    raise AssertionError(f"did not end within {timeout} s:\n{result}") from None
                raise
        status = process.returncode if process.returncode >= 0 else 128 - process.returncode
        result = Result(list(map(str, argv)), status, out, err, time.monotonic() - began)
        assert not check or status == 0, f"failed:\n{result}"
        return result

    def __call__(self, *arguments, **options):
        return self.run([self.path, *arguments], **options)

    def fails(self, *arguments, status=None, **options):
        """Run a command that must fail; with this status, if one is given."""
        result = self(*arguments, check=False, **options)
        assert result.status != 0, f"succeeded, but must fail:\n{result}"
        assert result.status < 128 or result.status == 130, f"crashed:\n{result}"
        assert status is None or result.status == status, f"status is not {status}:\n{result}"
        return result

    def lines(self, *arguments, **options):
        """The lines of JSON that a command prints with --json."""
        return self(*arguments, "--json", **options).json()

    def json(self, *arguments, **options):
        """What a command answers with --json: the value of its last line, the result."""
        last = self.lines(*arguments, **options)[-1]
        assert last["type"] == "result", last
        return last["result"]

    def terminal(self, *arguments, rows=24, columns=80, env=None, cwd=None):
        """Start the command on a terminal of its own: a Terminal, to be used by `with`."""
        return Terminal([*self.account.prefix, self.path, *map(str, arguments)], rows, columns,
                        self.environment(env), cwd or self.directory)


class Terminal:
    """A program on a pseudo-terminal, talked to as a person would."""

    def __init__(self, argv, rows, columns, environment, cwd):
        self.argv = argv
        self.seen = b""  # all that it printed
        self._mark = 0  # up to where expect() has read
        self._master, slave = pty.openpty()
        self.resize(rows, columns)
        self.process = subprocess.Popen(argv, stdin=slave, stdout=slave, stderr=slave, cwd=cwd,
                                        env=environment, start_new_session=True,
                                        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        os.close(slave)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._master)

    def resize(self, rows, columns):
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def send(self, text):
        data = text.encode() if isinstance(text, str) else text
        while data:
            data = data[os.write(self._master, data):]

    def hang_up(self):
        """What closing a terminal's window does."""
        os.killpg(self.process.pid, signal.SIGHUP)

    def _read(self, timeout):
        ready, _, _ = select.select([self._master], [], [], timeout)
        if not ready:
            return None
        try:
            data = os.read(self._master, 65536)
        except OSError:  # EIO: nobody has the other side open any more
            data = b""
        self.seen += data
        return data

    def expect(self, pattern, timeout=20):
        """Wait until it prints what matches; gives the match. Looks only at what came since the last match."""
        expression = re.compile(pattern.encode() if isinstance(pattern, str) else pattern)
        deadline = time.monotonic() + timeout
        while True:
            match = expression.search(self.seen, self._mark)
            if match:
                self._mark = match.end()
                return match
            left = deadline - time.monotonic()
            if left <= 0 or self._read(left) in (b"", None):
                rest = self.seen[self._mark:].decode("utf-8", "replace")
                raise AssertionError(f"{shlex.join(self.argv)}: no {pattern!r} in {rest!r}")

    def wait(self, timeout=20):
        """Read to its end; gives its exit status."""
        deadline = time.monotonic() + timeout
        while True:
            left = deadline - time.monotonic()
            assert left > 0, f"{shlex.join(self.argv)} did not end; printed {self.seen[-2000:]!r}"
            data = self._read(min(left, 0.1))
            if data == b"" or (data is None and self.process.poll() is not None):
                break
        status = self.process.wait(timeout=max(0.1, deadline - time.monotonic()))
        return status if status >= 0 else 128 - status
