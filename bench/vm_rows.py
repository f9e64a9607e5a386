"""What bench/vm runs inside the nested host: vm_rows.py DIRECTORY RUNS ROWS. Prints the table."""

import glob
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

from monitor import BUSYBOX, KERNEL, MIB, disk, initramfs, memory_file, numbered, send_start, tap, vhost

QEMU = "qemu-system-x86_64"
VIRTIOFSD = "/usr/lib/qemu/virtiofsd"
QUIET = "quiet console=ttyS0 reboot=t panic=-1 mitigations=off"
HOST, GUEST = "10.9.0.1", "10.9.0.2"
HOST_VHOST, GUEST_VHOST = "10.9.1.1", "10.9.1.2"
PATIENCE = 900
MODULES = ("virtio_pci", "virtio_blk", "virtio_net", "virtiofs", "ext4")
FIO = "fio --name=x --filename=/dev/vdb --readonly --direct=1 --ioengine=libaio --time_based --minimal --runtime=10"


class Run:
    """A monitor at work: its process and the file that its console goes to."""

    def __init__(self, pid, console, began, also=()):
        self.pid, self.console, self.began, self.also = pid, console, began, also
        self.before = time.time() - (time.monotonic() - began)  # the same by the clock of files

    def text(self):
        try:
            with open(self.console, errors="replace", encoding="utf-8") as file:
                return file.read().replace("\r", "")
        except FileNotFoundError:
            return ""

    def wait(self, word):
        """Seconds from its exec to a line of the guest's, its last one: to look for it often would cost them all the same, on
        the one processor, and make them alike."""
        while word not in self.text():
            if os.waitpid(self.pid, os.WNOHANG)[0] or time.monotonic() - self.began > PATIENCE:
                raise SystemExit(f"{word!r} does not come; the console says:\n{self.text()[-3000:]}")
            time.sleep(0.2)
        return os.stat(self.console).st_mtime - self.before

    def end(self):
        os.kill(self.pid, 9)
        os.waitpid(self.pid, 0)
        for process in self.also:
            process.kill()
            process.wait()

    def beyond_ram(self, ram):
        """Bytes that it has beside the guest's memory."""
        total, size = 0, 0
        with open(f"/proc/{self.pid}/smaps", encoding="ascii", errors="replace") as file:
            for line in file:
                name, _, value = line.partition(":")
                if name == "Size":
                    size = int(value.split()[0]) * 1024
                elif name == "Pss" and size < ram - 4 * MIB:
                    total += int(value.split()[0]) * 1024
        return total

    def exits(self):
        """Of its processor, to the kernel; some of these go on to the monitor."""
        (path,) = glob.glob(f"/sys/kernel/debug/kvm/{self.pid}-*/exits")
        with open(path, encoding="ascii") as file:
            return int(file.read())


class Ours:
    name = "venv-vmm"

    def __init__(self, directory, name=name, kernel=KERNEL):
        self.vmm, self.name, self.kernel = os.path.join(directory, "venv-vmm"), name, kernel

    def start(self, script, memory, devices=(), modules=()):
        self.dir = tempfile.mkdtemp(prefix="vmm-")
        fds = [os.open(self.dir, os.O_RDONLY)]
        machine = numbered({
            "name": "bench", "memory": memory * MIB, "cpus": 1, "kernel": os.open(self.kernel, os.O_RDONLY),
            "initrd": memory_file(initramfs(script, modules)), "cmdline": QUIET, "devices": devices}, fds)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        began = time.monotonic()
        pid = os.posix_spawn(self.vmm, ["venv-vmm"], os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, theirs.fileno(), 3)])
        theirs.close()
        send_start(ours, machine, fds, began)
        answer = ours.recv(65536)
        if not answer or "error" in json.loads(answer):
            raise SystemExit(f"venv-vmm: {answer!r}")
        for fd in fds:
            os.close(fd)
        return Run(pid, self.dir + "/console.log", began)

    def own_exits(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
            connection.connect(self.dir + "/ctl")
            connection.send(b'{"op":"stats"}')
            return {kind: n for kind, n in json.loads(connection.recv(65536))["exits"].items() if n}

    def work(self, script, tools, data, tree):
        own, lent = tap("ours0", HOST + "/24"), tap("ours1", HOST_VHOST + "/24")
        return self.start(script, 512, modules=MODULES, devices=[
            disk(3, (tools, "raw", "tools"), read_only=True), disk(4, (data, "raw", "data")),
            {"kind": "net", "slot": 5, "tap": own, "mac": "02:00:00:00:0a:02", "mtu": 1500},
            {"kind": "net", "slot": 6, "tap": lent, "vhost": vhost(), "mac": "02:00:00:00:0b:02", "mtu": 1500},
            {"kind": "fs", "slot": 12, "tag": "tree", "directory": os.open(tree, os.O_RDONLY | os.O_DIRECTORY),
             "uid": 0, "gid": 0}])


class Qemu:
    def __init__(self, name, machine, kernel=KERNEL):
        self.name, self.machine, self.kernel = name, machine, kernel

    def start(self, script, memory, more=(), modules=(), also=()):
        directory = tempfile.mkdtemp(prefix="qemu-")
        with open(directory + "/initrd", "wb") as file:
            file.write(initramfs(script, modules))
        argv = [QEMU, *self.machine, "-cpu", "host", "-smp", "1", "-m", str(memory), "-nodefaults", "-no-user-config",
                "-display", "none", "-no-reboot", "-kernel", self.kernel, "-initrd", directory + "/initrd",
                "-append", QUIET, "-serial", f"file:{directory}/console", *more]
        began = time.monotonic()
        return Run(os.posix_spawnp(QEMU, argv, os.environ), directory + "/console", began, also)

    def work(self, script, tools, data, tree):
        directory = tempfile.mkdtemp(prefix="fs-")
        path = directory + "/socket"
        server = subprocess.Popen([VIRTIOFSD, f"--socket-path={path}", "-o", f"source={tree}", "-o", "cache=auto"],
                                  stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not os.path.exists(path):
            time.sleep(0.1)
        for name, address in (("qemu0", HOST), ("qemu1", HOST_VHOST)):
            subprocess.run(["ip", "tuntap", "add", name, "mode", "tap", "vnet_hdr"], check=True)
            subprocess.run(["ip", "address", "add", address + "/24", "dev", name], check=True)
            subprocess.run(["ip", "link", "set", name, "up"], check=True)
        return self.start(script, 512, modules=MODULES, also=[server], more=[
            "-object", "memory-backend-memfd,id=ram,size=512M,share=on", "-numa", "node,memdev=ram",
            "-drive", f"if=none,id=tools,file={tools},format=raw,readonly=on", "-device", "virtio-blk-pci,drive=tools",
            "-drive", f"if=none,id=data,file={data},format=raw,aio=io_uring,cache=writeback",
            "-device", "virtio-blk-pci,drive=data",
            "-netdev", "tap,id=own,ifname=qemu0,script=no,downscript=no,vhost=off", "-device", "virtio-net-pci,netdev=own",
            "-netdev", "tap,id=lent,ifname=qemu1,script=no,downscript=no,vhost=on", "-device", "virtio-net-pci,netdev=lent",
            "-chardev", f"socket,id=fs,path={path}", "-device", "vhost-user-fs-pci,chardev=fs,tag=tree"])


MICROVM = Qemu("QEMU microvm", ["-M", "microvm,accel=kvm,rtc=on,pit=off,pic=off"])
Q35 = Qemu("QEMU q35", ["-M", "q35,accel=kvm"])


def progress(text):
    print("bench:", text, file=sys.stderr, flush=True)


def turns(monitors, i):
    """Each comes first in turn: what one leaves in caches is the next one's."""
    first = i % len(monitors)
    return monitors[first:] + monitors[:first]


def medians(samples, form):
    return {name: form(statistics.median(values)) for name, values in samples.items()}


def line(what, target, figures, reached):
    ours = figures.pop(Ours.name)
    print(f"| {what} | {target} | {ours} | {reached} | {', '.join(f'{k} {v}' for k, v in figures.items())} |", flush=True)


def boot(directory, runs):
    unpacked = directory + "/vmlinux"
    subprocess.run([directory + "/unpack", KERNEL, unpacked], check=True)
    ours = Ours(directory, kernel=unpacked)
    monitors = [ours, MICROVM, Q35, Ours(directory, "venv-vmm with the packed kernel"),
                Qemu("QEMU microvm with the unpacked one", MICROVM.machine, unpacked)]
    seconds, exits, memory, own = {}, {}, {}, []
    for i in range(runs):
        for monitor in turns(monitors, i):
            run = monitor.start("echo READY\nsleep 1000\n", 128)
            seconds.setdefault(monitor.name, []).append(run.wait("READY"))
            exits.setdefault(monitor.name, []).append(run.exits())
            if monitor is ours:
                own.append(ours.own_exits())
            time.sleep(2)
            memory.setdefault(monitor.name, []).append(run.beyond_ram(128 * MIB))
            run.end()
            progress(f"boot {i + 1} of {runs}, {monitor.name}: {seconds[monitor.name][-1]:.2f} s")
    ratio = statistics.median(seconds[Ours.name]) / statistics.median(seconds[MICROVM.name])
    figures = medians(seconds, lambda value: f"{value:.2f} s")
    figures[Ours.name] += f", {ratio:.2f} of microvm"
    line("exec of the monitor to the first line of a tiny initramfs", "≤ 0.65 of QEMU microvm", figures,
         "yes" if ratio <= 0.65 else "**no**")
    own.sort(key=lambda kinds: sum(kinds.values()))
    kinds = own[len(own) // 2]
    count = sum(kinds.values())
    figures = medians(exits, lambda value: f"{value:.0f}")
    line("exits until then: in all", "", figures, "")
    line("exits until then: to the monitor's own code", "≤ 250", {Ours.name: f"{count} ({', '.join(f'{n} {kind}' for kind, n in kinds.items())})"},
         "yes" if count <= 250 else "**no**")
    beyond = statistics.median(memory[Ours.name]) / MIB
    line("memory beyond the guest's, idle (PSS)", "≤ 6 MiB", medians(memory, lambda value: f"{value / MIB:.1f} MiB"),
         "yes" if beyond <= 6 else "**no**")


WORK = f"""mount -t ext4 -o ro /dev/vda /mnt || mount -t ext4 -o ro,noload /dev/vda /mnt
mount -t proc proc /mnt/proc; mount -t devtmpfs dev /mnt/dev; mount -t sysfs sys /mnt/sys; mount -t tmpfs tmp /mnt/tmp
ifconfig lo 127.0.0.1 up; ifconfig eth0 {GUEST} netmask 255.255.255.0 up
ifconfig eth1 {GUEST_VHOST} netmask 255.255.255.0 up
mount -t virtiofs tree /mnt/tree
chroot /mnt /bin/sh /work.sh
echo DONE
sleep 1000
"""
IN_GUEST = f"""export HOME=/tmp PATH=/bin:/usr/bin
now() {{ read -r up _ </proc/uptime; echo $up; }}
fresh() {{ sync; echo 3 >/proc/sys/vm/drop_caches; }}
took() {{ name=$1; shift; fresh; from=$(now); "$@" >/dev/null; echo "figure $name $(awk "BEGIN {{print $(now) - $from}}")"; }}
echo "figure randread $({FIO} --rw=randread --bs=4k --iodepth=32 | cut -d';' -f8)"
echo "figure read $({FIO} --rw=read --bs=1M --iodepth=8 | cut -d';' -f7)"
took large cat /tree/large
took status git -c safe.directory=/tree -C /tree status --porcelain
took status_again git -c safe.directory=/tree -C /tree status --porcelain
tcp() {{ echo "figure $1 $(iperf3 -c $2 -t 10 -f m | awk '/receiver/ {{print $7}}')"; }}
tcp tcp {HOST}
tcp tcp_vhost {HOST_VHOST}
"""
ROWS = (("randread", "disk: 4 KiB random read, 32 at once", "IO/s", True),
        ("read", "disk: 1 MiB sequential read", "KiB/s", True),
        ("large", "shared folder: a file of 128 MiB read", "s", False),
        ("status", "shared folder: `git status` of 20,000 files", "s", False),
        ("status_again", "the same, once more", "s", False),
        ("tcp", "TCP from the guest to its host, the same TAP, the monitor's own data path", "Mbit/s", True),
        ("tcp_vhost", "the same by vhost-net", "Mbit/s", True))


def tools_disk(directory):
    """An ext4 with the programs that a guest runs, and their libraries."""
    root, image = os.path.join(directory, "root"), os.path.join(directory, "tools.raw")
    for name in ("bin", "usr/bin", "proc", "dev", "sys", "tmp", "tree", "etc"):
        os.makedirs(os.path.join(root, name))
    files = set()
    for program in ("fio", "iperf3", "git"):
        path = shutil.which(program)
        shutil.copy(path, root + "/usr/bin")
        files.update(re.findall(r"(/\S+) \(0x", subprocess.run(["ldd", path], capture_output=True, text=True,
                                                              check=True).stdout))
    for path in files:
        os.makedirs(root + os.path.dirname(path), exist_ok=True)
        shutil.copy(path, root + path)
    shutil.copy(BUSYBOX, root + "/bin/busybox")
    for name in ("sh", "cat", "cut", "awk", "sync"):
        os.symlink("busybox", f"{root}/bin/{name}")
    with open(root + "/etc/passwd", "w", encoding="ascii") as file:
        file.write("root:x:0:0::/tmp:/bin/sh\n")
    with open(root + "/work.sh", "w", encoding="ascii") as file:
        file.write(IN_GUEST)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", root, image, "300M"], check=True, stdout=subprocess.DEVNULL)
    shutil.rmtree(root)
    return image


def work(directory, runs):
    tools, data, tree = tools_disk(directory), os.path.join(directory, "data.raw"), os.path.join(directory, "tree")
    server = subprocess.Popen(["iperf3", "-s"], stdout=subprocess.DEVNULL)
    # git notes what it saw of each file, and reads those of which it sees something else: the first one would read all
    subprocess.run(["git", "-c", "safe.directory=*", "-C", tree, "status"], check=True, stdout=subprocess.DEVNULL)
    figures = {}
    for i in range(runs):
        for monitor in turns([Ours(directory), Q35], i):
            run = monitor.work(WORK, tools, data, tree)
            run.wait("DONE")
            for name, value in re.findall(r"^figure (\w+) ([\d.]+)$", run.text(), re.M):
                figures.setdefault(name, {}).setdefault(monitor.name, []).append(float(value))
            run.end()
            for name in ("qemu0", "qemu1"):
                subprocess.run(["ip", "link", "delete", name], check=False, stderr=subprocess.DEVNULL)
            progress(f"work {i + 1} of {runs}, {monitor.name}: " + ", ".join(
                f"{name} {values.get(monitor.name, ['?'])[-1]}" for name, values in figures.items()))
    server.kill()
    for name, what, unit, more_is_better in ROWS:
        samples = figures.get(name, {})
        if len(samples) != 2:
            print(f"| {what} | ≥ QEMU | no figure | | |")
            continue
        ours, theirs = (statistics.median(samples[key]) for key in (Ours.name, Q35.name))
        better = ours / theirs if more_is_better else theirs / ours
        line(what, "≥ QEMU q35", {Ours.name: f"{ours:g} {unit} ({better:.2f} times QEMU's speed)", Q35.name: f"{theirs:g} {unit}"},
             "yes" if better >= 1 else "**no**")


def main():
    directory, runs, rows = sys.argv[1], int(sys.argv[2]), sys.argv[3].split(",")
    with open("/sys/kernel/mm/transparent_hugepage/enabled", "w", encoding="ascii") as file:
        file.write("madvise")
    subprocess.run(["modprobe", "-a", "kvm_amd", "tun"], check=False)
    subprocess.run(["mount", "-t", "debugfs", "debugfs", "/sys/kernel/debug"], check=False, stderr=subprocess.DEVNULL)
    print("| what | must reach | venv-vmm | reached | beside it |\n|---|---|---|---|---|")
    if "boot" in rows:
        boot(directory, runs)
    if "work" in rows:
        work(directory, min(runs, 3))


if __name__ == "__main__":
    main()
