#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""boxes/kernel-debian-12/unpack: what a bzImage carries comes out as it went in, whatever packed it; or nothing does."""
import os
import shutil
import struct
import subprocess
import tempfile
import unittest

UNPACK = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../boxes/kernel-debian-12/unpack")
PACKERS = {"gzip": ("gzip",), "xz": ("xz", "--check=crc32"), "lzma": ("xz", "--format=lzma"), "zstd": ("zstd", "-q"),
           "lz4": ("lz4", "-l"), "bzip2": ("bzip2",)}
PROGRAM = b"\x7fELF" + os.urandom(70000) + bytes(300000)


def image(payload, sectors=3, before=100, length=None):
    """A bzImage as the kernel's build makes it."""
    head = bytearray((sectors + 1) * 512)
    head[0x1F1] = sectors
    head[0x202:0x206] = b"HdrS"
    struct.pack_into("<II", head, 0x248, before, len(payload) if length is None else length)
    return bytes(head) + bytes(before) + payload + b"what comes behind"


def pack(name, size=len(PROGRAM)):
    """As the kernel's build does it (scripts/Makefile.lib): the size behind it, which gzip has in its format."""
    packed = subprocess.run([*PACKERS[name], "-c"], input=PROGRAM, stdout=subprocess.PIPE, check=True).stdout
    return packed if name == "gzip" else packed + struct.pack("<I", size)


class Unpack(unittest.TestCase):
    def setUp(self):
        self.top = tempfile.mkdtemp(prefix="venv-test-unpack.")
        self.addCleanup(shutil.rmtree, self.top)

    def unpack(self, data):
        """@return what came out, or None; what it said"""
        source, result = os.path.join(self.top, "vmlinuz"), os.path.join(self.top, "vmlinux")
        with open(source, "wb") as file:
            file.write(data)
        done = subprocess.run([UNPACK, source, result], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
        self.assertEqual((done.returncode == 0, done.stdout), (os.path.exists(result), ""))
        self.assertEqual(sorted(os.listdir(self.top)), ["vmlinux", "vmlinuz"] if os.path.exists(result) else ["vmlinuz"])
        if done.returncode:
            return None, done.stderr
        with open(result, "rb") as file:
            return file.read(), done.stderr

    def test_all_packers(self):
        for name, command in PACKERS.items():
            with self.subTest(name):
                if not shutil.which(command[0]):
                    self.skipTest(command[0] + " is missing")
                self.assertEqual(self.unpack(image(pack(name))), (PROGRAM, ""))

    def test_an_old_header(self):
        data = bytearray(image(pack("gzip"), sectors=4))
        data[0x1F1] = 0  # means four
        self.assertEqual(self.unpack(data), (PROGRAM, ""))

    def test_nothing_comes_of_what_is_damaged(self):
        packed = pack("gzip")
        other = subprocess.run(["gzip", "-c"], input=b"no program", stdout=subprocess.PIPE, check=True).stdout
        for data, said in ((b"", "it is no bzImage"), (b"HdrS" * 1000, "it is no bzImage"),
                           (image(packed)[:520], "it is cut short"), (image(packed)[:591], "it is cut short"),
                           (image(b"none of them" * 9), "packed in an unknown way"), (image(b""), "it carries nothing"),
                           (image(packed[:5000], length=len(packed)), "cannot be unpacked"),
                           (image(packed, length=len(packed) // 2), "unpacked"),
                           (image(packed[:2000] + b"####" + packed[2004:]), "unpacked"),
                           (image(pack("xz", size=7)), "not all of it came out"), (image(other), "no ELF file"),
                           (image(packed, length=0xFFFFFFFF), "it cannot be unpacked")):
            with self.subTest(said):
                result, error = self.unpack(bytes(data))
                self.assertIsNone(result)
                self.assertIn("the kernel stays packed: ", error)
                self.assertIn(said, error)


if __name__ == "__main__":
    unittest.main()
