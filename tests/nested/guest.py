#!/usr/bin/env python3
"""Our own /init and agent in venv-vmm, inside the nested host: guest.py LIBEXEC KERNEL_DIR ROOTFS_TAR [CASE...]

KERNEL_DIR is what boxes/kernel-debian-12/build packs. Each case boots the box of ROOTFS_TAR from a disk made of it and
speaks to the agent as providers/kvm/guest/protocol.h says it.
"""

import os
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import threading
import time

from monitor import CMDLINE, MIB, Machine, cpio

PATIENCE = 120
REQUEST, REPLY, IN, OUT, ERR, CREDIT, DEAF, SIGNAL, SIZE, EXIT = range(1, 11)
PORT = 7070


class Closed(Exception):
    pass


class Agent:
    """A connection that carries one request."""

    def __init__(self, path, *words):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(PATIENCE)
        self.socket.connect(path)
        self.socket.sendall(b"CONNECT %d\n" % PORT)
        line = b""
        while not line.endswith(b"\n"):
            byte = self.socket.recv(1)
            if not byte:
                raise Closed()
            line += byte
        self.window = 256 * 1024
        self.send(REQUEST, b"".join((w if isinstance(w, bytes) else w.encode()) + b"\0" for w in words))
        kind, data = self.receive()
        assert kind == REPLY, kind
        self.reply = data.rstrip(b"\0").split(b"\0")

    def send(self, kind, data=b""):
        self.socket.sendall(struct.pack("<IBxxx", len(data), kind) + data)

    def exactly(self, count):
        data = b""
        while len(data) < count:
            more = self.socket.recv(count - len(data))
            if not more:
                raise Closed()
            data += more
        return data

    def receive(self):
        length, kind = struct.unpack("<IBxxx", self.exactly(8))
        return kind, self.exactly(length)

    def ok(self):
        assert self.reply[0] == b"ok", self.reply
        return dict(word.split(b"=", 1) for word in self.reply[1:])

    def run(self, data=b""):
        """Feed a command, and collect what it says until all has ended: (status, out, err)."""
        self.ok()
        out, err, status, open_streams, sent_end = b"", b"", None, 2, False
        while status is None or open_streams:
            while data and self.window:
                piece = data[:min(self.window, 32768)]
                data = data[len(piece):]
                self.window -= len(piece)
                self.send(IN, piece)
            if not data and not sent_end:
                sent_end = True
                self.send(IN)
            kind, body = self.receive()
            if kind == OUT:
                out += body
                open_streams -= not body
            elif kind == ERR:
                err += body
                open_streams -= not body
            elif kind == CREDIT:
                self.window += struct.unpack("<I", body)[0]
            elif kind == DEAF:
                data = b""
            elif kind == EXIT:
                status = struct.unpack("<I", body)[0]
        return status, out, err


class Guest(Machine):
    def __init__(self, bench, *words, serial="root", devices=(), memory=256):
        self.place = tempfile.mkdtemp(prefix="guest-")
        self.vsock = self.place + "/vsock"
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(self.vsock)
        listener.listen(64)
        listener.setblocking(False)
        disk = self.place + "/disk.raw"
        subprocess.run(["cp", "--sparse=always", bench.disk, disk], check=True)
        kernel = os.open(bench.kernel + "/vmlinux", os.O_RDONLY)
        initrd = os.memfd_create("initrd")
        os.write(initrd, bench.initramfs(words))
        machine = {"name": "test", "memory": memory * MIB, "cpus": 1, "kernel": kernel, "initrd": initrd, "cmdline": CMDLINE,
                   "devices": [{"kind": "rng", "slot": 1},
                               {"kind": "blk", "slot": 3, "serial": serial,
                                "images": [{"file": os.open(disk, os.O_RDWR), "format": "raw", "name": "disk"}]},
                               {"kind": "vsock", "slot": 30, "cid": 3, "listener": listener.detach()},
                               *devices]}
        super().__init__(bench.vmm, machine, PATIENCE)
        self.disk = disk

    def agent(self, *words):
        until = time.monotonic() + PATIENCE
        while True:
            try:
                return Agent(self.vsock, *words)
            except (Closed, ConnectionError):
                if self.process.poll() is not None or time.monotonic() > until:
                    raise SystemExit("the agent does not answer; the console says:\n%s" % self.log()[-3000:])
                time.sleep(0.05)

    def shell(self, command, *more, data=b""):
        return self.agent("exec", "login=1", "shell=" + command, *more).run(data)


class Bench:
    def __init__(self, libexec, kernel, rootfs):
        self.libexec, self.kernel = libexec, kernel
        self.vmm = libexec + "/venv-vmm"
        self.disk = tempfile.mkdtemp(prefix="root-") + "/root.raw"
        tree = tempfile.mkdtemp(prefix="tree-")
        subprocess.run(["tar", "-x", "-C", tree, "-f", rootfs], check=True)
        with open(self.disk, "wb") as file:
            file.truncate(64 * MIB)
        subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", "-d", tree, self.disk], check=True)
        with open(self.disk, "r+b") as file:  # the device is larger than its file system
            file.truncate(256 * MIB)

    def read(self, name):
        with open(name, "rb") as file:
            return file.read()

    def initramfs(self, words):
        config = ["version=1", "root=root", "hostname=box", "env=PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                  "env=FROM=config", "login=root", *words]
        entries = {name: (stat.S_IFDIR | 0o755, b"") for name in ("dev", "proc", "sys", "modules")}
        entries["dev/console"] = (stat.S_IFCHR | 0o600, (5, 1))
        for key, name in (("module", "modules.order"), ("later", "modules.later")):
            for module in self.read(self.kernel + "/" + name).decode().split():
                config.append("%s=%s" % (key, module))
                entries["modules/" + module] = (stat.S_IFREG | 0o644, self.read(self.kernel + "/modules/" + module))
        entries["init"] = (stat.S_IFREG | 0o755, self.read(self.libexec + "/venv-guest"))
        entries["venv-enter"] = (stat.S_IFREG | 0o755, self.read(self.libexec + "/venv-enter"))
        entries["config"] = (stat.S_IFREG | 0o644, b"".join(word.encode() + b"\0" for word in config))
        return cpio(entries)


def case_exec(bench):
    """Commands: output, input, status, signal, user, terminal; the disk is grown; the button ends it in order."""
    m = Guest(bench)
    m.agent("hello")
    seconds = time.monotonic() - m.spawned
    assert m.agent("hello").ok()[b"version"] == b"1"
    assert m.shell("echo out; echo err >&2; exit 7") == (7 << 8, b"out\n", b"err\n")
    assert m.shell("echo $FROM $MORE; id -u; pwd", "env=MORE=request") == (0, b"config request\n0\n/root\n", b"")
    blob = os.urandom(3 << 20)
    status, out, err = m.shell("cat", data=blob)
    assert (status, len(out), out == blob, err) == (0, len(blob), True, b""), (status, len(out), err)
    assert m.shell("head -c 5 >/dev/null; echo done", data=bytes(1 << 20)) == (0, b"done\n", b"")
    assert m.shell("kill -9 $$")[0] == 9
    assert m.agent("exec", "arg=/bin/nothing").run()[0] == 127 << 8
    assert m.agent("exec", "user=daemon", "arg=id", "arg=-un").run()[1] == b"daemon\n"
    assert m.shell("hostname; cat /etc/hostname")[1] == b"box\nbox\n"
    size = int(m.shell("df -m / | tail -n 1 | awk '{print $2}'")[1])
    assert size > 200, size
    # a signal is not kept behind input that nobody reads
    sleeper = m.agent("exec", "arg=sleep", "arg=1000")
    sleeper.ok()
    for _ in range(8):
        sleeper.send(IN, bytes(32768))
    sleeper.send(SIGNAL, struct.pack("<I", 15))
    assert sleeper.run()[0] == 15
    # a terminal
    tty = m.agent("exec", "tty=1", "rows=33", "columns=101", "shell=stty size; read -r line; stty size; echo got $line")
    tty.ok()
    kind, body = tty.receive()
    while b"33 101" not in body:
        body += tty.receive()[1]
    tty.send(SIZE, struct.pack("<II", 40, 120))
    time.sleep(0.5)
    tty.send(IN, b"word\n")
    text, status = b"", None
    while status is None:
        kind, body = tty.receive()
        text += body if kind == OUT else b""
        status = struct.unpack("<I", body)[0] if kind == EXIT else None
    assert status == 0 and b"40 120" in text and b"got word" in text, (status, text)
    # the connection's end hangs up on the command
    hung = m.agent("exec", "shell=echo $$; exec sleep 1000")
    hung.ok()
    pid = hung.receive()[1].decode().strip()
    hung.socket.close()
    for _ in range(100):
        if m.shell("test -d /proc/%s" % pid)[0]:
            break
        time.sleep(0.05)
    else:
        raise SystemExit("a command outlives its connection")
    m.agent("time", "seconds=2000000000", "nanoseconds=5").ok()
    assert 0 <= int(m.shell("date +%s")[1]) - 2000000000 < 60
    assert m.agent("nonsense").reply[0] == b"error"
    m.shell("echo kept >/kept; nohup sleep 1000 >/dev/null 2>&1 &")
    m.call("stop", timeout_ms=20000)
    assert m.end() == {"state": "stopped"}, m.log()
    assert "by force" not in m.log(), m.log()
    check = subprocess.run(["e2fsck", "-fn", m.disk], capture_output=True, text=True, check=False)
    assert check.returncode == 0, check.stdout
    return "%.2f s to the agent's answer" % seconds


def case_sockets(bench):
    """Ports: dialled, listened on, refused."""
    m = Guest(bench)
    m.shell("(while :; do echo pong | nc -l -p 7 ; done) >/dev/null 2>&1 &")
    time.sleep(0.5)
    dial = m.agent("dial", "host=127.0.0.1", "port=7")
    dial.ok()
    assert dial.exactly(5) == b"pong\n"
    assert m.agent("dial", "host=127.0.0.1", "port=8").reply[:2] == [b"error", b"number=111"]
    listen = m.agent("listen", "host=", "port=0")
    facts = listen.ok()
    port, identity = int(facts[b"port"]), facts[b"id"].decode()
    taken = []
    thread = threading.Thread(target=lambda: taken.append(m.agent("accept", "id=" + identity)))
    thread.start()
    caller = threading.Thread(target=m.shell, args=("echo hello | nc 127.0.0.1 %d" % port,))
    caller.start()
    thread.join()
    taken[0].ok()
    assert taken[0].exactly(6) == b"hello\n"
    taken[0].socket.close()
    caller.join()
    listen.socket.close()
    time.sleep(0.5)
    assert m.agent("dial", "host=127.0.0.1", "port=%d" % port).reply[0] == b"error"
    # by the machine's own user nobody is served, and the sftp server answers
    sftp = m.agent("exec", "mode=sftp")
    sftp.ok()
    sftp.send(IN, struct.pack(">IBI", 5, 1, 3))
    kind, body = sftp.receive()
    while kind != OUT:
        kind, body = sftp.receive()
    assert body[4] == 2, body
    m.call("kill")
    m.end()
    return "dialled, listened, sftp"


def case_command(bench):
    """The image's command beside process 1, asked by its signal; with it the machine ends."""
    m = Guest(bench, "command=sh", "command=-c", "command=trap 'echo ASKED; sleep 1; echo DONE; exit 3' USR1; echo UP; while :; do sleep 1; done",
              "command_user=root", "command_directory=/tmp", "command_signal=10", "stop_ms=20000")
    up = m.wait("UP")
    m.agent("hello")
    started = time.monotonic()
    m.call("stop", timeout_ms=20000)
    assert m.end() == {"state": "stopped"}, m.log()
    stopped = time.monotonic() - started
    assert "ASKED" in m.log() and "DONE" in m.log() and "by force" not in m.log(), m.log()
    m = Guest(bench, "command=sh", "command=-c", "command=echo UP; sleep 1", "command_is_machine=1")
    second = m.wait("UP")
    assert m.end() == {"state": "stopped"}, m.log()
    return "up in %.1f and %.1f s, asked and gone in %.1f s" % (up, second, stopped)


def case_reboot(bench):
    """Asked to restart, it comes up again."""
    m = Guest(bench)
    m.shell("echo 1 >/kept; (sleep 1; kill -TERM 1) >/dev/null 2>&1 &")
    until = time.monotonic() + PATIENCE
    while m.call("stats")["resets"] == 0 and time.monotonic() < until:
        time.sleep(0.1)
    assert m.shell("cat /kept")[1] == b"1\n"
    m.agent("poweroff").ok()
    assert m.end() == {"state": "stopped"}, m.log()
    return "came up again"


def case_broken(bench):
    """What fails on the way up is told, and the machine switched off."""
    m = Guest(bench, serial="other")
    assert m.end() == {"state": "stopped"}, m.log()
    assert "venv: the root disk (serial number 'root') does not appear" in m.log(), m.log()
    m = Guest(bench, "folder=missing rw /work")
    assert m.end() == {"state": "stopped"}, m.log()
    assert "venv: cannot mount the folder 'missing rw /work'" in m.log(), m.log()
    return "told"


def case_folder(bench):
    """A shared folder at its path."""
    shared = tempfile.mkdtemp(prefix="shared-")
    with open(shared + "/file", "w") as file:
        file.write("from the host\n")
    m = Guest(bench, "folder=work rw /srv/my work", devices=[{"kind": "fs", "slot": 12, "tag": "work",
                                                            "directory": os.open(shared, os.O_RDONLY), "uid": 0, "gid": 0}])
    assert m.shell("cat '/srv/my work/file'; echo back >'/srv/my work/new'")[:2] == (0, b"from the host\n")
    with open(shared + "/new") as file:
        assert file.read() == "back\n"
    m.call("kill")
    m.end()
    return "read and written"


CASES = {name[5:]: value for name, value in globals().items() if name.startswith("case_")}


def main():
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    subprocess.run(["modprobe", "kvm_amd"], check=False)
    bench = Bench(*sys.argv[1:4])
    for name in sys.argv[4:] or CASES:
        started = time.monotonic()
        print("%s: %s (%.1f s)" % (name, CASES[name](bench), time.monotonic() - started), flush=True)


if __name__ == "__main__":
    main()
