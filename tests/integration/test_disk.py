#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""libvenv/disk against qemu-img, by way of disk_tool: what one writes the other reads and accepts.

  test_disk.py DISK_TOOL [unittest arguments]

VENV_DISK_STEPS is the length of a random run, VENV_DISK_KILLS how often a writer is killed.
"""
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import unittest

TOOL = os.path.abspath(sys.argv.pop(1)) if len(sys.argv) > 1 else ""
STEPS = int(os.environ.get("VENV_DISK_STEPS", "1500"))
KILLS = int(os.environ.get("VENV_DISK_KILLS", "50"))
MB = 1 << 20
BLOCK = 4096


def run(*argv, check=True):
    result = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300)
    if check and result.returncode:
        raise AssertionError(f"{' '.join(argv)}: {result.returncode}: {result.stdout.decode(errors='replace')}")
    return result.returncode, result.stdout


class Disk(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="venv-test-disk.")
        self.addCleanup(shutil.rmtree, self.dir, True)

    def path(self, name):
        return os.path.join(self.dir, name)

    def tool(self, command, name, fmt="qcow2", *rest, check=True):
        return run(TOOL, self.dir, command, name, fmt, *map(str, rest), check=check)

    def qemu(self, command, *rest, check=True):
        return run("qemu-img", command, *rest, check=check)

    def create(self, name, size, **options):
        """By qemu-img. base: (name, format)"""
        base = options.pop("base", None)
        argv = ["-q", "-f", "qcow2"]
        if base:
            argv += ["-b", base[0], "-F", base[1]]
        if options:
            argv += ["-o", ",".join(f"{k}={v}" for k, v in options.items())]
        self.qemu("create", *argv, self.path(name), str(size))

    def accept(self, name, model=None):
        """qemu-img finds nothing wrong, not even a leak, and the content that is expected."""
        status, out = self.qemu("check", "-f", "qcow2", self.path(name), check=False)
        self.assertEqual(status, 0, out.decode())
        if model:
            status, out = self.qemu("compare", "-f", "qcow2", "-F", "raw", self.path(name), self.path(model),
                                    check=False)
            self.assertEqual(status, 0, out.decode())
        self.assertIn(b"leaks 0 errors 0", self.tool("check", name)[1])

    def model_of(self, name, model="model", fmt="qcow2"):
        self.qemu("convert", "-f", fmt, "-O", "raw", self.path(name), self.path(model))

    def content(self, name):
        with open(self.path(name), "rb") as f:
            return f.read()

    def fsx(self, name, seed, fmt="qcow2", steps=STEPS):
        self.tool("fsx", name, fmt, "model", seed, steps)

    def noise(self, name, size, holes=True):
        """A raw file with something in it, in parts."""
        rng = random.Random(name)
        with open(self.path(name), "wb") as f:
            f.truncate(size)
            for at in range(0, size, 65536):
                kind = rng.randrange(4)
                if kind == 0 and holes:
                    continue
                f.seek(at)
                block = rng.randbytes(64 if kind == 1 else 4096)
                f.write((block * (65536 // len(block)))[: min(65536, size - at)])


class Random(Disk):
    """Random operations beside a plain file."""

    def test_raw(self):
        self.tool("create", "disk", "raw", 10 * MB)
        self.fsx("disk", 1, "raw")

    def test_cluster_sizes(self):
        for bits in range(9, 22):
            with self.subTest(cluster_bits=bits):
                size = (3 if bits < 12 else 24) * MB + 512
                name = f"c{bits}.qcow2"
                self.tool("create", name, "qcow2", size, bits)
                self.qemu("check", self.path(name))
                self.fsx(name, bits)
                self.accept(name, "model")
                os.unlink(self.path("model"))

    def test_made_by_qemu(self):
        table = [dict(compat="0.10"), dict(compat="1.1", lazy_refcounts="on"), dict(preallocation="metadata"),
                 dict(cluster_size=512), dict(cluster_size=2 * MB)]
        table += [dict(refcount_bits=1 << order) for order in range(7)]
        for i, options in enumerate(table):
            with self.subTest(**options):
                self.create("disk", 8 * MB, **options)
                self.fsx("disk", i)
                self.accept("disk", "model")
                os.unlink(self.path("model"))

    def test_compressed(self):
        self.noise("noise", 6 * MB + 1024)
        for kind in ("zlib", "zstd"):
            for cluster in (512, 4096, 65536, 2 * MB):
                with self.subTest(kind=kind, cluster=cluster):
                    self.qemu("convert", "-c", "-f", "raw", "-O", "qcow2", "-o",
                              f"compression_type={kind},cluster_size={cluster}", self.path("noise"), self.path("disk"))
                    shutil.copy(self.path("noise"), self.path("model"))
                    self.fsx("disk", cluster)
                    self.accept("disk", "model")

    def test_chains(self):
        """Images of all kinds below; some are shorter than what lies on them."""
        self.noise("base.raw", 5 * MB + 512)
        self.qemu("convert", "-c", "-f", "raw", "-O", "qcow2", self.path("base.raw"), self.path("base.qcow2"))
        for seed, base in enumerate([("base.raw", "raw"), ("base.qcow2", "qcow2")]):
            for bits in (9, 12, 16, 18):
                with self.subTest(base=base, bits=bits):
                    before = self.content(base[0])
                    self.tool("create", "middle", "qcow2", 4 * MB + 512, 14, *base)
                    self.model_of("middle")
                    self.fsx("middle", seed, steps=STEPS // 5)
                    self.accept("middle", "model")
                    self.tool("create", "top", "qcow2", 8 * MB, bits, "middle", "qcow2")
                    self.model_of("top")
                    self.fsx("top", bits)
                    self.accept("top", "model")
                    self.assertEqual(before, self.content(base[0]))

    def test_v2_chain(self):
        self.noise("base.raw", 5 * MB)
        self.create("disk", 8 * MB, compat="0.10", base=("base.raw", "raw"))
        self.model_of("disk")
        self.fsx("disk", 5)
        self.accept("disk", "model")

    def test_snapshots_inside(self):
        """Written to beside a snapshot, which stays what it was."""
        self.noise("noise", 4 * MB)
        self.qemu("convert", "-f", "raw", "-O", "qcow2", self.path("noise"), self.path("disk"))
        self.qemu("snapshot", "-c", "then", self.path("disk"))
        self.model_of("disk")
        self.fsx("disk", 6)
        self.assertEqual(self.qemu("check", self.path("disk"), check=False)[0], 0)
        self.qemu("compare", "-f", "qcow2", "-F", "raw", self.path("disk"), self.path("model"))
        self.qemu("snapshot", "-a", "then", self.path("disk"))
        self.qemu("compare", "-f", "qcow2", "-F", "raw", self.path("disk"), self.path("noise"))

    def test_by_turns(self):
        """qemu-io writes too; the file stays usable to both."""
        self.tool("create", "disk", "qcow2", 16 * MB)
        for seed in range(5):
            self.model_of("disk")
            self.fsx("disk", seed, steps=STEPS // 5)
            self.accept("disk", "model")
            run("qemu-io", "-f", "qcow2", "-c", f"write -P {seed} {seed}M 3M", "-c", "discard 8M 1M", "-c",
                "write -z 9M 70k", self.path("disk"))
            self.accept("disk")


class Shape(Disk):
    def test_refcount_table_grows(self):
        """512-byte clusters: a cluster of the table counts 8 MiB, and an image by qemu-img has one."""
        self.create("disk", 40 * MB, cluster_size=512)
        self.tool("write", "disk", "qcow2", 0, 40 * MB, 7)
        self.accept("disk")
        self.assertEqual(self.tool("read", "disk", "qcow2", 40 * MB - 3, 3)[1], b"\7\7\7")

    def test_grow(self):
        for bits, compat in ((9, "1.1"), (12, "1.1"), (16, "1.1"), (16, "0.10")):
            with self.subTest(bits=bits, compat=compat):
                self.noise("base", 9 * MB)
                self.create("disk", 3 * MB + 512, cluster_size=1 << bits, compat=compat, base=("base", "raw"))
                self.model_of("disk")
                self.tool("grow", "disk", "qcow2", 64 * MB)
                os.truncate(self.path("model"), 64 * MB)
                self.accept("disk", "model")
                self.fsx("disk", 1)
                self.accept("disk", "model")
        self.tool("create", "huge", "qcow2", MB)
        self.tool("grow", "huge", "qcow2", 1 << 44)
        self.tool("write", "huge", "qcow2", (1 << 44) - 5000, 5000, 1)
        self.accept("huge")
        self.assertIn(b"INVALID", self.tool("grow", "huge", "qcow2", 1 << 30, check=False)[1])
        self.assertIn(b"INVALID", self.tool("grow", "huge", "qcow2", 1 << 62, check=False)[1])

    def test_dirty(self):
        """What qemu leaves behind with lazy refcounts when it is killed."""
        self.create("disk", 8 * MB, lazy_refcounts="on")
        run("qemu-io", "-f", "qcow2", "-c", "write -P 3 1M 3M", "-c", "write -P 4 6M 100k", "-c", "flush", "-c", "abort",
            self.path("disk"), check=False)
        self.assertIn(b"dirty", self.tool("info", "disk")[1])
        self.tool("ropen", "disk")
        self.tool("open", "disk")
        self.assertNotIn(b"dirty", self.tool("info", "disk")[1])
        self.accept("disk")
        self.assertEqual(self.tool("read", "disk", "qcow2", MB, 2)[1], b"\3\3")
        self.model_of("disk")
        self.fsx("disk", 1)
        self.accept("disk", "model")

    def test_extensions_stay(self):
        """A bitmap's bit is cleared by a writer, what we do not know is not touched."""
        self.create("disk", 8 * MB)
        self.qemu("bitmap", "--add", self.path("disk"), "marks")
        with open(self.path("disk"), "rb") as f:
            before = f.read(1024)
        self.tool("ropen", "disk")
        with open(self.path("disk"), "rb") as f:
            self.assertEqual(f.read(1024), before)
        self.tool("write", "disk", "qcow2", MB, 100, 1)
        with open(self.path("disk"), "rb") as f:
            after = f.read(1024)
        self.assertNotEqual(before[88:96], bytes(8))
        self.assertEqual(after[88:96], bytes(8))
        self.assertEqual(before[104:], after[104:])

    def test_lock(self):
        self.tool("create", "disk", "qcow2", MB)
        process = subprocess.Popen([TOOL, self.dir, "stamp", "disk", "qcow2", "1", "100000000"],
                                   stdout=subprocess.PIPE)
        process.stdout.readline()
        self.assertIn(b"BUSY", self.tool("open", "disk", check=False)[1])
        self.assertIn(b"BUSY", self.tool("ropen", "disk", check=False)[1])
        self.assertIn(b"lock", self.qemu("check", self.path("disk"), check=False)[1])
        process.kill()
        process.wait()
        process.stdout.close()
        self.tool("open", "disk")

    def test_room_comes_back(self):
        self.tool("create", "disk", "qcow2", 16 * MB)
        self.tool("write", "disk", "qcow2", 0, 16 * MB, 1)
        full = os.stat(self.path("disk")).st_blocks
        run("qemu-io", "-f", "qcow2", "-c", "read 0 512", self.path("disk"))
        self.tool("create", "model", "raw", 16 * MB)
        self.assertGreater(full * 512, 16 * MB - 1)


class Crash(Disk):
    def replay(self, lines, blocks):
        """For each block, the stamps that it may hold; and whether it is known."""
        sure = [0] * blocks
        maybe = [set() for _ in range(blocks)]
        for i, line in enumerate(lines):
            word = line.split()
            done = i + 1 < len(lines) and lines[i + 1] == "."
            if word[0] in "wz":
                at, n = int(word[1]), int(word[2])
                stamp = int(word[3]) if word[0] == "w" else 0
                for block in range(at, at + n):
                    maybe[block].add((i, stamp))
            elif word[0] == "f" and done:
                for block in range(blocks):
                    if maybe[block]:
                        sure[block] = max(maybe[block])[1]
                        maybe[block] = set()
        return [{s} | {stamp for _, stamp in m} for s, m in zip(sure, maybe)]

    def kill_one(self, seed, bits, base):
        rng = random.Random(seed)
        size = 6 * MB
        argv = ["disk", "qcow2", size, bits] + (["base", "raw"] if base else [])
        self.tool("create", *argv)
        with open(self.path("log"), "wb") as log:
            process = subprocess.Popen([TOOL, self.dir, "stamp", "disk", "qcow2", str(seed), "1000000"], stdout=log)
        time.sleep(rng.uniform(0.005, 0.12))
        process.send_signal(signal.SIGKILL)
        process.wait()
        status, out = self.qemu("check", "-f", "qcow2", self.path("disk"), check=False)
        self.assertIn(status, (0, 3), out.decode())  # 3: leaks, nothing else
        self.assertIn(b" errors 0", self.tool("check", "disk")[1])
        with open(self.path("log")) as f:
            lines = f.read().split("\n")
        allowed = self.replay([line for line in lines if line], size // BLOCK)
        self.model_of("disk")
        with open(self.path("model"), "rb") as f:
            data = f.read()
        for block, may in enumerate(allowed):
            # a write of several blocks may be there in part: each block, even each sector, for itself
            for word in struct.unpack_from("<1024I", data, block * BLOCK)[::128]:
                self.assertIn(word, may, f"seed {seed} block {block}")
        self.fsx("disk", seed, steps=100)
        return len(lines)

    def test_kill(self):
        with open(self.path("base"), "wb") as f:
            f.truncate(5 * MB)
        steps = 0
        for seed in range(KILLS):
            with self.subTest(seed=seed):
                if os.path.exists(self.path("model")):
                    os.unlink(self.path("model"))
                steps += self.kill_one(seed, (9, 12, 16, 12, 18)[seed % 5], seed % 2)
        self.assertGreater(steps, 2 * KILLS)

    @unittest.skipUnless(os.geteuid() == 0, "needs root: a small file system of its own")
    def test_no_room(self):
        """ENOSPC at many places; each time the image is whole, and goes on once there is room."""
        for seed in range(12):
            with self.subTest(seed=seed):
                small = self.path("small")
                os.makedirs(small, exist_ok=True)
                kind = ["-t", "tmpfs", "-o", f"size={2000 + 37 * seed}k", "tmpfs"]
                run("mount", *kind, small)
                try:
                    run(TOOL, small, "create", "disk", "qcow2", str(16 * MB), str((9, 12, 16)[seed % 3]))
                    status, out = run(TOOL, small, "stamp", "disk", "qcow2", str(seed), "100000", check=False)
                    self.assertEqual(status, 1)
                    self.assertIn(b"No space left", out)
                    status, out = self.qemu("check", "-f", "qcow2", small + "/disk", check=False)
                    self.assertIn(status, (0, 3), out.decode())
                    run("mount", "-o", "remount,size=40000k", small)
                    if os.path.exists(small + "/model"):
                        os.unlink(small + "/model")
                    self.qemu("convert", "-f", "qcow2", "-O", "raw", small + "/disk", small + "/model")
                    run(TOOL, small, "fsx", "disk", "qcow2", "model", str(seed), "400")
                    status, out = self.qemu("check", "-f", "qcow2", small + "/disk", check=False)
                    self.assertIn(status, (0, 3), out.decode())
                finally:
                    run("umount", small)


class Hostile(Disk):
    """Each malformed field: an error with its name, no crash, no file that is not ours."""

    def be(self, name, at, value, size):
        with open(self.path(name), "r+b") as f:
            f.seek(at)
            f.write(value.to_bytes(size, "big"))

    def field(self, name, at, size):
        with open(self.path(name), "rb") as f:
            f.seek(at)
            return int.from_bytes(f.read(size), "big")

    def refused(self, text, *changes, **options):
        """changes: (offset, value, bytes)"""
        self.create("disk", 4 * MB, **options)
        run("qemu-io", "-f", "qcow2", "-c", "write 0 200k", self.path("disk"))
        for at, value, size in changes:
            self.be("disk", at(self) if callable(at) else at, value, size)
        out = b""
        for command, rest in (("ropen", ()), ("open", ()), ("write", (0, 300000, 1))):
            status, out = self.tool(command, "disk", "qcow2", *rest, check=False)
            self.assertIn(status, (0, 1), out.decode())
            if status:
                break
        self.assertEqual(status, 1, f"{text}: accepted")
        self.assertIn(text, out.decode())

    def l2(self):
        l1 = self.field("disk", 40, 8)
        return self.field("disk", l1, 8) & 0x00fffffffffffe00

    def test_header(self):
        big = (1 << 64) - 1
        table = [
            ("not a qcow2 image", (0, 0, 4)),
            ("version 4", (4, 4, 4)),
            ("version 0", (4, 0, 4)),
            ("clusters is out of range", (20, 8, 4)),
            ("clusters is out of range", (20, 22, 4)),
            ("clusters is out of range", (20, 0xffffffff, 4)),
            ("length is out of range", (24, big, 8)),
            ("L1 table is too small", (24, 1 << 60, 8)),
            ("L1 table is too small", (36, 0, 4)),
            ("L1 table is too large", (36, 0xffffffff, 4)),
            ("L1 table lies outside", (36, 100000, 4)),
            ("L1 table lies outside", (40, 1 << 60, 8)),
            ("L1 table lies outside", (40, big, 8)),
            ("L1 table lies outside", (40, 513, 8)),
            ("L1 table lies outside", (40, 0, 8)),
            ("is encrypted", (32, 1, 4)),
            ("is encrypted", (32, 2, 4)),
            ("there is no refcount table", (56, 0, 4)),
            ("refcount table is too large", (56, 0xffffffff, 4)),
            ("refcount table lies outside", (48, 1 << 50, 8)),
            ("refcount table lies outside", (48, 65536 + 512, 8)),
            ("too many snapshots", (60, 0xffffffff, 4)),
            ("snapshots lie outside", (60, 1, 4), (64, 1 << 50, 8)),
            ("refcounts is out of range", (96, 7, 4)),
            ("length of the header", (100, 96, 4)),
            ("length of the header", (100, 1 << 20, 4)),
            ("length of the header", (100, 107, 4)),
            ("external data file", (72, 4, 8)),
            ("extended L2 entries", (72, 16, 8)),
            ("unknown feature 63", (72, 1 << 63, 8)),
            ("contradict", (72, 8, 8)),
            ("contradict", (104, 1, 1)),
            ("compression type 2", (104, 2, 1)),
            ("marked as corrupt", (72, 2, 8)),
            ("extension is cut off", (112, 0x1234, 4), (116, 0xffffffff, 4)),
            ("too long", (8, 4096, 8), (16, 1024, 4)),
            ("outside of the header", (8, 65530, 8), (16, 100, 4)),
            ("outside of the header", (8, 20, 8), (16, 100, 4)),
            ("outside of the header", (8, big, 8), (16, 100, 4)),
            ("does not say the format", (8, 4096, 8), (16, 3, 4), (4096, 0x616161, 3)),
            ("has a zero in it", (8, 4096, 8), (16, 3, 4), (4096, 0, 3)),
            ("refcount table lies over another", (48, 0x30000, 8)),
        ]
        for row in table:
            with self.subTest(row[0], changes=row[1:]):
                self.refused(*row)

    def test_tables(self):
        l1 = lambda t: t.field("disk", 40, 8)
        l2 = lambda t: t.l2()
        l2b = lambda t: t.l2() + 8
        refs = lambda t: t.field("disk", 48, 8)
        block = lambda t: t.field("disk", t.field("disk", 48, 8), 8)
        owned = 1 << 63
        table = [
            ("an L2 table has reserved", (l1, owned | 0x40001, 8)),
            ("an L2 table has reserved", (l1, owned | 1 << 60 | 0x40000, 8)),
            ("an L2 table does not begin", (l1, owned | 0x40200, 8)),
            ("an L2 table lies outside", (l1, owned | 1 << 40, 8)),
            ("the refcount table lies over another", (l1, owned | 0x10000, 8)),
            ("an L2 table lies over another", (l1, owned | 0x30000, 8)),
            ("an L2 table lies over another", (lambda t: l1(t) + 8, owned | 0x40000, 8), (36, 2, 4)),
            ("a refcount block has reserved", (refs, 0x20001, 8)),
            ("a refcount block does not begin", (refs, 0x20200, 8)),
            ("a refcount block lies outside", (refs, 1 << 40, 8)),
            ("a refcount block lies over another", (refs, 0x10000, 8)),
            ("L2 entry has reserved", (l2, owned | 0x50002, 8)),
            ("L2 entry has reserved", (l2, owned | 1 << 58 | 0x50000, 8)),
            ("does not point to a cluster", (l2, owned | 0x50200, 8)),
            ("a cluster lies outside", (l2, owned | 1 << 40, 8)),
            ("a cluster of data is one of a table", (l2, owned | 0x10000, 8)),
            ("a cluster of data is one of a table", (l2, owned | 0x20000, 8)),
            ("a cluster of data is one of a table", (l2, owned | 0x30000, 8)),
            ("compressed data lies outside", (l2, 1 << 62 | 1 << 40, 8)),
            ("compressed data lies outside", (l2, 1 << 62 | 0x3fffffffffffff, 8)),
            ("'used once'", (l2, 3 << 62 | 0x50000, 8)),
            ("cannot be unpacked", (l2, 1 << 62 | 0x50000, 8)),
            ("a table is not counted", (l2b, 0, 8), (l2, 0, 8), (block, 0, 8), (lambda t: block(t) + 8, 0, 8)),
        ]
        for row in table:
            with self.subTest(row[0], changes=row[1:]):
                self.refused(*row)

    def test_marked(self):
        """What contradicts itself under a writer is marked; readers may go on."""
        self.create("disk", 4 * MB)
        run("qemu-io", "-f", "qcow2", "-c", "write 0 200k", self.path("disk"))
        self.be("disk", self.l2(), 1 << 63 | 0x10000, 8)
        self.assertIn(b"CORRUPT", self.tool("write", "disk", "qcow2", 0, 100, 1, check=False)[1])
        self.assertIn(b"corrupt", self.tool("info", "disk")[1])
        self.assertIn(b"only be read", self.tool("open", "disk", check=False)[1])
        self.assertEqual(self.tool("read", "disk", "qcow2", 100 * 1024, 1)[0], 0)

    def test_cut_off(self):
        self.noise("noise", MB)
        self.qemu("convert", "-f", "raw", "-O", "qcow2", self.path("noise"), self.path("whole"))
        size = os.path.getsize(self.path("whole"))
        for at in [0, 3, 71, 72, 100, 103, 104, 111, 65536] + list(range(1, size, size // 37)):
            shutil.copy(self.path("whole"), self.path("disk"))
            os.truncate(self.path("disk"), at)
            for command in ("ropen", "open", "check"):
                status, out = self.tool(command, "disk", check=False)
                self.assertIn(status, (0, 1), f"{at}: {out.decode()}")

    def test_features_have_names(self):
        name = b"quantum clusters"
        self.refused("quantum clusters", (72, 1 << 40, 8), (112, 0x6803f857, 4), (116, 48, 4), (120, 40, 2),
                     (122, int.from_bytes(name + bytes(46 - len(name)), "big"), 46), (168, 0, 8))

    def test_files_below(self):
        os.mkdir(self.path("store"))
        with open(self.path("secret"), "wb") as f:
            f.write(b"x" * MB)
        self.tool("create", "store/base.qcow2", "qcow2", MB)
        os.symlink("../secret", self.path("store/link"))
        os.mkfifo(self.path("store/fifo"))
        table = [("../secret", "NOT_FOUND"), ("/etc/passwd", "DENIED"), (self.path("secret"), "DENIED"),
                 ("link", "DENIED"), ("fifo", "DENIED"), (".", "DENIED"), ("none", "NOT_FOUND"),
                 ("json:{}", "NOT_FOUND"), ("nbd://localhost", "NOT_FOUND"), ("disk", "BUSY"),
                 ("base.qcow2", None), ("./../base.qcow2", None), (self.path("store/base.qcow2"), None)]
        for name, code in table:
            with self.subTest(name=name):
                run(TOOL, self.path("store"), "create", "disk", "qcow2", str(MB), "16", name, "qcow2")
                status, out = run(TOOL, self.path("store"), "open", "disk", "qcow2", check=False)
                self.assertEqual(status, 1 if code else 0, out.decode())
                if code:
                    self.assertIn(code, out.decode())

    def test_never_probed(self):
        """A raw disk whose guest wrote a qcow2 header into it stays a raw disk, also below another."""
        self.tool("create", "evil", "qcow2", MB, 16, "/etc/passwd", "raw")
        with open(self.path("evil"), "rb") as f:
            data = f.read(512)
        self.assertEqual(self.tool("read", "evil", "raw", 0, 512)[1], data)
        self.tool("create", "top", "qcow2", MB, 16, "evil", "raw")
        self.assertEqual(self.tool("read", "top", "qcow2", 0, 512)[1], data)

    def test_too_deep(self):
        self.tool("create", "0", "qcow2", MB)
        for i in range(1, 40):
            self.tool("create", str(i), "qcow2", MB, 16, str(i - 1), "qcow2")
        self.tool("open", "31")
        self.assertIn(b"more than 32 images", self.tool("open", "32", check=False)[1])


if __name__ == "__main__":
    if not shutil.which("qemu-img") or not shutil.which("qemu-io"):
        print("qemu-img is not installed")
        sys.exit(77)
    unittest.main()
