#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The programs that check file systems and disks, on the host's own: they find nothing there, and what is broken is found.

  VENV_FILE_CHECKS=DIR test_file_checks.py [unittest arguments]
"""
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

CHECKS = os.environ.get("VENV_FILE_CHECKS", "")


def check(name, *arguments):
    done = subprocess.run([os.path.join(CHECKS, name), *arguments], check=False, timeout=300, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True)
    return done.returncode, done.stdout


class Checks(unittest.TestCase):
    def setUp(self):
        self.top = tempfile.mkdtemp(prefix="venv-test-files.", dir="/var/tmp")
        self.addCleanup(shutil.rmtree, self.top)

    def good(self, directory):
        for line in (("posix_files", directory), ("fsx", "-n", "1500", directory + "/f"),
                     ("fsx", "-n", "1500", "-s", "2", "-l", "40960", directory + "/f"),
                     ("disk_verify", "write", "-n", "100", directory + "/d", "16"),
                     ("disk_verify", "check", "-n", "100", directory + "/d", "16")):
            status, said = check(*line)
            self.assertEqual((status, "not ok" in said), (0, False), said)
        os.unlink(directory + "/d")
        self.assertEqual(os.listdir(directory), [])

    def test_a_directory(self):
        self.good(self.top)

    @unittest.skipUnless(os.geteuid() == 0, "not root")
    def test_an_overlay(self):
        names = [os.path.join(self.top, name) for name in ("lower", "upper", "work", "merged")]
        for name in names:
            os.mkdir(name)
        mounted = subprocess.run(["mount", "-t", "overlay", "-o", "lowerdir=%s,upperdir=%s,workdir=%s" % tuple(names[:3]),
                                  "overlay", names[3]], check=False)
        if mounted.returncode:
            self.skipTest("no overlay")
        try:
            self.good(names[3])
        finally:
            subprocess.run(["umount", names[3]], check=True)

    def test_what_differs_is_found(self):
        path = self.top + "/f"
        with subprocess.Popen([CHECKS + "/fsx", "-n", "100000000", path], stdout=subprocess.PIPE, text=True) as fsx:
            while fsx.poll() is None:
                try:
                    with open(path, "r+b") as file:
                        file.seek(os.path.getsize(path) // 2)
                        file.write(b"not what was written")
                except FileNotFoundError:
                    pass
            said = fsx.stdout.read()
        self.assertEqual(fsx.returncode, 1, said)
        self.assertIn("the last operations:", said)
        self.assertIn("the same again: fsx -n", said)

    def test_a_bad_disk_is_found(self):
        disk = self.top + "/d"
        for damage in (b"\1", bytes(4096), bytes(100)):
            self.assertEqual(check("disk_verify", "write", "-n", "300", disk, "4")[0], 0)
            with open(disk, "r+b") as file:
                file.seek(1 << 20)
                before = file.read(len(damage))
                file.seek(1 << 20)
                file.write(damage if damage != before else b"\2")
            status, said = check("disk_verify", "check", "-n", "300", disk, "4")
            self.assertEqual(status, 1, said)
            self.assertIn("block 256 ", said)
        os.truncate(disk, 3 << 20)
        self.assertEqual(check("disk_verify", "check", "-n", "300", disk, "4")[0], 1)

    @unittest.skipUnless(os.geteuid() == 0, "not root")
    def test_a_rule_that_does_not_hold_is_found(self):
        status, said = check("posix_files", "--without", "device,setid", "-k", "e", self.top)
        self.assertEqual(status, 1, said)
        bad = [line.split(": ")[0].split(" ", 3)[3] for line in said.splitlines() if line.startswith("not ok")]
        self.assertEqual(bad, ["set-id", "devices"])

    def test_unknown_traits_are_refused(self):
        self.assertEqual(check("posix_files", "--without", "nonsense", self.top)[0], 2)


if __name__ == "__main__":
    if not CHECKS:
        print("VENV_FILE_CHECKS names no programs")
        sys.exit(77)
    unittest.main()
