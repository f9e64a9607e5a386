#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""venv-sess and venv-ssh against OpenSSH's programs, over the fake keeper (commands run on this host).

  test_ssh.py DIRECTORY-WITH-TEST-PROGRAMS [unittest arguments]

VENV_LIBEXEC names the directory of venv-sess and venv-ssh. VENV_SSH_MB is the size of the echo test.
"""
import faulthandler
import filecmp
import hashlib
import os
import pty
import shutil
import signal
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
import time
import unittest

PROGRAMS = sys.argv.pop(1) if len(sys.argv) > 1 and not sys.argv[1].startswith("-") else ""
LIBEXEC = os.environ.get("VENV_LIBEXEC", "")
MEGABYTES = int(os.environ.get("VENV_SSH_MB", "200"))
SECONDS_MAX = 100  # of one test; what hangs says where, and ends


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(condition, seconds=10, what="it"):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"waited {seconds} s for {what}")


def end(process):
    """OpenSSH's client may look for a signal just before one comes, and then waits in poll() for ever."""
    process.terminate()
    try:
        process.wait(2)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class Echo(socketserver.BaseRequestHandler):
    """Answers what it gets in capitals, to its end."""

    def handle(self):
        while data := self.request.recv(65536):
            self.request.sendall(data.upper())


class Case(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.dir = tempfile.mkdtemp(prefix="venv-ssh-")
        cls.keeper = subprocess.Popen(
            [f"{PROGRAMS}/fake_keeper", f"{LIBEXEC}/venv-sess", f"{PROGRAMS}/enter_files", cls.dir],
            stdin=subprocess.PIPE, env={**os.environ, "HOME": cls.dir})
        wait_for(lambda: os.path.exists(f"{cls.dir}/port"), what="the fake keeper")
        with open(f"{cls.dir}/port", encoding="ascii") as f:
            cls.port = int(f.read())
        cls.idle = len(os.listdir(f"/proc/{cls.keeper.pid}/fd"))
        with open(f"{cls.dir}/host.pub", encoding="ascii") as f:
            key = f.read()
        with open(f"{cls.dir}/known", "w", encoding="ascii") as f:
            f.write(f"[127.0.0.1]:{cls.port} {key}")
        cls.options = ["-F", "/dev/null", "-o", f"UserKnownHostsFile={cls.dir}/known", "-o",
                       "IdentitiesOnly=yes", "-o", "BatchMode=yes", "-o", "LogLevel=ERROR",
                       "-i", f"{cls.dir}/id"]
        cls.host = "tester@127.0.0.1"

    def setUp(self):
        watchdog = threading.Timer(SECONDS_MAX, self.tell_where_it_hangs)
        watchdog.daemon = True
        watchdog.start()
        self.addCleanup(watchdog.cancel)

    def tell_where_it_hangs(self):
        print(f"\n{self.id()} hangs", file=sys.stderr)
        faulthandler.dump_traceback(all_threads=True)
        for command in ("ps -eo pid,ppid,stat,etimes,wchan:24,args | grep -E 'ssh|sess|keeper'",
                        "ss -tnop 2>/dev/null | grep -E 'ssh|sess|State'"):
            print(subprocess.run(command, shell=True, capture_output=True, text=True, check=False).stdout,
                  file=sys.stderr)
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/comm", encoding="ascii", errors="replace") as f:
                    name = f.read().strip()
                if name not in ("ssh", "venv-sess", "venv-ssh", "ssh_run"):
                    continue
                with open(f"/proc/{pid}/syscall", encoding="ascii") as f:
                    print(pid, name, f.read(), file=sys.stderr)
                if shutil.which("gdb"):
                    print(subprocess.run(["gdb", "-batch", "-ex", "bt", "-p", pid], text=True,
                                         capture_output=True, check=False).stdout, file=sys.stderr)
                os.kill(int(pid), signal.SIGKILL)
            except OSError:
                pass

    @classmethod
    def tearDownClass(cls):
        cls.keeper.stdin.close()
        cls.keeper.wait(10)
        shutil.rmtree(cls.dir, ignore_errors=True)

    def ssh_argv(self, *args, options=(), user="tester"):
        return ["ssh", *self.options, *options, "-p", str(self.port), f"{user}@127.0.0.1", *args]

    def ssh(self, *args, options=(), user="tester", **more):
        more.setdefault("timeout", 60)
        more.setdefault("stdin", subprocess.DEVNULL if "input" not in more else None)
        if "input" in more:
            del more["stdin"]
        return subprocess.run(self.ssh_argv(*args, options=options, user=user), capture_output=True,
                              check=False, **more)

    def run_argv(self, *args, options=(), host_key=None, key=None):
        return [f"{PROGRAMS}/ssh_run", *options, str(self.port), key or f"{self.dir}/id",
                host_key or f"{self.dir}/host.pub", *args]

    def run_ours(self, *args, options=(), host_key=None, key=None, **more):
        more.setdefault("timeout", 60)
        if "input" not in more:
            more.setdefault("stdin", subprocess.DEVNULL)
        return subprocess.run(self.run_argv(*args, options=options, host_key=host_key, key=key),
                              capture_output=True, check=False, **more)

    def connections(self):
        """Descriptors of the keeper: two for each session, one for each command."""
        return len(os.listdir(f"/proc/{self.keeper.pid}/fd"))

    def wait_idle(self):
        wait_for(lambda: self.connections() <= self.idle, what="the sessions' end")


class Commands(Case):
    def test_status_and_streams(self):
        r = self.ssh("echo out; echo err >&2; exit 3")
        self.assertEqual((r.returncode, r.stdout, r.stderr), (3, b"out\n", b"err\n"))

    def test_streams_can_be_opened_by_name(self):
        r = self.ssh("echo out >/dev/stdout; echo err >/dev/stderr; cat /dev/stdin", input=b"in")
        self.assertEqual((r.returncode, r.stdout, r.stderr), (0, b"out\nin", b"err\n"))

    def test_death_by_signal(self):
        self.assertEqual(self.ssh("kill -KILL $$").returncode, 255)
        self.assertEqual(self.run_ours("kill -KILL $$").returncode, 128 + 9)
        self.assertEqual(self.run_ours("kill -USR1 $$").returncode, 128 + 10)

    def test_stdin_end_and_large_stderr(self):
        data = os.urandom(3_000_001)
        r = self.ssh("wc -c; head -c 500000 /dev/zero >&2", input=data)
        self.assertEqual((r.stdout.strip(), len(r.stderr)), (b"3000001", 500000))

    def test_command_that_does_not_read(self):
        r = self.ssh("echo first; exec <&-; sleep 0.2; echo last", input=b"x" * 5_000_000)
        self.assertEqual((r.returncode, r.stdout), (0, b"first\nlast\n"))

    def test_environment(self):
        r = self.ssh("env", options=["-o", "SetEnv=FOO_1=bär LANG=C.UTF-8 LD_PRELOAD=/x"])
        env = r.stdout.decode()
        self.assertIn("FOO_1=bär\n", env)
        self.assertIn("LANG=C.UTF-8\n", env)
        self.assertIn("VENV_MACHINE=test\n", env)
        self.assertRegex(env, r"SSH_CLIENT=127\.0\.0\.1 \d+ \d+\n")
        self.assertRegex(env, rf"SSH_CONNECTION=127\.0\.0\.1 \d+ 127\.0\.0\.1 {self.port}\n")
        self.assertNotIn("LD_PRELOAD=/x", env)

    def test_shell_without_terminal(self):
        r = self.ssh(input=b"echo $((6*7)); exit 4\n")
        self.assertEqual((r.returncode, r.stdout), (4, b"42\n"))

    def test_quiet_and_long(self):
        command = "true " + "x" * 50000
        self.assertEqual(self.ssh(command).returncode, 0)

    def test_too_long_is_said(self):
        for _ in range(8):  # by the first, and by those for which a connection to the keeper waits
            r = self.ssh("true " + "x" * 100000)
            self.assertEqual(r.returncode, 125)
            self.assertIn(b"too long", r.stderr)

    def test_unknown_user_is_said(self):
        r = self.ssh("true", user="nobody-here")
        self.assertEqual(r.returncode, 125)
        self.assertIn(b"does not exist in the machine", r.stderr)

    def test_rekey_loses_nothing(self):
        data = os.urandom(20_000_000)
        r = self.ssh("cat", options=["-o", "RekeyLimit=1M"], input=data)
        self.assertEqual(hashlib.sha256(r.stdout).digest(), hashlib.sha256(data).digest())

    def test_keepalive(self):
        r = self.ssh("sleep 3.5; echo there", options=["-o", "ServerAliveInterval=1", "-o",
                                                       "ServerAliveCountMax=1"])
        self.assertEqual(r.stdout, b"there\n")

    def test_hangup_reaches_the_command(self):
        mark = f"{self.dir}/hup"
        p = subprocess.Popen(self.ssh_argv(f"exec 2>/dev/null; trap 'echo hup >{mark}; exit' HUP; echo up; "
                                           "while :; do sleep 0.1; done"), stdout=subprocess.PIPE)
        self.assertEqual(p.stdout.readline(), b"up\n")
        p.kill()
        p.wait()
        p.stdout.close()
        wait_for(lambda: os.path.exists(mark), what="SIGHUP")

    def test_background_process_keeps_its_output(self):
        r = self.ssh("(sleep 0.5; echo late) & echo early")
        self.assertEqual(r.stdout, b"early\nlate\n")

    def test_twenty_at_once_over_one_connection(self):
        control = f"{self.dir}/cm"
        master = subprocess.Popen(self.ssh_argv("-N", options=["-M", "-S", control]),
                                  stdin=subprocess.DEVNULL)
        try:
            wait_for(lambda: os.path.exists(control), what="the master")
            jobs = [subprocess.Popen(self.ssh_argv(f"head -c 3000000 /dev/urandom | tee {self.dir}/m{i}",
                                                   options=["-S", control]),
                                     stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
                    for i in range(20)]
            for i, job in enumerate(jobs):
                got = job.communicate(timeout=60)[0]
                with open(f"{self.dir}/m{i}", "rb") as f:
                    self.assertEqual(hashlib.sha256(got).digest(), hashlib.sha256(f.read()).digest())
            started = time.monotonic()
            stuck = subprocess.Popen(self.ssh_argv("cat", options=["-S", control]),
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            self.assertEqual(self.ssh("echo beside", options=["-S", control]).stdout, b"beside\n")
            self.assertLess(time.monotonic() - started, 5)
            stuck.communicate()
        finally:
            end(master)

    def test_echo(self):
        """Every byte both ways, OpenSSH's client and ours."""
        for argv in (self.ssh_argv("cat"), self.run_argv("cat")):
            self.echo(argv, MEGABYTES)

    def echo(self, argv, megabytes):
        sent, got = hashlib.sha256(), hashlib.sha256()
        block = os.urandom(1 << 20)
        p = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

        def feed():
            for i in range(megabytes):
                data = block[i % 4096:] + block[:i % 4096]
                sent.update(data)
                p.stdin.write(data)
            p.stdin.close()

        thread = threading.Thread(target=feed)
        thread.start()
        count = 0
        while data := p.stdout.read(1 << 20):
            got.update(data)
            count += len(data)
        thread.join()
        self.assertEqual((p.wait(), count), (0, megabytes << 20))
        self.assertEqual(got.digest(), sent.digest())
        p.stdout.close()


class Terminals(Case):
    def start(self, argv, pass_fds=()):
        master, slave = pty.openpty()
        p = subprocess.Popen(argv, stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
                             pass_fds=pass_fds)
        os.close(slave)
        return p, master

    def read_until(self, fd, text, seconds=15):
        got = b""
        end = time.monotonic() + seconds
        os.set_blocking(fd, False)
        while text not in got and time.monotonic() < end:
            try:
                got += os.read(fd, 4096)
            except BlockingIOError:
                time.sleep(0.01)
            except OSError:
                break
        self.assertIn(text, got)
        return got

    def test_openssh(self):
        p, fd = self.start(self.ssh_argv("echo T=$TERM; stty size; tty -s && echo tty; read a; "
                                         "stty size; exit 9", options=["-tt"]))
        import fcntl
        import struct
        import termios
        self.read_until(fd, b"tty\r\n")
        fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 111, 0, 0))
        p.send_signal(signal.SIGWINCH)
        time.sleep(0.3)
        os.write(fd, b"\r")
        self.read_until(fd, b"33 111")
        self.assertEqual(p.wait(10), 9)
        os.close(fd)

    def test_interrupt_key(self):
        p, fd = self.start(self.ssh_argv("trap 'echo INT; exit 5' INT; echo ready; while :; do sleep 0.1; "
                                         "done", options=["-tt"]))
        self.read_until(fd, b"ready")
        os.write(fd, b"\x03")
        self.read_until(fd, b"INT")
        self.assertEqual(p.wait(10), 5)
        os.close(fd)

    def test_last_output_arrives(self):
        for _ in range(5):
            r = self.ssh("seq 1 20000", options=["-tt"])
            self.assertEqual((len(r.stdout.split()), r.stdout.split()[-1]), (20000, b"20000"))

    def test_background_process_does_not_hold_a_terminal(self):
        started = time.monotonic()
        r = self.ssh("setsid sleep 20 & echo done", options=["-tt"])
        self.assertIn(b"done", r.stdout)
        self.assertLess(time.monotonic() - started, 5)

    def test_ours(self):
        r, w = os.pipe()
        os.dup2(r, 9, inheritable=True)
        p, fd = self.start(self.run_argv("echo T=$TERM; stty size; trap 'echo GOT; stty size; exit 6' USR1; "
                                         "echo ready; while :; do sleep 0.05; done", options=["-t"]),
                           pass_fds=(9,))
        got = self.read_until(fd, b"ready")
        self.assertIn(b"T=xterm", got)
        self.assertIn(b"24 80", got)
        os.write(w, b"resize 40 100\nsignal 10\n")
        got = self.read_until(fd, b"40 100")
        self.assertIn(b"GOT", got)
        self.assertEqual(p.wait(10), 6)
        for each in (fd, w, r, 9):
            os.close(each)


class Files(Case):
    def setUp(self):
        self.work = tempfile.mkdtemp(dir=self.dir)
        self.src = f"{self.work}/src"
        os.makedirs(f"{self.src}/a/b")
        os.makedirs(f"{self.src}/sp ace")
        with open(f"{self.src}/big", "wb") as f:
            f.write(os.urandom(5_000_003))
        for name in ("empty", "a/b/c", "sp ace/f 1", "a/x*y"):
            with open(f"{self.src}/{name}", "w", encoding="ascii") as f:
                f.write("" if name == "empty" else name)
        os.chmod(f"{self.src}/a/b/c", 0o640)
        os.utime(f"{self.src}/a/b/c", (1_000_000_000, 1_100_000_000))

    def same(self, left, right):
        def check(c):
            self.assertEqual((c.left_only, c.right_only, c.diff_files, c.funny_files), ([], [], [], []))
            for sub in c.subdirs.values():
                check(sub)
        filecmp.clear_cache()
        check(filecmp.dircmp(left, right))

    def scp(self, *args, ok=True):
        r = subprocess.run(["scp", *self.options, "-P", str(self.port), *args], capture_output=True,
                           check=False, timeout=60, stdin=subprocess.DEVNULL)
        if ok:
            self.assertEqual(r.returncode, 0, r.stderr)
        return r

    @unittest.skipUnless(shutil.which("scp"), "no scp")
    def test_scp(self):
        for protocol in ([], ["-O"]):
            with self.subTest(protocol=protocol):
                there = f"{self.work}/there{len(protocol)}"
                back = f"{self.work}/back{len(protocol)}"
                self.scp(*protocol, "-rp", self.src, f"{self.host}:{there}")
                self.same(self.src, there)
                self.assertEqual(os.stat(f"{there}/a/b/c").st_mode & 0o777, 0o640)
                self.assertEqual(os.stat(f"{there}/a/b/c").st_mtime, 1_100_000_000)
                self.scp(*protocol, "-rp", f"{self.host}:{there}", back)
                self.same(self.src, back)
                self.assertEqual(os.stat(f"{back}/a/b/c").st_mtime, 1_100_000_000)
                r = self.scp(*protocol, f"{self.host}:/no/such", self.work, ok=False)
                self.assertEqual(r.returncode, 1 if protocol else r.returncode)
                self.assertIn(b"No such file", r.stderr)

    @unittest.skipUnless(shutil.which("scp"), "no scp")
    def test_old_scp_expands(self):
        os.mkdir(f"{self.work}/g")
        self.scp("-O", f"{self.host}:{self.src}/b*", f"{self.host}:{self.src}/[e]mpty", f"{self.work}/g")
        self.assertEqual(sorted(os.listdir(f"{self.work}/g")), ["big", "empty"])
        shutil.copy(f"{self.src}/empty", f"{self.dir}/in-home")
        self.scp("-O", f"{self.host}:in-home", f"{self.work}/g/1")
        self.scp("-O", f"{self.host}:~/in-home", f"{self.work}/g/2")
        self.scp(f"{self.host}:~/in-home", f"{self.work}/g/3")
        self.scp("-O", "-T", f"{self.host}:{self.src}/sp\\ ace/f\\ 1", f"{self.work}/g")
        self.assertTrue(os.path.exists(f"{self.work}/g/f 1"))

    @unittest.skipUnless(shutil.which("sftp"), "no sftp")
    def test_sftp(self):
        batch = f"cd {self.work}\nmkdir d\nput -R src d\nls -l d/src\nchmod 600 d/src/big\n" \
                "rename d/src d/new\nrm d/new/empty\nln -s new d/link\nln d/new/big d/hard\ndf d\n" \
                "get -p d/new/big out\nls -l d\nreget d/new/big out2\ncp d/new/big d/copy\n" \
                "-rmdir nothing\nbye\n"
        r = subprocess.run(["sftp", *self.options, "-P", str(self.port), "-b", "-", self.host],
                           input=batch.encode(), capture_output=True, check=False, timeout=60,
                           cwd=self.work)
        self.assertEqual(r.returncode, 0, r.stdout + r.stderr)
        for name in ("d/new/big", "d/hard", "out", "out2", "d/copy"):
            self.assertTrue(filecmp.cmp(f"{self.src}/big", f"{self.work}/{name}", shallow=False), name)
        self.assertEqual(os.readlink(f"{self.work}/d/link"), "new")
        self.assertFalse(os.path.exists(f"{self.work}/d/new/empty"))
        self.assertEqual(os.stat(f"{self.work}/d/new/big").st_mode & 0o777, 0o600)

    @unittest.skipUnless(shutil.which("rsync"), "no rsync")
    def test_rsync(self):
        shell = " ".join(["ssh", *self.options, "-p", str(self.port)])
        for source, target in ((f"{self.src}/", f"{self.host}:{self.work}/rs/"),
                               (f"{self.host}:{self.src}/", f"{self.work}/rs2/")):
            r = subprocess.run(["rsync", "-a", "-e", shell, source, target], capture_output=True,
                               check=False, timeout=60)
            self.assertEqual(r.returncode, 0, r.stderr)
        self.same(self.src, f"{self.work}/rs")
        self.same(self.src, f"{self.work}/rs2")


class Forwarding(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        socketserver.ThreadingTCPServer.daemon_threads = True
        socketserver.ThreadingTCPServer.request_queue_size = 64
        cls.echo = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo)
        cls.echo_port = cls.echo.server_address[1]
        threading.Thread(target=cls.echo.serve_forever, daemon=True).start()

    @classmethod
    def tearDownClass(cls):
        cls.echo.shutdown()
        cls.echo.server_close()
        super().tearDownClass()

    def forward(self, *options):
        p = subprocess.Popen(self.ssh_argv("-N", options=["-o", "ExitOnForwardFailure=yes", *options]),
                             stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self.addCleanup(lambda: (end(p), p.stderr.close()))
        return p

    @staticmethod
    def connect(port):
        def attempt():
            try:
                return socket.create_connection(("127.0.0.1", port), 5)
            except OSError:
                return None
        return wait_for(attempt, what=f"port {port}")

    def exchange(self, s, size=1_000_000):
        data = bytes(b"abcdefghij" * (size // 10))
        threading.Thread(target=lambda: (s.sendall(data), s.shutdown(socket.SHUT_WR))).start()
        got = b""
        while part := s.recv(65536):
            got += part
        self.assertEqual(got, data.upper())
        s.close()

    def test_local(self):
        port = free_port()
        self.forward("-L", f"127.0.0.1:{port}:127.0.0.1:{self.echo_port}")
        many = [self.connect(port) for _ in range(30)]
        for s in many:
            self.exchange(s, 200_000)

    def test_refused_is_told(self):
        r = self.ssh(options=["-W", f"127.0.0.1:{free_port()}"])
        self.assertEqual(r.returncode, 255)
        r = self.ssh(options=["-W", f"127.0.0.1:{self.echo_port}"], input=b"hello")
        self.assertEqual((r.returncode, r.stdout), (0, b"HELLO"))

    def test_dynamic(self):
        port = free_port()
        self.forward("-D", f"127.0.0.1:{port}")
        s = self.connect(port)
        s.sendall(b"\x05\x01\x00")
        self.assertEqual(s.recv(2), b"\x05\x00")
        s.sendall(b"\x05\x01\x00\x03\x09localhost" + self.echo_port.to_bytes(2, "big"))
        self.assertEqual(s.recv(10)[:2], b"\x05\x00")
        self.exchange(s)

    def test_remote(self):
        port = free_port()
        self.forward("-R", f"127.0.0.1:{port}:127.0.0.1:{self.echo_port}")
        for s in [self.connect(port) for _ in range(10)]:
            self.exchange(s, 200_000)

    def test_remote_port_is_chosen_taken_and_given_back(self):
        control = f"{self.dir}/cmr"
        self.forward("-M", "-S", control)
        wait_for(lambda: os.path.exists(control), what="the master")
        r = self.ssh(options=["-S", control, "-O", "forward", "-R",
                              f"0:127.0.0.1:{self.echo_port}"])
        port = int(r.stdout)
        self.exchange(self.connect(port))
        r = self.ssh(options=["-S", control, "-O", "forward", "-R",
                              f"{self.echo_port}:127.0.0.1:1"])
        self.assertNotEqual(r.returncode, 0)
        port = free_port()
        forward = f"{port}:127.0.0.1:{self.echo_port}"
        self.assertEqual(self.ssh(options=["-S", control, "-O", "forward", "-R", forward]).returncode, 0)
        self.exchange(self.connect(port))
        self.assertEqual(self.ssh(options=["-S", control, "-O", "cancel", "-R", forward]).returncode, 0)
        with self.assertRaises(OSError):
            time.sleep(0.3)
            socket.create_connection(("127.0.0.1", port), 2).close()

    @unittest.skipUnless(shutil.which("ssh-agent"), "no ssh-agent")
    def test_agent(self):
        path = f"{self.dir}/agent.sock"
        agent = subprocess.Popen(["ssh-agent", "-D", "-a", path], stdout=subprocess.DEVNULL)
        try:
            wait_for(lambda: os.path.exists(path), what="the agent")
            env = {**os.environ, "SSH_AUTH_SOCK": path}
            subprocess.run(["ssh-add", "-q", f"{self.dir}/id"], env=env, check=True)
            r = self.ssh("ssh-add -l; ssh-add -l >/dev/null && echo twice", options=["-A"], env=env)
            self.assertIn(b"ED25519", r.stdout)
            self.assertIn(b"twice", r.stdout)
            r = self.run_ours("ssh-add -l; ssh-add -l >/dev/null && echo twice", options=["-A", path])
            self.assertIn(b"ED25519", r.stdout)
            self.assertIn(b"twice", r.stdout)
            r = self.ssh("echo ${SSH_AUTH_SOCK-none}", env={**os.environ, "SSH_AUTH_SOCK": ""})
            self.assertEqual(r.stdout, b"none\n")
        finally:
            agent.terminate()
            agent.wait()


class Client(Case):
    def test_status_streams_environment(self):
        r = self.run_ours("echo out; echo err >&2; echo $A_B; exit 7", options=["-e", "A_B=c d"])
        self.assertEqual((r.returncode, r.stdout, r.stderr), (7, b"out\nc d\n", b"err\n"))

    def test_command_bytes(self):
        r = self.run_ours("printf %s 'grüße \u4e16'")
        self.assertEqual(r.stdout.decode(), "grüße \u4e16")

    def test_shell(self):
        r = self.run_ours(input=b"echo $((6*7)); exit 4\n")
        self.assertEqual((r.returncode, r.stdout), (4, b"42\n"))

    def test_wrong_host_key(self):
        r = self.run_ours("true", host_key=f"{self.dir}/id.pub")
        self.assertEqual(r.returncode, 255)
        self.assertIn(b"host key", r.stderr)
        self.assertIn(f"{self.dir}/id.pub".encode(), r.stderr)
        self.assertIn(b"hint:", r.stderr)

    def test_refused_key(self):
        r = self.run_ours("true", key=f"{self.dir}/host")
        self.assertEqual(r.returncode, 255)
        self.assertIn(b"refused the key for user 'tester'", r.stderr)

    def test_server_that_says_nothing_good(self):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            s.listen()
            def answer():
                c = s.accept()[0]
                c.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 100)
                c.close()
            threading.Thread(target=answer).start()
            argv = self.run_argv("true")
            argv[argv.index(str(self.port))] = str(s.getsockname()[1])
            r = subprocess.run(argv, capture_output=True, check=False, timeout=40,
                               stdin=subprocess.DEVNULL)
        self.assertEqual(r.returncode, 255)
        self.assertIn(b"cannot connect", r.stderr)

    def test_cancel(self):
        started = time.monotonic()
        r = self.run_ours("sleep 30", options=["-c", "1"])
        self.assertEqual(r.returncode, 255)
        self.assertIn(b"cancelled", r.stderr)
        self.assertLess(time.monotonic() - started, 5)

    def test_output_nobody_reads(self):
        p = subprocess.Popen(self.run_argv("yes"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        p.stdout.read(100)
        p.stdout.close()
        time.sleep(0.3)
        p.terminate()
        p.wait(10)

    def test_output_to_file_and_blocking_socket(self):
        with tempfile.TemporaryFile() as f:
            subprocess.run(self.run_argv("seq 1 100000"), stdin=subprocess.DEVNULL, stdout=f, check=True,
                           timeout=30)
            self.assertEqual(f.seek(0, 2), 588895)
        left, right = socket.socketpair()
        p = subprocess.Popen(self.run_argv("seq 1 100000"), stdin=subprocess.DEVNULL, stdout=right)
        right.close()
        time.sleep(0.5)
        got = 0
        while data := left.recv(65536):
            got += len(data)
        self.assertEqual((got, p.wait(10)), (588895, 0))
        left.close()


class Hostile(Case):
    def test_garbage(self):
        for data in (b"", b"GET / HTTP/1.0\r\n\r\n", os.urandom(100_000),
                     b"SSH-2.0-x\r\n" + os.urandom(100_000), b"SSH-2.0-x\r\n" + b"\x00\x00\xff\xff" * 9999):
            with self.subTest(data=data[:16]), socket.create_connection(("127.0.0.1", self.port)) as s:
                try:
                    s.sendall(data)
                    s.shutdown(socket.SHUT_WR)
                    s.settimeout(20)
                    while s.recv(65536):
                        pass
                except ConnectionError:
                    pass
        self.wait_idle()

    def test_other_key_and_methods(self):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{self.dir}/other"],
                       check=True)
        argv = self.ssh_argv("true")
        argv[argv.index(f"{self.dir}/id")] = f"{self.dir}/other"
        r = subprocess.run(argv, capture_output=True, check=False, timeout=20)
        self.assertEqual(r.returncode, 255)
        self.assertIn(b"publickey", r.stderr)

    def test_storm(self):
        jobs = [subprocess.Popen(self.ssh_argv("echo x"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
                for _ in range(20)]
        for job in jobs:
            self.assertEqual(job.communicate(timeout=60)[0], b"x\n")

    def test_killed_client_leaves_nothing(self):
        p = subprocess.Popen(self.ssh_argv("echo up; sleep 100"), stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE)
        p.stdout.readline()
        p.kill()
        p.wait()
        p.stdout.close()
        self.wait_idle()


if __name__ == "__main__":
    if not shutil.which("ssh") or not PROGRAMS:
        print("skipped: no ssh client, or no programs named")
        sys.exit(77)
    unittest.main(verbosity=2)
