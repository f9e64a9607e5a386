# SPDX-License-Identifier: Apache-2.0
"""Disk boxes: images and Vagrant boxes made by the real tools, and what strangers make of them."""
import hashlib
import io
import json
import os
import random
import re
import shutil
import signal
import struct
import subprocess
import tarfile
import time
import zipfile

MIB = 1 << 20
GIB = 1 << 30


class DiskBoxes:
    """Mixed into box_test.Store."""

    # ---- helpers

    def shell(self, *command):
        if not shutil.which(command[0]):
            self.skipTest(f"{command[0]} is not installed")
        return subprocess.run(command, check=True, capture_output=True, timeout=120).stdout

    def qcow2(self, name, size="1G", data=b"hello", options=()):
        """A qcow2 image with some data at its beginning and its end."""
        path = os.path.join(self.work, name)
        raw = path + ".tmp"
        self.shell("qemu-img", "create", "-q", "-f", "raw", raw, size)
        with open(raw, "r+b") as file:
            file.write(data)
            file.seek(-len(data), os.SEEK_END)
            file.write(data)
        self.shell("qemu-img", "convert", "-q", "-f", "raw", "-O", "qcow2", *options, raw, path)
        os.unlink(raw)
        os.chmod(path, 0o644)
        return path

    def box(self, name, members, mode="w:gz"):
        """A Vagrant box: members are names and bytes, dicts (JSON), paths of files, or TarInfos."""
        path = os.path.join(self.work, name)
        with tarfile.open(path, mode, format=tarfile.GNU_FORMAT) as archive:
            for member, content in members:
                if isinstance(content, tarfile.TarInfo):
                    content.name = member
                    archive.addfile(content)
                elif isinstance(content, str):
                    archive.add(content, member)
                else:
                    data = json.dumps(content).encode() if isinstance(content, dict) else content
                    info = tarfile.TarInfo(member)
                    info.size = len(data)
                    archive.addfile(info, io.BytesIO(data))
        os.chmod(path, 0o644)
        return path

    @staticmethod
    def v1(**more):
        return {"provider": "libvirt", "format": "qcow2", "virtual_size": 1, **more}

    def refuse_box(self, expected, *members, code=None, hint=None):
        answer = self.drive("add", self.box("bad.box", members), "bad", ok=False)
        self.assertIn(expected, answer["error"])
        self.assertIn("bad.box", answer["error"])
        if code:
            self.assertEqual(answer["code"], code)
        if hint:
            self.assertIn(hint, answer["hint"])
        self.assert_no_disk()

    def assert_no_disk(self):
        for directory in ("stage", "disks", "records", "names"):
            self.assertEqual(self.entries(directory), [], directory)

    def assert_same(self, one, one_format, other, other_format):
        self.shell("qemu-img", "compare", "-q", "-U", "-f", one_format, "-F", other_format, one, other)

    def assert_stored(self, path, source):
        with open(path, "rb") as file:
            name = hashlib.sha256(file.read()).hexdigest()
        self.assertEqual(os.path.basename(path).split(".")[0], name)
        st = os.stat(path)
        self.assertEqual((st.st_mode & 0o7777, st.st_nlink), (0o400, 1))
        self.assertEqual(st.st_uid, os.stat(self.store("disks")).st_uid)
        self.assertEqual(st.st_size, os.stat(source).st_size)

    # ---- what is taken

    def test_disk_vagrant_v1(self):
        image = self.qcow2("box.img")
        box = self.drive("add", self.box("a.box", [("./metadata.json", self.v1()), ("./Vagrantfile", b"#"),
                                                   ("./info.json", {"author": "me", "n": 3}), ("./box.img", image)]))
        self.assertEqual((box["name"], box["kind"], box["format"], box["virtual_size"], box["user"],
                          box["insecure_key"], box["architecture"]),
                         ("a", "disk", "qcow2", GIB, "vagrant", True, "amd64"))
        self.assertEqual(box["vagrant"], {"vagrantfile": True, "info": {"author": "me"}})
        self.assertIn("Vagrantfile is not read", self.stderr)
        self.assertEqual(len(box["disks"]), 1)
        self.assert_stored(box["disks"][0], image)
        self.assert_same(box["disks"][0], "qcow2", image, "qcow2")
        # the same from other archives, and as Vagrant keeps it
        for mode in ("w", "w:gz", "w:xz"):
            path = self.box("b.box", [("box.img", image), ("metadata.json", self.v1()), ("Vagrantfile", b"#"),
                                      ("info.json", {"author": "me"})], mode)
            os.rename(path, self.work + "/renamed")
            self.assertEqual(self.drive("add", self.work + "/renamed", "b")["digest"], box["digest"])
        self.assertEqual(len(self.entries("disks")), 1)
        os.mkdir(self.work + "/kept")
        os.chmod(self.work + "/kept", 0o755)
        shutil.copy(image, self.work + "/kept/box.img")
        self.write("kept/metadata.json", json.dumps(self.v1()).encode())
        kept = self.drive("add", self.work + "/kept", "kept")
        self.assertEqual(kept["disks"], box["disks"])
        self.assertEqual(kept["vagrant"], {"vagrantfile": False, "info": {}})
        self.assertTrue(os.path.exists(self.work + "/kept/box.img"))

    def test_disk_vagrant_v2(self):
        images = [self.qcow2(f"d{i}.img", f"{i + 1}G", bytes([65 + i]) * 100) for i in range(3)]
        metadata = {"provider": "libvirt", "format": "qcow2", "architecture": "x86_64",
                    "disks": [{"path": "box_1.img"}, {"path": "more/second.img", "name": "data"}, {"path": "z.img"}]}
        box = self.drive("add", self.box("multi.box", [("z.img", images[2]), ("metadata.json", metadata),
                                                       ("more/second.img", images[1]), ("box_1.img", images[0])]))
        self.assertEqual(box["virtual_size"], GIB)
        for path, image in zip(box["disks"], images):
            self.assert_stored(path, image)
            self.assert_same(path, "qcow2", image, "qcow2")
        with open(self.store("records", self.entries("records")[0])) as file:
            record = json.load(file)
        self.assertEqual(record["format"], 2)
        self.assertEqual([d["name"] for d in record["content"]["disks"]], ["box_1", "data", "z"])
        # the order is part of what it is
        metadata["disks"].reverse()
        other = self.drive("add", self.box("multi.box", [("metadata.json", metadata), ("more/second.img", images[1]),
                                                         ("z.img", images[2]), ("box_1.img", images[0])]), "other")
        self.assertNotEqual(other["digest"], box["digest"])
        self.assertEqual(other["disks"], box["disks"][::-1])
        self.assertEqual(len(self.entries("disks")), 3)

    def test_disk_plain(self):
        image = self.qcow2("cloud.img", options=("-c",))
        box = self.drive("add", image)
        self.assertEqual((box["name"], box["format"], box["virtual_size"]), ("cloud", "qcow2", GIB))
        self.assertNotIn("user", box)
        self.assertNotIn("insecure_key", box)
        self.assert_stored(box["disks"][0], image)
        os.rename(image, self.work + "/x.qcow2")
        self.assertEqual(self.drive("add", self.work + "/x.qcow2")["digest"], box["digest"])
        # every kind that qemu-img makes and we read
        for i, options in enumerate((["-o", "compat=0.10"], ["-o", "compression_type=zstd", "-c"],
                                     ["-o", "cluster_size=4k"], ["-o", "preallocation=metadata"])):
            image = self.qcow2(f"o{i}.qcow2", options=options)
            self.assert_same(self.drive("add", image)["disks"][0], "qcow2", image, "qcow2")

    def test_disk_raw(self):
        path = self.work + "/d.raw"
        with open(path, "wb") as file:
            file.truncate(128 * MIB)
            file.seek(64 * MIB)
            file.write(b"x" * MIB)
        os.chmod(path, 0o644)
        box = self.drive("add", path)
        self.assertEqual((box["format"], box["virtual_size"]), ("raw", 128 * MIB))
        self.assert_stored(box["disks"][0], path)
        self.assertLess(os.stat(box["disks"][0]).st_blocks * 512, 2 * MIB)
        self.assertLess(box["size"], 2 * MIB)
        self.assert_same(box["disks"][0], "raw", path, "raw")
        os.rename(path, self.work + "/noname")
        self.assertEqual(self.drive("add", "raw:" + self.work + "/noname")["digest"], box["digest"])
        self.assertEqual(self.drive("list")[0]["kind"], "disk")

    def test_disk_sparse_in_a_box(self):
        path = self.work + "/box.img"
        with open(path, "wb") as file:
            file.truncate(256 * MIB)
            file.seek(200 * MIB)
            file.write(b"x" * 4096)
        tar = self.work + "/s.box"
        self.write("metadata.json", json.dumps(self.v1(format="raw", virtual_size=1)).encode())
        self.shell("tar", "-C", self.work, "-Scf", tar, "metadata.json", "box.img")
        os.chmod(tar, 0o644)
        box = self.drive("add", tar)
        self.assertEqual((box["format"], box["virtual_size"]), ("raw", 256 * MIB))
        self.assertLess(os.stat(box["disks"][0]).st_blocks * 512, MIB)

    # ---- the format is said, not guessed

    def test_disk_formats(self):
        image = self.qcow2("a.qcow2")
        os.rename(image, self.work + "/a.raw")
        answer = self.drive("add", self.work + "/a.raw", ok=False)
        self.assertIn("qcow2:", answer["hint"])
        # whoever says that it is raw gets it raw, also later
        box = self.drive("add", "raw:" + self.work + "/a.raw")
        self.assertEqual((box["format"], self.drive("open", "a")["format"]), ("raw", "raw"))
        self.assertIn("not a qcow2", self.drive("add", "qcow2:" + self.write("b", b"\0" * 1024), "b", ok=False)["error"])
        self.assertIn("no qcow2 image", self.drive("add", self.write("b.qcow2", b"\0" * 1024), ok=False)["error"])
        self.assertIn("no whole sectors", self.drive("add", self.write("b.img", b"\0" * 1025), ok=False)["error"])
        self.assertIn("empty disk", self.drive("add", self.write("b.img", b""), ok=False)["error"])
        for name, hint in (("x.vmdk", "qemu-img convert"), ("x.img.xz", "xz -d"), ("x.QCOW2.gz", "gzip -d")):
            answer = self.drive("add", self.write(name, b"data"), ok=False)
            self.assertEqual(answer["code"], "UNSUPPORTED")
            self.assertIn(hint, answer["hint"])
        with zipfile.ZipFile(self.work + "/z.box", "w") as archive:
            archive.writestr("metadata.json", json.dumps(self.v1()))
        os.chmod(self.work + "/z.box", 0o644)
        answer = self.drive("add", self.work + "/z.box", ok=False)
        self.assertEqual(answer["code"], "UNSUPPORTED")
        self.assertIn("unzip", answer["hint"])

    # ---- what is refused: metadata

    def test_disk_bad_metadata(self):
        image = self.qcow2("box.img", "64M")
        rest = ("box.img", image)
        for metadata, expected in (
                (b"{", "not valid JSON"), (b"[]", "not valid JSON"), (b"", "metadata.json"),
                (b"[" * 100000, "not valid JSON"), (b'{"provider":"libvirt","provider":"x"}', "not valid JSON"),
                (b" " * 300000, "metadata.json"), ({}, "'provider'"), ({"provider": 7}, "'provider'"),
                ({"provider": "virtualbox"}, "for 'virtualbox'"), ({"provider": "libvirt"}, "'format'"),
                (self.v1(format="vmdk"), "'vmdk'"), (self.v1(format="../x"), "'../x'"),
                (self.v1(architecture="arm64"), "for arm64, and this host is"),
                (self.v1(architecture="\x1b[31m"), "architecture"),
                (self.v1(virtual_size=-1), "no size"), (self.v1(virtual_size="40"), "no size"),
                (self.v1(virtual_size=1e300), "no size"), (self.v1(virtual_size=0), "no size"),
                (self.v1(disks=[]), "0 disks"), (self.v1(disks={}), "disks"), (self.v1(disks=[3]), "proper 'path'"),
                (self.v1(disks=[{"path": "box.img"}] * 33), "33 disks"),
                (self.v1(disks=[{"path": "box.img"}] * 2), "the name 'box'"),
                (self.v1(disks=[{"path": "box.img", "name": "x"}, {"path": "b.img", "name": "x"}]), "the name 'x'"),
                (self.v1(disks=[{"path": "/etc/passwd"}]), "leads out of the box"),
                (self.v1(disks=[{"path": "a/../../../x"}]), "'..' is not allowed"),
                (self.v1(disks=[{"path": "../box.img"}]), "'..' is not allowed"),
                (self.v1(disks=[{"path": "none.img"}]), "no file 'none.img'"),
                (self.v1(disks=[{"path": "x" * 300}]), "proper 'path'"),
                (self.v1(disks=[{"path": "metadata.json"}]), "not a qcow2"),
                (self.v1(disks=[{"path": "."}]), "no file")):
            with self.subTest(metadata=str(metadata)[:80]):
                self.refuse_box(expected, ("metadata.json", metadata), rest)
        self.refuse_box("no 'metadata.json'", rest)
        self.refuse_box("for VirtualBox", ("box.ovf", b"<x/>"), rest)
        # its own opinion of the size, when it is only larger, is told; and without one it does
        self.drive("add", self.box("x.box", [("metadata.json", self.v1(virtual_size=7)), rest]))
        self.assertIn("has 7 GiB", self.stderr)
        self.drive("add", self.box("x.box", [("metadata.json", {"provider": "libvirt", "format": "qcow2"}), rest]))

    def test_disk_lying_size(self):
        image = self.qcow2("box.img", "3G")
        self.refuse_box("has 1 GiB, and 'box.img' has 3", ("metadata.json", self.v1()), ("box.img", image), code="BOX")

    # ---- what is refused: ways out of the archive

    def test_disk_links(self):
        image = self.qcow2("box.img", "64M")
        self.write("outside/secret", b"s" * 4096)

        def link(target, kind=tarfile.SYMTYPE):
            info = tarfile.TarInfo()
            info.type, info.linkname = kind, target
            return info

        metadata = ("metadata.json", self.v1(format="raw"))
        secret = self.outside + "/secret"
        for target in ("/etc/passwd", secret, "real.img", "../../../../../../etc/passwd"):
            self.refuse_box("symbolic link", metadata, ("real.img", image), ("box.img", link(target)))
        self.refuse_box("symbolic link", ("metadata.json", link("/etc/passwd")), ("box.img", image))
        self.refuse_box("symbolic link", ("metadata.json", self.v1(disks=[{"path": "d/secret"}])),
                        ("d", link(self.outside)))
        self.refuse_box("no file 'box.img'", metadata, ("box.img", link(secret, tarfile.LNKTYPE)))
        self.refuse_box("'..' is not allowed", metadata, ("../box.img", image))
        self.refuse_box("no file 'box.img'", metadata, ("box.img", link("", tarfile.FIFOTYPE)))
        os.unlink(secret)
        # a hard link inside of the box is a file like any other
        v2 = {"provider": "libvirt", "format": "qcow2", "disks": [{"path": "a.img"}, {"path": "b.img"}]}
        box = self.drive("add", self.box("l.box", [("metadata.json", v2), ("a.img", image),
                                                   ("b.img", link("a.img", tarfile.LNKTYPE))]))
        self.assertEqual(box["disks"][0], box["disks"][1])
        self.assert_stored(box["disks"][0], image)

    # ---- what is refused: images

    def refuse_image(self, expected, image, code=None):
        self.refuse_box(expected, ("metadata.json", self.v1()), ("box.img", image), code=code)
        answer = self.drive("add", "qcow2:" + image, "bad", ok=False)
        self.assertIn(expected, answer["error"])
        self.assert_no_disk()

    def patch(self, image, *changes):
        path = self.work + "/patched.qcow2"
        shutil.copy(image, path)
        with open(path, "r+b") as file:
            for offset, data in changes:
                file.seek(offset)
                file.write(data)
        return path

    def test_disk_backing_file(self):
        overlay = self.work + "/o.qcow2"
        for base, form in (("/etc/passwd", "raw"), ("../../../etc/passwd", "raw"), ("none.img", "qcow2")):
            self.shell("qemu-img", "create", "-q", "-u", "-f", "qcow2", "-b", base, "-F", form, overlay, "1G")
            os.chmod(overlay, 0o644)
            self.refuse_image(f"lies on another image, '{base}'", overlay, "BOX")

    def test_disk_data_file(self):
        self.shell("qemu-img", "create", "-q", "-f", "qcow2", "-o", f"data_file={self.work}/data.raw",
                   self.work + "/d.qcow2", "1G")
        os.chmod(self.work + "/d.qcow2", 0o644)
        self.refuse_image("external data file", self.work + "/d.qcow2", "UNSUPPORTED")

    def test_disk_features(self):
        image = self.qcow2("a.qcow2")
        self.refuse_image("unknown feature 62", self.patch(image, (72, struct.pack(">Q", 1 << 62))), "UNSUPPORTED")
        self.refuse_image("extended L2", self.patch(image, (72, struct.pack(">Q", 1 << 4))), "UNSUPPORTED")
        self.refuse_image("says of itself that it is corrupt", self.patch(image, (72, struct.pack(">Q", 2))), "BOX")
        self.refuse_image("not closed properly", self.patch(image, (72, struct.pack(">Q", 1))), "BOX")
        self.refuse_image("encrypted", self.patch(image, (32, struct.pack(">I", 1))), "UNSUPPORTED")

    def test_disk_damaged(self):
        image = self.qcow2("a.qcow2", data=os.urandom(MIB))
        with open(image, "rb") as file:
            head = file.read(512)
        l1, = struct.unpack(">Q", head[40:48])
        size = os.stat(image).st_size
        self.refuse_image("", self.patch(image, (24, struct.pack(">Q", 1 << 62))), "BOX")
        self.refuse_image("", self.patch(image, (24, struct.pack(">Q", 1 << 55))), "BOX")
        self.refuse_image("L1 table", self.patch(image, (40, struct.pack(">Q", 1 << 40))), "BOX")
        self.refuse_image("", self.patch(image, (l1, struct.pack(">Q", 1 << 63 | size * 16))), "BOX")
        rng = random.Random(3)
        for _ in range(6):
            path = self.patch(image)
            os.truncate(path, rng.randrange(1, size // 65536) * 65536)
            self.refuse_image("", path, "BOX")
        # one L2 table named by all L1 entries: not a way to keep us busy
        self.shell("qemu-img", "create", "-q", "-f", "qcow2", "-o", "cluster_size=2M", self.work + "/big.qcow2", "60T")
        with open(self.work + "/big.qcow2", "rb") as file:
            head = file.read(512)
        l1, entries = struct.unpack(">Q", head[40:48])[0], struct.unpack(">I", head[36:40])[0]
        path = self.patch(self.work + "/big.qcow2", (l1, struct.pack(">Q", 4 * MIB) * entries))
        start = time.monotonic()
        self.refuse_image("", path, "BOX")
        self.assertLess(time.monotonic() - start, 30)

    def test_disk_truncated_box(self):
        image = self.qcow2("box.img", data=os.urandom(MIB))
        for mode in ("w", "w:gz"):
            whole = self.box("t.box", [("metadata.json", self.v1()), ("box.img", image)], mode)
            size = os.stat(whole).st_size
            for at in (size // 2, size - 12000, 1024, 10):
                os.truncate(whole, at)
                self.drive("add", whole, "bad", ok=False)
                self.assert_no_disk()
                whole = self.box("t.box", [("metadata.json", self.v1()), ("box.img", image)], mode)

    def test_disk_bombs(self):
        # a hole of eight exbibytes, and one of more than any box may have
        for size in (2 ** 63 - 1024, 300 * GIB):
            archive = self.box("bomb.box", [("metadata.json", self.v1())], "w")
            header = tarfile.TarInfo("box.img")
            header.size = size
            pax = header.tobuf(tarfile.PAX_FORMAT)
            with open(archive, "r+b") as file:
                file.seek(1024)
                file.write(pax)
                file.truncate()
            self.drive("add", archive, "bad", ok=False)
            self.assert_no_disk()
        # zeroes that were packed well become holes, not blocks
        image = self.work + "/zero.img"
        with open(image, "wb") as file:
            file.truncate(96 * MIB)
        box = self.drive("add", self.box("z.box", [("metadata.json", self.v1(format="raw")), ("box.img", image)]))
        self.assertLess(os.stat(box["disks"][0]).st_blocks * 512, MIB)

    # ---- in the store

    def test_disk_use(self):
        one = self.drive("add", self.qcow2("one.qcow2", data=b"1"), "x")
        two = self.drive("add", self.qcow2("two.qcow2", data=b"2"), "x@2")
        self.assertEqual([b["disks"] for b in self.drive("list")], [1, 1])
        self.assertEqual(self.drive("info", "x")["machines"], [])
        answer = self.drive("remove", "x", ok=False, BOX_TEST_USED=one["digest"])
        self.assertEqual(answer["code"], "BUSY")
        self.drive("add", self.qcow2("three.qcow2", data=b"3"), "x")
        self.assertEqual(self.drive("prune", BOX_TEST_USED=one["digest"])["disks"], 0)
        self.assertEqual(self.drive("open", one["digest"])["disks"], one["disks"])
        gone = self.drive("prune")
        self.assertEqual((gone["disks"], gone["boxes"]), (1, 1))
        self.assertGreater(gone["bytes"], 0)
        self.assertFalse(os.path.exists(one["disks"][0]))
        self.assertTrue(os.path.exists(two["disks"][0]))
        os.unlink(two["disks"][0])
        answer = self.drive("open", "x@2", ok=False)
        self.assertEqual(answer["code"], "CORRUPT")
        self.assertIn("add the box again", answer["hint"])
        self.drive("add", self.work + "/two.qcow2", "x@2")
        self.drive("open", "x@2")
        self.drive("remove", "x")
        self.assert_no_disk()

    def test_disk_killed(self):
        image = self.qcow2("box.img", data=os.urandom(8 * MIB))
        sources = [image.replace("box.img", "k.qcow2"),
                   self.box("k.box", [("metadata.json", self.v1()), ("box.img", image)], "w")]
        os.rename(image, sources[0])
        rng = random.Random(11)
        for i in range(12):
            process = subprocess.Popen(self.command("add", sources[i % 2], "k"), env=self.environment(),
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
            time.sleep(rng.uniform(0, 0.12))
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            for name in self.entries("disks"):
                with open(self.store("disks", name), "rb") as file:
                    self.assertEqual(hashlib.sha256(file.read()).hexdigest(), name[:64])
        box = self.drive("add", sources[1], "k")
        self.assert_same(box["disks"][0], "qcow2", sources[0], "qcow2")
        deadline = time.monotonic() + 10
        self.drive("prune")
        while self.entries("stage") and time.monotonic() < deadline:
            time.sleep(0.1)
            self.drive("prune")
        self.assertEqual((self.entries("stage"), len(self.entries("disks"))), ([], 1))
        self.assertEqual(os.stat(box["disks"][0]).st_nlink, 1)

    def test_disk_full(self):
        if os.geteuid():
            self.skipTest("needs root to mount a small file system")
        image = self.qcow2("box.img", data=os.urandom(8 * MIB))
        box = self.box("f.box", [("metadata.json", self.v1()), ("box.img", image)])
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m,mode=777", "none", self.data], check=True)
        try:
            for source in (image, box):
                answer = self.drive("add", source, "full", ok=False)
                self.assertIn("No space left", answer["error"])
                self.assert_no_disk()
        finally:
            subprocess.run(["umount", "--lazy", self.data], check=True)

    # ---- disks made of layers

    CAPABILITY = b"\1\0\0\2\0\4\0\0" + b"\0" * 12  # cap_net_bind_service+ep

    def layer(self, members):
        """An uncompressed layer: (name, TarInfo attributes, data)."""
        data = io.BytesIO()
        with tarfile.open(fileobj=data, mode="w", format=tarfile.PAX_FORMAT) as archive:
            for name, attributes, content in members:
                info = tarfile.TarInfo(name)
                info.mode, info.mtime, info.size = 0o644, 1700000000, len(content)
                for key, value in attributes.items():
                    setattr(info, key, value)
                archive.addfile(info, io.BytesIO(content))
        return data.getvalue()

    def made_layers(self):
        directory, link = {"type": tarfile.DIRTYPE, "mode": 0o755}, {"type": tarfile.SYMTYPE, "mode": 0o777}
        lower = self.layer([
            ("./", {**directory, "mode": 0o1751, "uid": 7, "gid": 8}, b""),
            ("bin", directory, b""), ("bin/su", {"mode": 0o4755}, b"su" * 3000),
            ("bin/ping", {"mode": 0o755, "pax_headers": {
                "SCHILY.xattr.security.capability": self.CAPABILITY.decode(),
                "SCHILY.xattr.user.note": "hello"}}, b"ping"),
            ("bin/ping2", {"type": tarfile.LNKTYPE, "linkname": "bin/ping"}, b""),
            ("gone", directory, b""), ("gone/file", {}, b"x"), ("hidden", {}, b"x"),
            ("opaque", directory, b""), ("opaque/below", {}, b"x"),
            ("home", {**directory, "mode": 0o2770, "uid": 1000, "gid": 65535}, b""),
            ("home/secret", {"mode": 0, "uid": 65535, "gid": 1}, b"s" * 70000),
            ("short", {**link, "linkname": "bin/su"}, b""), ("long", {**link, "linkname": "/" + "l" * 200}, b""),
            ("pipe", {"type": tarfile.FIFOTYPE, "mode": 0o620, "uid": 3}, b""),
            ("a \"b\"\n'c' \u00e9 $d", {}, b"name"), ("same", {}, b"old")])
        upper = self.layer([
            ("./", {**directory, "mode": 0o1751, "uid": 7, "gid": 8}, b""),
            (".wh.gone", {}, b""), (".wh.hidden", {}, b""), ("opaque", directory, b""),
            ("opaque/.wh..wh..opq", {}, b""), ("opaque/above", {}, b"y"), ("same", {"mode": 0o600}, b"new")])
        return lower, upper

    def check_made(self, at):
        def st(name):
            s = os.lstat(os.path.join(at, name))
            return s.st_mode & 0o7777, s.st_uid, s.st_gid

        self.assertEqual(st("."), (0o1751, 7, 8))
        self.assertEqual(sorted(os.listdir(at)), sorted([
            "bin", "opaque", "home", "short", "long", "pipe", "a \"b\"\n'c' \u00e9 $d", "same", "lost+found"]))
        self.assertEqual(os.listdir(at + "/opaque"), ["above"])
        self.assertEqual((st("bin/su"), st("home"), st("home/secret"), st("pipe"), st("same")),
                         ((0o4755, 0, 0), (0o2770, 1000, 65535), (0, 65535, 1), (0o620, 3, 0), (0o600, 0, 0)))
        with open(at + "/home/secret", "rb") as file:
            self.assertEqual(file.read(), b"s" * 70000)
        self.assertEqual(os.readlink(at + "/long"), "/" + "l" * 200)
        one, two = os.stat(at + "/bin/ping"), os.stat(at + "/bin/ping2")
        self.assertEqual((one.st_ino, one.st_nlink), (two.st_ino, 2))
        self.assertEqual(one.st_mtime, 1700000000)
        self.assertEqual(os.getxattr(at + "/bin/ping", "security.capability"), self.CAPABILITY)
        self.assertEqual(os.getxattr(at + "/bin/ping2", "user.note"), b"hello")
        for name in (".", "opaque", "bin/su"):
            self.assertEqual(os.listxattr(os.path.join(at, name)), [])

    def test_disk_of_layers(self):
        for tool in ("mke2fs", "debugfs", "e2fsck"):
            if not shutil.which(tool, path=os.environ["PATH"] + ":/usr/sbin:/sbin"):
                self.skipTest(tool + " is not installed")
        box = self.drive("add", self.layout(list(self.made_layers())), "img")
        path = self.drive("mkdisk", "img")["path"]
        st = os.stat(path)
        self.assertEqual((st.st_mode & 0o7777, st.st_nlink, st.st_size % MIB), (0o400, 1, 0))
        self.assertLess(st.st_blocks * 512, 16 * MIB)
        self.shell("e2fsck", "-fn", path)
        head = self.shell("dumpe2fs", "-h", path).decode()
        self.assertIn("UUID:          " + box["digest"][7:15], head)
        # once made, it is there; another size is another disk
        self.assertEqual((self.drive("mkdisk", "img")["path"], os.stat(path).st_mtime), (path, st.st_mtime))
        large = self.drive("mkdisk", "img", str(3 * GIB + 1))["path"]
        self.assertEqual(os.stat(large).st_size, 3 * GIB + MIB)
        self.shell("e2fsck", "-fn", large)
        answer = self.drive("mkdisk", "img", str(MIB), ok=False)
        self.assertEqual(answer["code"], "INVALID")
        self.assertIn("too small", answer["error"])
        if not os.geteuid():
            place = self.work + "/mounted"
            os.mkdir(place)
            for disk in (path, large):
                # no journal to be replayed: it was never mounted
                subprocess.run(["mount", "-o", "loop,ro,noload", disk, place], check=True)
                try:
                    self.check_made(place)
                finally:
                    subprocess.run(["umount", place], check=True)
        # it goes with its box
        self.assertEqual(self.drive("prune")["disks"], 0)
        self.drive("remove", "img")
        self.assertEqual(self.entries("made"), [])
        self.assert_empty()

    def test_disk_of_one_layer(self):
        # what overlayfs alone would see in it is not there: there is always something below
        self.drive("add", self.write("r.tar", self.layer([("d/.wh..wh..opq", {}, b""), ("d/.wh.x", {}, b""),
                                                          ("d/f", {}, b"1")])), "one")
        path = self.drive("mkdisk", "one")["path"]
        self.shell("e2fsck", "-fn", path)
        self.assertNotIn(b"overlay", self.shell("debugfs", "-R", "ea_list /d", path))
        names = self.shell("debugfs", "-R", "ls -p /d", path).decode().split("\n")
        self.assertEqual(sorted(n.split("/")[5] for n in names if n), [".", "..", "f"])

    def test_disk_whose_root_is_a_lower_layers(self):
        directory = {"type": tarfile.DIRTYPE, "mode": 0o755}
        bottom = self.layer([("./", {**directory, "mode": 0o700, "uid": 3, "gid": 4}, b""), ("old", {}, b"1")])
        says = self.layer([("./", {**directory, "mode": 0o1751, "uid": 7, "gid": 8}, b""), ("f", {}, b"1"),
                           ("gone/x", {}, b"1")])
        silent = self.layer([("g", {}, b"2"), (".wh.old", {}, b"")])
        other = self.layer([("h", {}, b"3"), ("gone/.wh..wh..opq", {}, b""), ("gone/.wh.y", {}, b"")])
        for name, layers, root in (("below", (bottom, says, silent, other), ("01751", "7", "8")),
                                   ("top", (bottom, silent, says), ("01751", "7", "8")),
                                   ("two", (bottom, silent), ("0700", "3", "4")),
                                   ("none", (silent, other), ("0755", "0", "0"))):
            with self.subTest(name):
                self.drive("add", self.layout(list(layers)), name)
                path = self.drive("mkdisk", name)["path"]
                self.shell("e2fsck", "-fn", path)
                stat = self.shell("debugfs", "-R", "stat /", path).decode()
                self.assertEqual(re.search(r"Mode: +(\d+).*?User: +(\d+) +Group: +(\d+)", stat, re.S).groups(), root)
                names = self.shell("debugfs", "-R", "ls -p /", path).decode().split("\n")
                self.assertNotIn("old", [n.split("/")[5] for n in names if n])

    def test_disk_of_layers_killed(self):
        self.drive("add", self.write("k.tar", self.layer([(f"f{i}", {}, os.urandom(50000)) for i in range(300)])), "k")
        rng = random.Random(5)
        for _ in range(6):
            process = subprocess.Popen(self.command("mkdisk", "k"), env=self.environment(), stdout=subprocess.DEVNULL,
                                       stderr=subprocess.DEVNULL, start_new_session=True)
            time.sleep(rng.uniform(0, 0.1))
            self.kill_drive(process, rng.random() < 0.6)
            for name in self.entries("made"):
                self.shell("e2fsck", "-fn", self.store("made", name))
        self.shell("e2fsck", "-fn", self.drive("mkdisk", "k")["path"])
        deadline = time.monotonic() + 10
        self.drive("prune")
        while self.entries("stage") and time.monotonic() < deadline:
            time.sleep(0.1)
            self.drive("prune")
        self.assertEqual((self.entries("stage"), len(self.entries("made"))), ([], 1))

    def test_disk_of_a_disk(self):
        self.drive("add", self.qcow2("x.qcow2"), "x")
        self.assertIn("is a disk already", self.drive("mkdisk", "x", ok=False)["error"])

    def test_disk_of_layers_full(self):
        if os.geteuid():
            self.skipTest("needs root to mount a small file system")
        layer = self.layer([(f"f{i}", {}, os.urandom(100000)) for i in range(60)])
        source = self.write("big.tar", layer)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=10m,mode=777", "none", self.data], check=True)
        try:
            self.drive("add", source, "big")
            answer = self.drive("mkdisk", "big", ok=False)
            self.assertIn("No space left", answer["error"])
            self.assertEqual((self.entries("made"), self.entries("stage")), ([], []))
        finally:
            subprocess.run(["umount", "--lazy", self.data], check=True)

    def test_disk_of_layers_twice_at_once(self):
        self.drive("add", self.layout(list(self.made_layers())), "img")
        running = [subprocess.Popen(self.command("mkdisk", "img"), env=self.environment(), stdout=subprocess.PIPE,
                                    stderr=subprocess.PIPE) for _ in range(4)]
        for process in running:
            out, errors = process.communicate(timeout=60)
            self.assertEqual(process.returncode, 0, out + errors)
        self.assertEqual((len(self.entries("made")), self.entries("stage")), (1, []))
