"""Cases of vmm.py: disks below Debian's kernel, and Debian's own disk with GRUB. Their judges are qemu-img and e2fsck."""

import hashlib
import os
import re
import subprocess
import time

from monitor import FIRMWARE, MIB, Failed, disk, expect, tap

MODULES = ("virtio_pci", "virtio_blk", "ext4", "crc32c_generic", "crc32c_intel")


def make_disk(bench, size=96):
    """An overlay over a raw image with an ext4 that holds "hello" and 1 MiB of noise."""
    tree = bench.path("tree")
    os.mkdir(tree)
    noise = os.urandom(MIB)
    for name, content in (("hello", b"hello from below\n"), ("noise", noise)):
        with open(tree + "/" + name, "wb") as file:
            file.write(content)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", tree, bench.path("base.raw"), "%dM" % size], check=True)
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", "base.raw", "-F", "raw", bench.path("disk.qcow2")], check=True)
    return hashlib.md5(noise).hexdigest()


def overlay(bench, slot=3, **more):
    return disk(slot, (bench.path("disk.qcow2"), "qcow2", "disk.qcow2"), (bench.path("base.raw"), "raw", "base.raw"), **more)


def judge(bench, killed=False):
    """The image is sound (after a kill it may have counted clusters that it does not use); the file system in it too."""
    check = subprocess.run(["qemu-img", "check", bench.path("disk.qcow2")], capture_output=True, text=True, check=False)
    if check.returncode not in ((0, 3) if killed else (0,)):
        raise Failed("qemu-img check: %s%s" % (check.stdout, check.stderr))
    subprocess.run(["qemu-img", "convert", "-O", "raw", bench.path("disk.qcow2"), bench.path("whole.raw")], check=True)
    fsck = subprocess.run(["e2fsck", "-f", "-p" if killed else "-n", bench.path("whole.raw")], capture_output=True, text=True, check=False)
    if fsck.returncode not in ((0, 1) if killed else (0,)):
        raise Failed("e2fsck: %s%s" % (fsck.stdout, fsck.stderr))


def content(bench, name):
    return subprocess.run(["debugfs", "-R", "cat /" + name, bench.path("whole.raw")], capture_output=True, check=True).stdout


def work(bench, **more):
    noise = make_disk(bench)
    m = bench.start("""mount -t ext4 -o discard /dev/vda /mnt && cat /mnt/hello && md5sum /mnt/noise
cat /sys/block/vda/serial; echo; cat /sys/block/vda/ro
dd if=/dev/urandom of=/mnt/new bs=1M count=8 conv=fsync 2>/dev/null && md5sum /mnt/new
dd if=/dev/urandom of=/mnt/gone bs=1M count=8 conv=fsync 2>/dev/null; rm /mnt/gone /mnt/noise; sync; fstrim /mnt
echo 3 > /proc/sys/vm/drop_caches; md5sum /mnt/new; umount /mnt
dd if=/dev/vdb bs=512 count=1 2>/dev/null; echo x > /dev/vdb || echo cannot
echo DONE; poweroff -f
""", modules=MODULES, devices=[overlay(bench, serial="root", **more), read_only_disk(bench, **more)])
    m.wait("DONE")
    m.end()
    log = m.log()
    expect(log, "^hello from below", "^%s  /mnt/noise" % noise, "^root$", "^0$", "^read only$", "^cannot$")
    sums = re.findall(r"^(\w{32})  /mnt/new", log, re.M)
    judge(bench)
    if len(sums) != 2 or sums[0] != sums[1] or hashlib.md5(content(bench, "new")).hexdigest() != sums[0]:
        raise Failed("what was written is not what is read: %s" % sums)
    if content(bench, "noise"):
        raise Failed("what was removed is still there")
    return "%d KiB of the image in use" % (os.stat(bench.path("disk.qcow2")).st_blocks // 2)


def read_only_disk(bench, **more):
    with open(bench.path("small.raw"), "wb") as file:
        file.write(b"read only\n".ljust(65536))
    return disk(4, (bench.path("small.raw"), "raw", "small.raw"), read_only=True, **more)


def case_disk(bench):
    """A file system on an overlay is read, written, synced, trimmed; a raw disk that is for reading only."""
    return work(bench)


def case_disk_threads(bench):
    """The same where the host has no io_uring."""
    return work(bench, threads=True)


def case_disk_killed(bench):
    """kill -9 of the monitor while the guest writes: the image is sound, what was synced is there."""
    make_disk(bench)
    m = bench.start("""mount -t ext4 /dev/vda /mnt
for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
dd if=/dev/urandom of=/mnt/f$i bs=64k count=24 conv=fsync 2>/dev/null; md5sum /mnt/f$i; sync; echo synced $i; done
""", modules=MODULES, devices=[overlay(bench)])
    m.wait("synced 6\n")
    time.sleep(0.3)
    m.kill()
    judge(bench, killed=True)
    sums = dict(re.findall(r"^(\w{32})  /mnt/(f\d+)\n(?:synced)", m.log(), re.M) and
                [(name, md5) for md5, name in re.findall(r"^(\w{32})  /mnt/(f\d+)\n(?=synced)", m.log(), re.M)])
    for name, md5 in sums.items():
        if hashlib.md5(content(bench, name)).hexdigest() != md5:
            raise Failed("%s was synced and is not there" % name)
    # and the machine starts again on it
    m = bench.start("mount -t ext4 /dev/vda /mnt && cat /mnt/hello; umount /mnt; echo DONE; poweroff -f\n",
                    modules=MODULES, devices=[overlay(bench)])
    m.wait("DONE")
    m.end()
    expect(m.log(), "^hello from below")
    judge(bench, killed=True)
    return "%d files were synced and are there" % len(sums)


def case_disk_full(bench):
    """The host has no room left: the guest is told, the image stays sound, and it goes on when there is room again."""
    make_disk(bench)
    small = bench.path("small")
    os.mkdir(small)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12M", "none", small], check=True)
    try:
        for name in ("disk.qcow2", "base.raw"):
            os.symlink(bench.path(name), small + "/link-" + name)
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", bench.path("base.raw"), "-F", "raw",
                        small + "/disk.qcow2"], check=True)
        images = ((small + "/disk.qcow2", "qcow2", "disk"), (bench.path("base.raw"), "raw", bench.path("base.raw")))
        m = bench.start("""mount -t ext4 /dev/vda /mnt
dd if=/dev/urandom of=/mnt/large bs=1M count=32 conv=fsync 2>&1 | grep -i error
cat /mnt/hello; echo DONE; poweroff -f
""", modules=MODULES, devices=[disk(3, *images)])
        m.wait("DONE")
        m.end()
        expect(m.log(), "I/O error", "^hello from below", "^venv: device 'blk': .*[Nn]o space")
        check = subprocess.run(["qemu-img", "check", small + "/disk.qcow2"], capture_output=True, text=True, check=False)
        if check.returncode not in (0, 3):
            raise Failed("qemu-img check: %s%s" % (check.stdout, check.stderr))
    finally:
        subprocess.run(["umount", "-l", small], check=True)
    return "told"


def case_grub(bench):
    """Debian's disk, untouched: SeaBIOS, GRUB, systemd, a login on the console, the network, the power button."""
    base = bench.tool("disk.raw")
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "raw", bench.path("disk.qcow2")], check=True)
    firmware, nic = os.open(FIRMWARE, os.O_RDONLY), tap("vmm0", "10.9.0.1/24")
    m = bench.run({"memory": 512 * MIB, "cpus": 2, "firmware": firmware, "devices": [
        {"kind": "rng", "slot": 1}, {"kind": "balloon", "slot": 2},
        disk(3, (bench.path("disk.qcow2"), "qcow2", "disk.qcow2"), (base, "raw", base), serial="root"),
        {"kind": "net", "slot": 5, "tap": nic, "mac": "02:00:00:00:0a:02", "mtu": 1500}]}, patience=900)
    times = [m.wait(text) for text in ("GRUB: loading Linux", "guest login:")]
    console = m.console()
    os.write(console, b"root\n")
    m.wait("root@guest:~#")
    os.write(console, b"stty -echo; nproc; systemctl is-system-running; uname -r\n"
                      b"ip address add 10.9.0.2/24 dev $(ls /sys/class/net | grep en)\n"
                      b"dd if=/dev/urandom of=/var/tmp/new bs=1M count=4 conv=fsync; echo all said\n")
    m.wait("all said")
    key = bench.path("key")
    subprocess.run(["install", "-m", "0600", bench.tool("key"), key], check=True)
    ssh = subprocess.run(["ssh", "-i", key, "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o",
                          "ConnectTimeout=120", "root@10.9.0.2", "echo by ssh; lsblk -o NAME,SERIAL"],
                         capture_output=True, text=True, check=False, timeout=300)
    if "by ssh" not in ssh.stdout:
        raise Failed("ssh: %s\n%s" % (ssh.stderr, m.log()[-2000:]))
    stopped = time.monotonic()
    m.call("stop", timeout_ms=300000)
    m.end()
    if "by force" in m.log():
        raise Failed("the button was not heard:\n" + m.log()[-2000:])
    check = subprocess.run(["qemu-img", "check", bench.path("disk.qcow2")], capture_output=True, text=True, check=False)
    if check.returncode != 0:
        raise Failed("qemu-img check: %s%s" % (check.stdout, check.stderr))
    return "GRUB after %.1f s, login after %.1f s, off %.1f s after the button" % (*times, time.monotonic() - stopped)


CASES = {name[5:]: value for name, value in globals().items() if name.startswith("case_")}
