#!/usr/bin/env python3
"""Debian's kernel in venv-vmm, inside the nested host: vmm.py VENV_VMM TOOLS [CASE...]

Each case boots the kernel with an initramfs of busybox, whose /init runs the script that the case gives, and looks at what
the console says, how the machine ends, and what the monitor counted. TOOLS: where the suite put what it made outside.
Prints a line per case; goes on after one that fails.
"""

import json
import os
import re
import subprocess
import sys
import time

from monitor import KERNEL, MIB, Bench, exits
from vmm_devices import CASES as DEVICE_CASES
from vmm_disks import CASES as DISK_CASES


def case_boot(bench):
    """The kernel comes up, sees its devices, and switches the machine off."""
    m = bench.start("echo READY\nread -r _\npoweroff -f\n")
    seconds = m.wait("READY")
    stats = m.call("stats")
    console = m.console()
    os.write(console, b"\n")
    record = m.end()
    assert record == {"state": "stopped"}, (record, m.log())
    return "%.2f s to the first line; %s; first KVM_RUN after %d us" % (
        seconds, exits(stats), stats["timing_us"]["first_run"])


def case_unpacked(bench):
    """A kernel that was unpacked before begins at another address each time, as it would if it had unpacked itself."""
    subprocess.run([bench.tool("unpack"), KERNEL, bench.path("vmlinux")], check=True)
    m = bench.start("grep -m 1 ' _text$' /proc/kallsyms\necho READY\nread -r word\ncase $word in r*) reboot -f;; esac\n"
                    "poweroff -f\n", kernel=bench.path("vmlinux"))
    seconds = m.wait("READY")
    stats, console = m.call("stats"), m.console()
    for i in (2, 3):
        os.write(console, b"r\n")
        m.wait("READY", i)
    os.write(console, b"p\n")
    record = m.end()
    assert record == {"state": "stopped"}, (record, m.log())
    places = [int(text, 16) for text in re.findall(r"^(\w+) T _text$", m.log(), re.M)]
    assert len(places) == 3 and len(set(places)) > 1, m.log()
    assert all(place % (2 * MIB) == 0 and 0xffffffff81000000 <= place < 0xffffffffc0000000 for place in places), places
    return "%.2f s to the first line; %s; at %s" % (seconds, exits(stats), ", ".join("%x" % place for place in places))


def case_smp(bench):
    """Six processors in two sockets, each with its own id, memory above 4 GiB."""
    m = bench.start("grep -cE '^processor' /proc/cpuinfo\ngrep -E '^(apicid|siblings|cpu cores|physical id)'"
                    " /proc/cpuinfo\ngrep MemTotal /proc/meminfo\necho DONE\npoweroff -f\n",
                    cpus=6, sockets=2, memory=4096)
    m.wait("DONE")
    record, log = m.end(), m.log()
    assert record == {"state": "stopped"}, record
    assert log.startswith("6\n") or "\n6\n" in log, log
    for key, values in (("apicid", "012456"), ("physical id", "000111"), ("siblings", "333333"), ("cpu cores", "333333")):
        assert "".join(sorted(re.findall(fr"^{key}\s*: (\d+)", log, re.M))) == values, log
    total = int(re.search(r"MemTotal:\s+(\d+)", log).group(1))
    assert total > 3900 * 1024 * 0.97, log
    return "6 processors, %d MiB" % (total // 1024)


def case_reboot(bench):
    """reboot(8) restarts in the same process; nothing of the first run is left."""
    m = bench.start("echo READY\nread -r word\ncase $word in r*) reboot -f;; esac\npoweroff -f\n", cpus=2)
    m.wait("READY")
    console = m.console()
    os.write(console, b"r\n")
    m.wait("READY", 2)
    assert m.call("stats")["resets"] == 1
    os.write(console, b"p\n")
    record = m.end()
    assert record == {"state": "stopped"}, record
    return "restarted"


def case_button(bench):
    """The power button arrives as an event of ACPI's; a guest that ignores it is stopped by force."""
    m = bench.start("for e in /sys/class/input/input*/name; do echo \"$e $(cat $e)\"; done\n"
                    "mknod /dev/event0 c 13 64\nmodprobe evdev 2>/dev/null\necho READY\n"
                    "while :; do grep -E ' (ACPI:Ged|ged|GED)|ACPI' /proc/interrupts; sleep 1; done\n")
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
    script = ("i=0\nwhile [ $i -lt 400 ]; do i=$((i+1)); echo count $i; usleep 20000; done\n"
              "echo DONE\npoweroff -f\n")
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
    m = bench.start("for d in /sys/bus/pci/devices/*; do echo $(cat $d/vendor $d/device $d/class); done\necho DONE\n"
                    "poweroff -f\n",
                    devices=[{"kind": "rng", "slot": 1}, {"kind": "balloon", "slot": 2}])
    m.wait("DONE")
    record, log = m.end(), m.log()
    assert record == {"state": "stopped"}, record
    assert "0x1af4 0x1044" in log and "0x1af4 0x1045" in log, log
    return "rng and balloon are there"


def case_limits(bench):
    """Its process is in a scope of systemd's, below it in a group with its limits; pressing the button of both is one."""
    m = bench.start("echo READY\nread -r _\npoweroff -f\n", id="0123456789abcdef" * 2,
                    limits={"memory": 300 * MIB, "cpus": 1.5, "cpuset": "0", "cpu_weight": 50})
    m.wait("READY")
    with open("/proc/%d/cgroup" % m.process.pid) as file:
        group = file.read().strip().split("::")[1]
    scope = "/venv-vmm-%d.scope" % m.process.pid
    assert group.endswith(scope + "/machine/payload"), group
    top = "/sys/fs/cgroup" + group[:-len("/machine/payload")]
    for name, value in (("machine/memory.max", str(300 * MIB)), ("machine/cpu.max", "150000 100000"),
                        ("machine/cpuset.cpus", "0"), ("cpu.weight", "50")):
        with open(os.path.join(top, name)) as file:
            assert file.read().strip() == value, name
    with open(top + "/machine/memory.current") as file:
        used = int(file.read()) // MIB
    os.write(m.console(), b"\n")
    m.end()
    deadline = time.monotonic() + 20
    while os.path.exists(top):
        assert time.monotonic() < deadline, "the scope stays"
        time.sleep(0.1)
    return "%s, %d MiB in use" % (scope[1:], used)


def case_panic(bench):
    """A kernel that panics restarts the machine, by its own wish."""
    m = bench.start("echo READY\nsleep 1\nexit 1\n")
    m.wait("READY", 2)
    assert "Kernel panic" in m.log(), m.log()
    m.call("kill")
    m.end()
    return "seen"


CASES = {name[5:]: value for name, value in globals().items() if name.startswith("case_")}
CASES.update(DEVICE_CASES)
CASES.update(DISK_CASES)


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    subprocess.run(["modprobe", "-a", "kvm_amd", "tun"], check=False)
    with open("/sys/kernel/mm/transparent_hugepage/enabled", "w") as file:
        file.write("never")  # TCG takes up to a minute to clear one
    probe = json.loads(subprocess.run([sys.argv[1], "probe"], capture_output=True, check=True, text=True).stdout)
    print("probe: %s" % json.dumps(probe), flush=True)
    failed = []
    for name in sys.argv[3:] or CASES:
        bench, started = Bench(*sys.argv[1:3]), time.monotonic()
        try:
            result = CASES[name](bench)
        except Exception as error:  # whatever it is: the others are of interest too
            result = "FAILED: %s: %s" % (type(error).__name__, error)
            subprocess.run("dmesg | tail -n 5", shell=True, check=False)
            failed.append(name)
        bench.done()
        print("%s (%.0f s): %s" % (name, time.monotonic() - started, result), flush=True)
    sys.exit("failed: " + " ".join(failed) if failed else 0)


if __name__ == "__main__":
    main()
