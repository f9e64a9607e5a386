"""What the tests in the nested host need to run machines: guests made of busybox, and venv-vmm as the library drives it."""

import fcntl
import glob
import json
import os
import re
import shutil
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import time

MIB = 1 << 20
CMDLINE = "quiet console=ttyS0 panic=-1 mitigations=off"
MODULES = "/lib/modules/" + os.uname().release
KERNEL = "/boot/vmlinuz-" + os.uname().release
FIRMWARE = "/usr/share/seabios/bios-microvm.bin"
BUSYBOX = "/bin/busybox"
FD_KEYS = ("kernel", "initrd", "firmware", "state", "memory_file", "file", "tap", "vhost", "directory", "listener", "socket")


def cpio(entries):
    """An archive as the kernel takes it: {name: (mode, content or device)}."""
    out = bytearray()
    for number, (name, (mode, data)) in enumerate([*entries.items(), ("TRAILER!!!", (0, b""))], 1):
        major, minor = data if isinstance(data, tuple) else (0, 0)
        body = b"" if isinstance(data, tuple) else data
        fields = [number, mode, 0, 0, 1, 0, len(body), 0, 0, major, minor, len(name) + 1, 0]
        out += b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
        out += b"\0" * (-len(out) % 4) + body
        out += b"\0" * (-len(out) % 4)
    return bytes(out)


def module_files(names):
    """The files of these modules in an order in which they can be loaded."""
    with open(MODULES + "/modules.dep") as file:
        needs = {line.split(":")[0]: line.split(":")[1].split() for line in file}
    by_name = {os.path.basename(path)[:-3].replace("-", "_"): path for path in needs}
    files = []
    for name in names:
        if name in by_name:  # else it is in the kernel itself
            files += [path for path in [*reversed(needs[by_name[name]]), by_name[name]] if path not in files]
    return files


def read(path):
    with open(path, "rb") as file:
        return file.read()


def initramfs(script, modules=(), programs=()):
    """/init runs the script, with busybox's programs, the modules loaded and /dev as the kernel makes it."""
    head = ["#!/bin/busybox sh", "/bin/busybox mount -t devtmpfs dev /dev", "/bin/busybox mount -t proc proc /proc",
            "/bin/busybox mount -t sysfs sys /sys", "/bin/busybox --install -s /bin"]
    entries = {name: (stat.S_IFDIR | 0o755, b"") for name in ("bin", "dev", "proc", "sys", "mnt", "tmp", "modules")}
    entries["dev/console"] = (stat.S_IFCHR | 0o600, (5, 1))
    entries["bin/busybox"] = (stat.S_IFREG | 0o755, read(BUSYBOX))
    for path in module_files(modules):
        name = "modules/" + os.path.basename(path)
        entries[name] = (stat.S_IFREG | 0o644, read(MODULES + "/" + path))
        head.append("insmod /" + name)
    for path in programs:
        entries["bin/" + os.path.basename(path)] = (stat.S_IFREG | 0o755, read(path))
    entries["init"] = (stat.S_IFREG | 0o755, ("\n".join(head) + "\n" + script).encode())
    return cpio(entries)


def memory_file(content):
    fd = os.memfd_create("test")
    os.write(fd, content)
    return fd


def show(text, shown):
    """What is new of a console. @return how much was shown"""
    sys.stdout.write(text[shown:])
    sys.stdout.flush()
    return len(text)


class Failed(Exception):
    pass


def numbered(value, fds, key=None):
    """The same, with descriptors added to fds and their numbers instead, as the message has them."""
    if isinstance(value, dict):
        return {name: numbered(one, fds, name) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [numbered(one, fds) for one in value]
    if key not in FD_KEYS:
        return value
    fds.append(value)
    return len(fds) - 1


def send_start(connection, machine, fds, spawned):
    first = {"op": "start", "spawned_us": int(spawned * 1e6), "fds": len(fds), "machine": machine}
    for at in range(0, len(fds), 8):
        socket.send_fds(connection, [json.dumps(first if at == 0 else {"op": "fds"}).encode()], fds[at:at + 8])


class Machine:
    """One machine, from its start to its end. What is a file in `machine` stands there as a descriptor, and is taken."""

    def __init__(self, vmm, machine, patience=120):
        self.dir, self.patience, self.shown = tempfile.mkdtemp(prefix="vmm-"), patience, 0
        self.fds = [os.open(self.dir, os.O_RDONLY)]
        machine = numbered(machine, self.fds)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.process = subprocess.Popen(
            [sys.executable, "-c", "import os,sys; os.dup2(int(sys.argv[1]), 3); os.execv(sys.argv[2], ['venv-vmm'])",
             str(theirs.fileno()), vmm], pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
        theirs.close()
        time.sleep(0.3)  # what is measured does not begin with Python
        self.spawned = time.monotonic()
        send_start(ours, machine, self.fds, self.spawned)
        ours.settimeout(patience)
        answer = ours.recv(65536)
        ours.close()
        if not answer or "error" in json.loads(answer):
            raise Failed("start: %s" % (answer or "it died, status %s" % self.process.wait()))
        for fd in self.fds:
            os.close(fd)

    def call(self, op, fds=(), **more):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
            connection.settimeout(self.patience)
            connection.connect(self.dir + "/ctl")
            socket.send_fds(connection, [json.dumps({"op": op, **more}).encode()], list(fds))
            answer, got, _, _ = socket.recv_fds(connection, 65536, 8)
        answer = json.loads(answer)
        if "error" in answer:
            raise Failed("%s: %s" % (op, answer["error"]))
        return (answer, got) if got else answer

    def console(self):
        return self.call("console")[1][0]

    def log(self):
        try:
            with open(self.dir + "/console.log", errors="replace") as file:
                return file.read().replace("\r", "")
        except FileNotFoundError:
            return ""

    def threads(self):
        """Where each of its threads is, in the kernel."""
        tasks, text = "/proc/%d/task" % self.process.pid, ""
        for task in os.listdir(tasks):
            for name in ("comm", "syscall", "stack"):
                with open("%s/%s/%s" % (tasks, task, name)) as file:
                    text += file.read()
        return text

    def vhosts(self):
        """The threads of the kernel's that carry its networks: named after who asked for them, in its control group."""
        names, found = ["vhost-" + task for task in os.listdir("/proc/%d/task" % self.process.pid)], []
        for path in glob.glob("/proc/[0-9]*/task/*/comm"):
            try:
                if read(path).decode().strip() in names:
                    found.append(path)
            except (FileNotFoundError, ProcessLookupError):
                pass
        for path in found:
            if read(os.path.dirname(path) + "/cgroup") != read("/proc/%d/cgroup" % self.process.pid):
                raise Failed("vhost is in group %s" % read(os.path.dirname(path) + "/cgroup"))
        return found

    def fail(self, what):
        if os.environ.get("VMM_SHOW") and self.process.poll() is None:
            what += "\n" + self.threads()
        raise Failed("%s (status %s); the console says:\n%s" % (what, self.process.poll(), self.log()[-4000:]))

    def wait(self, text, count=1):
        while self.log().count(text) < count:
            if self.process.poll() is not None and self.log().count(text) < count:
                self.fail("it ended before %r" % text)
            if time.monotonic() - self.spawned > self.patience:
                self.fail("%r does not come" % text)
            if os.environ.get("VMM_SHOW"):  # for who looks into a failure
                self.shown = show(self.log(), self.shown)
            time.sleep(0.1)
        return time.monotonic() - self.spawned

    def end(self, expected="stopped"):
        """What "alive" says when it is over."""
        try:
            self.process.wait(self.patience)
        except subprocess.TimeoutExpired:
            self.fail("it does not end")
        with open(self.dir + "/alive") as file:
            record = json.load(file)
        if record["state"] != expected:
            self.fail("it ended as %s" % record)
        return record

    def kill(self):
        self.process.kill()
        self.process.wait()

    def remove(self):
        if self.process.poll() is None:
            self.kill()
        shutil.rmtree(self.dir)


class Bench:
    """Where machines are started. tools: a directory with programs and disks that were made outside."""

    def __init__(self, vmm, tools):
        self.vmm, self.tools = vmm, tools
        self.machines = []
        self.dir = tempfile.mkdtemp(prefix="bench-")

    def path(self, name):
        return os.path.join(self.dir, name)

    def tool(self, name):
        return os.path.join(self.tools, name)

    def run(self, machine, patience=120):
        self.machines.append(Machine(self.vmm, {"name": "test", **machine}, patience))
        return self.machines[-1]

    def start(self, script, cmdline="", memory=128, cpus=1, devices=(), state=(), modules=(), programs=(), kernel=KERNEL,
              **more):
        """Debian's kernel with an initramfs whose /init is the script."""
        kernel, initrd = os.open(kernel, os.O_RDONLY), memory_file(initramfs(script, modules, programs))
        machine = {"memory": memory * MIB, "cpus": cpus, "kernel": kernel, "initrd": initrd,
                   "cmdline": (CMDLINE + " " + cmdline).strip(), "devices": devices, **more}
        if state:
            machine.update(state=state[0], memory_file=state[1])
        return self.run(machine)

    def done(self):
        for m in self.machines:
            m.remove()
        self.machines = []
        shutil.rmtree(self.dir)


def disk(slot, *images, **more):
    """A "blk": images are (path, format, name) from the top, each opened for what it is."""
    files = [{"file": os.open(path, os.O_RDONLY if i or more.get("read_only") else os.O_RDWR), "format": form, "name": name}
             for i, (path, form, name) in enumerate(images)]
    return {"kind": "blk", "slot": slot, "images": files, **more}


TUNSETIFF, TUNSETVNETHDRSZ = 0x400454CA, 0x400454D8
IFF_TAP, IFF_NO_PI, IFF_VNET_HDR = 0x2, 0x1000, 0x4000


def open_tap(name):
    """A TAP with the headers that venv-netd gives it; "%d" in its name is the first free number."""
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI | IFF_VNET_HDR))
    fcntl.ioctl(fd, TUNSETVNETHDRSZ, struct.pack("i", 12))
    return fd


def tap(name, address):
    """The same with an address of the host's."""
    fd = open_tap(name)
    subprocess.run(["ip", "address", "add", address, "dev", name], check=True)
    subprocess.run(["ip", "link", "set", name, "up"], check=True)
    return fd


def vhost():
    """The kernel's own data path for a network, where the host has it."""
    subprocess.run(["modprobe", "vhost_net"], check=True)
    return os.open("/dev/vhost-net", os.O_RDWR)


def exits(stats):
    return "%d exits %s" % (sum(stats["exits"].values()), json.dumps({k: v for k, v in stats["exits"].items() if v}))


def expect(log, *patterns):
    for pattern in patterns:
        if not re.search(pattern, log, re.M):
            raise Failed("%r is not in:\n%s" % (pattern, log[-4000:]))
