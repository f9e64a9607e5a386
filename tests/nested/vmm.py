#!/usr/bin/env python3
"""Debian's kernel in venv-vmm, inside the nested host: vmm.py VENV_VMM KERNEL BUSYBOX [CASE...]

Each case boots the kernel with an initramfs of busybox, whose /init runs the script that the case gives, and looks at what
the console says, how the machine ends, and what the monitor counted. Prints a line per case; fails with the first that fails.
"""

import json
import os
import re
import socket
import stat
import subprocess
import sys
import tempfile
import time

PATIENCE = 120
MIB = 1 << 20
CMDLINE = "quiet console=ttyS0 panic=-1 mitigations=off"


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


def initramfs(busybox, script):
    with open(busybox, "rb") as file:
        program = file.read()
    head = "#!/bin/busybox sh\n/bin/busybox mount -t proc proc /proc\n/bin/busybox mount -t sysfs sys /sys\n"
    entries = {name: (stat.S_IFDIR | 0o755, b"") for name in ("bin", "dev", "proc", "sys")}
    entries["dev/console"] = (stat.S_IFCHR | 0o600, (5, 1))
    entries["dev/null"] = (stat.S_IFCHR | 0o666, (1, 3))
    entries["bin/busybox"] = (stat.S_IFREG | 0o755, program)
    entries["init"] = (stat.S_IFREG | 0o755, (head + script).encode())
    return cpio(entries)


class Machine:
    def __init__(self, vmm, files, machine):
        self.dir = tempfile.mkdtemp(prefix="vmm-")
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        fds = [os.open(self.dir, os.O_RDONLY), *files]
        self.spawned = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, "-c", "import os,sys; os.dup2(int(sys.argv[1]), 3); os.execv(sys.argv[2], ['venv-vmm'])",
             str(theirs.fileno()), vmm], pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
        time.sleep(0.3)  # what is measured does not begin with Python
        self.spawned = time.monotonic()
        request = {"op": "start", "spawned_us": int(self.spawned * 1e6), "fds": len(fds), "machine": machine}
        socket.send_fds(ours, [json.dumps(request).encode()], fds)
        ours.settimeout(PATIENCE)
        self.answer = json.loads(ours.recv(65536))
        if "error" in self.answer:
            raise SystemExit("start: %s" % self.answer["error"])
        os.close(fds[0])

    def call(self, op, fds=(), **more):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
            connection.settimeout(PATIENCE)
            connection.connect(self.dir + "/ctl")
            socket.send_fds(connection, [json.dumps({"op": op, **more}).encode()], list(fds))
            answer, got, _, _ = socket.recv_fds(connection, 65536, 8)
        answer = json.loads(answer)
        if "error" in answer:
            raise SystemExit("%s: %s" % (op, answer["error"]))
        return (answer, got) if got else answer

    def log(self):
        try:
            with open(self.dir + "/console.log", errors="replace") as file:
                return file.read().replace("\r", "")
        except FileNotFoundError:
            return ""

    def wait(self, text, count=1):
        while self.log().count(text) < count:
            if self.process.poll() is not None or time.monotonic() - self.spawned > PATIENCE:
                raise SystemExit("%r does not come (status %s); the console says:\n%s" % (
                    text, self.process.poll(), self.log()[-3000:]))
            time.sleep(0.01)
        return time.monotonic() - self.spawned

    def end(self):
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise SystemExit("it does not end; the console says:\n%s" % self.log()[-3000:])
        with open(self.dir + "/alive") as file:
            return json.load(file)


class Bench:
    def __init__(self, vmm, kernel, busybox):
        self.vmm, self.kernel, self.busybox = vmm, kernel, busybox

    def start(self, script, cmdline="", memory=128, cpus=1, devices=(), state=()):
        kernel = os.open(self.kernel, os.O_RDONLY)
        initrd = os.memfd_create("initrd")
        os.write(initrd, initramfs(self.busybox, script))
        machine = {"name": "test", "memory": memory * MIB, "cpus": cpus, "kernel": 1, "initrd": 2,
                   "cmdline": (CMDLINE + " " + cmdline).strip(), "devices": list(devices)}
        if state:
            machine.update(state=3, memory_file=4)
        return Machine(self.vmm, [kernel, initrd, *state], machine)


def exits(stats):
    return "%d exits %s" % (sum(stats["exits"].values()), json.dumps({k: v for k, v in stats["exits"].items() if v}))


def case_boot(bench):
    """The kernel comes up, sees its devices, and switches the machine off."""
    m = bench.start("echo READY\nread -r _\n/bin/busybox poweroff -f\n")
    seconds = m.wait("READY")
    stats = m.call("stats")
    _, (console,) = m.call("console")
    os.write(console, b"\n")
    record = m.end()
    assert record == {"state": "stopped"}, (record, m.log())
    return "%.2f s to the first line; %s; first KVM_RUN after %d us" % (
        seconds, exits(stats), stats["timing_us"]["first_run"])


def case_smp(bench):
    """Four processors, each with its own id, memory above 4 GiB."""
    m = bench.start("/bin/busybox grep -cE '^processor' /proc/cpuinfo\n/bin/busybox grep -E '^(apicid|siblings|cpu cores)'"
                    " /proc/cpuinfo\n/bin/busybox grep MemTotal /proc/meminfo\necho DONE\n/bin/busybox poweroff -f\n",
                    cpus=4, memory=4096)
    m.wait("DONE")
    record, log = m.end(), m.log()
    assert record == {"state": "stopped"}, record
    assert log.startswith("4\n") or "\n4\n" in log, log
    assert sorted(re.findall(r"^apicid\s*: (\d+)", log, re.M)) == ["0", "1", "2", "3"], log
    total = int(re.search(r"MemTotal:\s+(\d+)", log).group(1))
    assert total > 3900 * 1024 * 0.97, log
    return "4 processors, %d MiB" % (total // 1024)


def case_reboot(bench):
    """reboot(8) restarts in the same process; nothing of the first run is left."""
    m = bench.start("echo READY\nread -r word\ncase $word in r*) /bin/busybox reboot -f;; esac\n/bin/busybox poweroff -f\n")
    m.wait("READY")
    _, (console,) = m.call("console")
    os.write(console, b"r\n")
    m.wait("READY", 2)
    assert m.call("stats")["resets"] == 1
    os.write(console, b"p\n")
    record = m.end()
    assert record == {"state": "stopped"}, record
    return "restarted"


def case_button(bench):
    """The power button arrives as an event of ACPI's; a guest that ignores it is stopped by force."""
    m = bench.start("for e in /sys/class/input/input*/name; do echo \"$e $(/bin/busybox cat $e)\"; done\n"
                    "/bin/busybox mknod /dev/event0 c 13 64\n/bin/busybox modprobe evdev 2>/dev/null\necho READY\n"
                    "while :; do /bin/busybox grep -E ' (ACPI:Ged|ged|GED)|ACPI' /proc/interrupts; /bin/busybox sleep 1; done\n")
    m.wait("READY")
    started = time.monotonic()
    m.call("stop", timeout_ms=3000)
    record = m.end()
    assert record == {"state": "stopped"}, record
    assert "by force" in m.log(), m.log()
    assert re.search(r"\s[1-9]\d*\s.*ACPI", m.log()), m.log()
    return "seen by the guest, by force after %.1f s" % (time.monotonic() - started)


def case_suspend(bench):
    """Saved while it counts, and goes on counting in another process; its clock goes on, its timers fire."""
    script = ("i=0\nwhile [ $i -lt 400 ]; do i=$((i+1)); echo count $i; /bin/busybox usleep 20000; done\n"
              "echo DONE\n/bin/busybox poweroff -f\n")
    m = bench.start(script, cpus=2)
    m.wait("count 20\n")
    state, memory = os.memfd_create("state"), os.memfd_create("memory")
    m.call("save", (state, memory))
    m.call("kill")
    first = [int(n) for n in re.findall(r"^count (\d+)$", m.log(), re.M)]
    m.end()
    m = bench.start(script, cpus=2, state=(state, memory))
    resumed = m.call("stats")["timing_us"]
    m.wait("DONE")
    record = m.end()
    second = [int(n) for n in re.findall(r"^count (\d+)$", m.log(), re.M)]
    assert record == {"state": "stopped"}, record
    assert second[-1] == 400 and second[0] <= first[-1] + 2, (first[-1], second[:3])
    assert second == list(range(second[0], 401)), second[:10]
    return "at %d, goes on at %d, first KVM_RUN after %d us" % (first[-1], second[0], resumed["first_run"])


def case_devices(bench):
    """The virtio devices are found on PCI."""
    m = bench.start("for d in /sys/bus/pci/devices/*; do echo $(/bin/busybox cat $d/vendor $d/device $d/class); done\necho DONE\n"
                    "/bin/busybox poweroff -f\n",
                    devices=[{"kind": "rng", "slot": 1}, {"kind": "balloon", "slot": 2}])
    m.wait("DONE")
    record, log = m.end(), m.log()
    assert record == {"state": "stopped"}, record
    assert "0x1af4 0x1044" in log and "0x1af4 0x1045" in log, log
    return "rng and balloon are there"


def case_panic(bench):
    """A kernel that panics restarts the machine, by its own wish."""
    m = bench.start("echo READY\n/bin/busybox sleep 1\nexit 1\n")
    m.wait("READY", 2)
    assert "Kernel panic" in m.log(), m.log()
    m.call("kill")
    m.end()
    return "seen"


CASES = {name[5:]: value for name, value in globals().items() if name.startswith("case_")}


def main():
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    subprocess.run(["modprobe", "kvm_amd"], check=False)
    with open("/sys/kernel/mm/transparent_hugepage/enabled", "w") as file:
        file.write("always")
    probe = json.loads(subprocess.run([sys.argv[1], "probe"], capture_output=True, check=True, text=True).stdout)
    print("probe: %s" % json.dumps(probe), flush=True)
    bench = Bench(*sys.argv[1:4])
    for name in sys.argv[4:] or CASES:
        try:
            print("%s: %s" % (name, CASES[name](bench)), flush=True)
        except BaseException:
            subprocess.run("dmesg | tail -n 5", shell=True, check=False)
            raise


if __name__ == "__main__":
    main()
