#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The monitor's FUSE server behind the host's own kernel (/dev/fuse): programs as they are, on a shared folder.

  test_vmm_fs.py FS_MOUNT [unittest arguments]

Needs root and /dev/fuse, else it is skipped (77). What the kernel of a guest would ask is asked by this one.
"""
import ctypes
import errno
import faulthandler
import fcntl
import filecmp
import json
import mmap
import os
import random
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
import unittest

FS_MOUNT = sys.argv.pop(1) if len(sys.argv) > 1 and not sys.argv[1].startswith("-") else ""
SECONDS_MAX = 150  # of one test; what hangs says where, and ends
STALE_S = 1.2  # how long a guest may believe what it knows


def run(*argv, cwd=None, check=True, timeout=120, **more):
    done = subprocess.run(argv, cwd=cwd, check=False, timeout=timeout, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, **more)
    if check and done.returncode:
        raise AssertionError("%s: status %d\n%s" % (argv, done.returncode, done.stdout))
    return done.stdout


class Folder:
    """A directory (host) and what it looks like through the server (path)."""

    def __init__(self, *options):
        self.top = tempfile.mkdtemp(prefix="venv-test-vmm-fs.", dir="/var/tmp")
        self.host = os.path.join(self.top, "host")
        self.path = os.path.join(self.top, "mount")
        os.mkdir(self.host, 0o755)
        os.mkdir(self.path)
        self.server = subprocess.Popen([FS_MOUNT, *options, self.host, self.path], stderr=subprocess.PIPE)
        end = time.monotonic() + 10
        while not os.path.ismount(self.path):
            if self.server.poll() is not None or time.monotonic() > end:
                raise RuntimeError("not mounted: %s" % self.server.stderr.read())
            time.sleep(0.01)

    def close(self):
        said = run("umount", self.path, check=False)
        try:
            said += self.server.communicate(timeout=10)[1].decode()
        except subprocess.TimeoutExpired:
            run("umount", "-l", self.path, check=False)
            self.server.kill()
            said += "did not end"
        shutil.rmtree(self.top, ignore_errors=True)
        if said or self.server.returncode != 0:
            raise AssertionError("fs_mount: %s, status %s" % (said, self.server.returncode))

    def __call__(self, *names):
        return os.path.join(self.path, *names)


class FolderTest(unittest.TestCase):
    options = ()

    @classmethod
    def setUpClass(cls):
        cls.f = Folder(*cls.options)

    @classmethod
    def tearDownClass(cls):
        cls.f.close()

    def setUp(self):
        faulthandler.dump_traceback_later(SECONDS_MAX, exit=True)
        self.dir = self.f(self.id().rsplit(".", 1)[1])
        os.mkdir(self.dir)
        self.host_dir = os.path.join(self.f.host, os.path.basename(self.dir))

    def tearDown(self):
        shutil.rmtree(self.dir)
        self.assertFalse(os.path.exists(self.host_dir))
        faulthandler.cancel_dump_traceback_later()

    def at(self, *names):
        return os.path.join(self.dir, *names)

    def write(self, name, text="text"):
        with open(self.at(name), "w", encoding="utf8") as file:
            file.write(text)
        return self.at(name)

    def read(self, name):
        with open(self.at(name), encoding="utf8") as file:
            return file.read()


# ---- programs ---------------------------------------------------------------------------------------------


def make_tree(top, files, seed=1):
    """A source tree: directories, links, programs, empty and large files."""
    rng = random.Random(seed)
    dirs = [top]
    for i in range(files):
        if i % 10 == 0:
            dirs.append(os.path.join(rng.choice(dirs), "dir%d" % i))
            os.mkdir(dirs[-1])
        path = os.path.join(rng.choice(dirs), "file%d.c" % i)
        with open(path, "wb") as file:
            file.write(rng.randbytes(rng.choice([0, 10, 500, 4096, 5000, 70000])))
        if i % 7 == 0:
            os.chmod(path, rng.choice([0o755, 0o600, 0o444, 0o700]))
        if i % 11 == 0:
            os.symlink(os.path.basename(path), path + ".link")
        if i % 13 == 0:
            os.link(path, path + ".hard")


class Programs(FolderTest):
    def test_git(self):
        def git(*argv):
            return run("git", "-c", "user.name=t", "-c", "user.email=t@example.org", *argv, cwd=repo)

        origin, repo = self.at("origin"), self.at("repo")
        os.mkdir(origin)
        repo = origin
        git("init", "-q", "-b", "main")
        make_tree(origin, 300)
        git("add", ".")
        git("commit", "-q", "-m", "first")
        run("git", "clone", "-q", origin, self.at("repo"))
        repo = self.at("repo")
        self.assertEqual(git("status", "--porcelain"), "")
        with open(os.path.join(repo, "new"), "w", encoding="utf8") as file:
            file.write("new")
        self.assertEqual(git("status", "--porcelain"), "?? new\n")
        git("add", "new")
        git("commit", "-q", "-m", "second")
        git("checkout", "-q", "-b", "other", "HEAD~1")
        git("rm", "-q", "-r", "dir0")
        git("commit", "-q", "-m", "third")
        git("checkout", "-q", "main")
        git("gc", "-q")
        self.assertNotIn("error", git("fsck", "--full"))
        self.assertEqual(git("status", "--porcelain"), "")
        git("stash", "list")
        git("worktree", "add", "-q", self.at("tree"), "other")
        self.assertEqual(run("git", "status", "--porcelain", cwd=self.at("tree")), "")

    def test_tar(self):
        os.mkdir(self.at("a"))
        make_tree(self.at("a"), 400)
        run("tar", "cf", self.at("a.tar"), "a", cwd=self.dir)
        os.mkdir(self.at("b"))
        run("tar", "xpf", self.at("a.tar"), "-C", self.at("b"))
        run("diff", "-r", self.at("a"), self.at("b", "a"))
        run("cp", "-a", self.at("a"), self.at("c"))
        listing = "find . -printf '%P %y %m %s %n %l %T@\\n' | sort"
        inside = [run("sh", "-c", listing, cwd=self.at(name)) for name in ("a", "c")]
        self.assertEqual(*[[line for line in text.splitlines() if line.split()[1:2] != ["d"]] for text in inside])
        run("rsync", "-a", self.at("a") + "/", self.at("d") + "/") if shutil.which("rsync") else None
        # the host has the same
        run("diff", "-r", os.path.join(self.host_dir, "a"), os.path.join(self.host_dir, "c"))

    @unittest.skipUnless(shutil.which("make") and shutil.which("cc"), "no make or cc")
    def test_parallel_build(self):
        units = 40
        for i in range(units):
            self.write("u%d.c" % i, '#include "all.h"\nint f%d(int x) { return x + %d; }\n' % (i, i))
        self.write("all.h", "".join("int f%d(int x);\n" % i for i in range(units)))
        self.write("main.c", '#include <stdio.h>\n#include "all.h"\nint main(void) { int s = 0; %s printf("%%d\\n", s); }\n' %
                   "".join("s += f%d(1);" % i for i in range(units)))
        self.write("Makefile", "objects := main.o %s\nprogram: $(objects)\n\tcc -o $@ $^\n%%.o: %%.c all.h\n\tcc -O0 -c -o $@ $<\n" %
                   " ".join("u%d.o" % i for i in range(units)))
        run("make", "-s", "-j4", cwd=self.dir)
        self.assertEqual(run(self.at("program")), "%d\n" % (sum(range(units)) + units))
        self.assertIn("up to date", run("make", "-j4", cwd=self.dir))
        time.sleep(0.02)
        os.utime(self.at("u3.c"))
        self.assertEqual(len(run("make", "-j4", cwd=self.dir).splitlines()), 2)

    @unittest.skipUnless(shutil.which("sqlite3"), "no sqlite3")
    def test_database(self):
        for mode in ("delete", "wal", "truncate"):
            db = self.at(mode + ".db")
            run("sqlite3", db, "pragma journal_mode=%s; create table t(n); insert into t values (0); "
                "create table log(who, n);" % mode)
            one = (".timeout 60000\n" + "begin immediate; update t set n = n + 1; "
                   "insert into log select 'x', n from t; commit;\n" * 40)
            writers = [subprocess.Popen(["sqlite3", db], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, text=True) for _ in range(4)]
            threads = [threading.Thread(target=writer.communicate, args=(one,)) for writer in writers]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(100)
            self.assertEqual(run("sqlite3", db, "select n from t; select count(distinct n) from log; "
                                 "pragma integrity_check;").split(), ["160", "160", "ok"])

    @unittest.skipUnless(shutil.which("npm"), "no npm")
    def test_npm(self):
        """Packages from files: unpacked, linked into .bin, moved aside and replaced, its cache in the folder as well."""
        def npm(*argv, cwd=None):
            return run("npm", "--offline", "--no-audit", "--no-fund", "--no-update-notifier", *argv,
                       cwd=cwd or self.at("app"), env={**os.environ, "HOME": self.dir, "npm_config_cache": self.at("cache")})

        def describe(directory, **more):
            with open(self.at(directory, "package.json"), "w", encoding="utf8") as file:
                json.dump({"name": os.path.basename(directory), "version": "1.0.0", **more}, file)

        packages = ["p%d" % i for i in range(6)]
        for name in packages:
            os.makedirs(self.at(name, "lib"))
            for i in range(40):
                self.write("%s/lib/%d.js" % (name, i), "module.exports = %d\n" % i)
            self.write(name + "/index.js", "#!/usr/bin/env node\nlet sum = 0\nfor (let i = 0; i < 40; i++) "
                       "sum += require('./lib/' + i + '.js')\nconsole.log('%s', sum)\n" % name)
            describe(name, main="index.js", bin={name + "-run": "index.js"})
            npm("pack", "--silent", "--pack-destination", self.dir, cwd=self.at(name))
        os.mkdir(self.at("app"))
        needs = {name: "file:../%s-1.0.0.tgz" % name for name in packages}
        describe("app", dependencies=needs, scripts={"start": "p3-run && p5-run"})
        npm("install")
        said = "p3 780\np5 780\n"
        self.assertEqual(npm("run", "--silent", "start"), said)
        self.assertEqual(len(npm("ls", "--parseable").splitlines()), 1 + len(packages))
        self.assertIn("up to date", npm("install"))
        npm("uninstall", "p0")
        self.assertFalse(os.path.lexists(self.at("app", "node_modules", ".bin", "p0-run")))
        npm("ci")  # takes all away and makes it again
        self.assertEqual(npm("run", "--silent", "start"), said)
        run("diff", "-r", self.at("app"), os.path.join(self.host_dir, "app"))

    def test_many_small_files(self):
        packages, files = 200, 15
        for i in range(packages):
            top = self.at("node_modules", "p%d" % i, "lib")
            os.makedirs(top)
            for j in range(files):
                with open(os.path.join(top, "m%d.js" % j), "w", encoding="utf8") as file:
                    file.write("module.exports = %d\n" % j * j)
        count = sum(len(names) for _, _, names in os.walk(self.at("node_modules")))
        self.assertEqual(count, packages * files)
        os.rename(self.at("node_modules"), self.at("old"))
        count = sum(len(names) for _, _, names in os.walk(self.at("old")))
        self.assertEqual(count, packages * files)
        run("rm", "-rf", self.at("old"))
        self.assertEqual(os.listdir(self.dir), [])


class ProgramsWithFewDescriptors(Programs):
    options = ("-d", "200")


class ProgramsThroughThePool(Programs):
    options = ("-t", "0")


# ---- POSIX, beside a plain directory ------------------------------------------------------------------------

renameat2 = ctypes.CDLL(None, use_errno=True).renameat2


def rename2(a, b, flags):
    if renameat2(-100, a.encode(), -100, b.encode(), flags) < 0:
        raise OSError(ctypes.get_errno(), "renameat2")


def touch(path, mode=0o644, flags=os.O_CREAT | os.O_WRONLY):
    os.close(os.open(path, flags, mode))


def put(path, data, flags=os.O_CREAT | os.O_WRONLY):
    fd = os.open(path, flags, 0o644)
    try:
        return os.write(fd, data)
    finally:
        os.close(fd)


def get(path):
    with open(path, "rb") as file:
        return file.read()


def looks(path):
    st = os.lstat(path)
    return stat.S_IFMT(st.st_mode), stat.S_IMODE(st.st_mode), st.st_nlink, st.st_size if not stat.S_ISDIR(st.st_mode) else 0


def listing(path):
    return sorted((entry.name, entry.is_dir(follow_symlinks=False), entry.is_symlink()) for entry in os.scandir(path))


# Each line is done in both directories, one after the other; "d" is the directory's path. What comes of it (a value,
# or an errno) must be the same.
TABLE = """
touch(d+'/f'); looks(d+'/f')
op(d+'/f', os.O_CREAT|os.O_EXCL)
op(d+'/f/x', os.O_RDONLY)
op(d+'/none', os.O_RDONLY)
op(d+'/none/x', os.O_RDONLY)
op(d, os.O_WRONLY)
op(d+'/f', os.O_DIRECTORY)
op(d+'/'+'n'*255, os.O_RDONLY)
op(d+'/'+'n'*256, os.O_RDONLY)
touch(d+'/'+'n'*255); os.unlink(d+'/'+'n'*255)
touch(d+'/'+'n'*256)
os.mkdir(d+'/f')
os.mkdir(d+'/dir', 0o750); looks(d+'/dir')
os.mkdir(d+'/dir')
os.mkdir(d+'/none/dir')
os.mkdir(d+'/dir/..')
os.mkdir(d+'/dir/.')
os.rmdir(d+'/f')
os.rmdir(d+'/none')
os.rmdir(d+'/dir/.')
touch(d+'/dir/x'); os.rmdir(d+'/dir')
os.unlink(d+'/dir')
os.unlink(d+'/none')
os.unlink(d+'/f/x')
listing(d)
listing(d+'/dir')
os.link(d+'/f', d+'/h'); looks(d+'/h')
os.link(d+'/f', d+'/h')
os.link(d+'/dir', d+'/h2')
os.link(d+'/none', d+'/h2')
os.unlink(d+'/h'); looks(d+'/f')
os.symlink('f', d+'/s'); looks(d+'/s'); os.readlink(d+'/s')
os.symlink('f', d+'/s')
os.symlink('x'*4095, d+'/long'); len(os.readlink(d+'/long'))
os.symlink('x'*4096, d+'/longer')
os.symlink('', d+'/empty')
os.symlink('loop', d+'/loop'); os.stat(d+'/loop')
os.symlink('none', d+'/dangling'); os.stat(d+'/dangling')
op(d+'/dangling', os.O_CREAT|os.O_EXCL)
op(d+'/s', os.O_NOFOLLOW)
os.readlink(d+'/f')
os.chmod(d+'/f', 0o600); looks(d+'/f')
os.chmod(d+'/f', 0o1644); looks(d+'/f')
os.chmod(d+'/none', 0o600)
os.chmod(d+'/s', 0o640); looks(d+'/f'); looks(d+'/s')
os.utime(d+'/f', ns=(5, 7)); os.stat(d+'/f').st_mtime_ns; os.stat(d+'/f').st_atime_ns
os.utime(d+'/f', ns=(-5, -7)); os.stat(d+'/f').st_mtime_ns
os.utime(d+'/s', ns=(9, 9), follow_symlinks=False); os.lstat(d+'/s').st_mtime_ns; os.stat(d+'/f').st_mtime_ns
os.utime(d+'/f', ns=(2**33*10**9, 2**33*10**9)); os.stat(d+'/f').st_mtime_ns
put(d+'/f', b'hello'); get(d+'/f')
put(d+'/f', b'J'); get(d+'/f')
put(d+'/f', b' more', os.O_WRONLY|os.O_APPEND); get(d+'/f')
put(d+'/f', b'new', os.O_WRONLY|os.O_TRUNC); get(d+'/f')
os.truncate(d+'/f', 10); get(d+'/f')
os.truncate(d+'/f', 2); get(d+'/f')
os.truncate(d+'/f', -1)
os.truncate(d+'/dir', 0)
os.truncate(d+'/none', 0)
os.truncate(d+'/f', 2**62)
os.rename(d+'/f', d+'/g'); listing(d)
os.rename(d+'/f', d+'/g')
os.rename(d+'/g', d+'/g'); get(d+'/g')
os.rename(d+'/g', d+'/none/g')
os.rename(d+'/g', d+'/dir')
os.rename(d+'/dir', d+'/g')
os.rename(d+'/dir', d+'/dir/inside')
os.mkdir(d+'/dir2'); os.rename(d+'/dir2', d+'/dir')
os.rename(d+'/dir', d+'/dir2'); listing(d+'/dir2')
os.mkdir(d+'/dir'); touch(d+'/dir/y'); os.rename(d+'/dir', d+'/dir2')
touch(d+'/f'); os.link(d+'/f', d+'/h'); os.rename(d+'/f', d+'/h'); listing(d)
rename2(d+'/f', d+'/g', 1)
rename2(d+'/f', d+'/dir', 2); looks(d+'/dir'); looks(d+'/f')
rename2(d+'/f', d+'/dir', 2); rename2(d+'/f', d+'/none', 2)
rename2(d+'/f', d+'/g', 3)
os.rename(d+'/s', d+'/s2'); os.readlink(d+'/s2')
os.mkfifo(d+'/fifo', 0o622); looks(d+'/fifo')
op(d+'/fifo', os.O_WRONLY|os.O_NONBLOCK)
op(d+'/fifo', os.O_RDONLY|os.O_NONBLOCK)
os.mkfifo(d+'/fifo')
os.unlink(d+'/fifo')
os.listdir(d+'/g')
os.listdir(d+'/none')
os.setxattr(d+'/g', 'user.a', b'v'); os.listxattr(d+'/g'); os.getxattr(d+'/g', 'user.a')
os.setxattr(d+'/g', 'user.a', b'w', os.XATTR_CREATE)
os.setxattr(d+'/g', 'user.b', b'w', os.XATTR_REPLACE)
os.removexattr(d+'/g', 'user.a'); os.listxattr(d+'/g')
os.removexattr(d+'/g', 'user.a')
os.getxattr(d+'/g', 'user.none')
os.setxattr(d+'/s2', 'user.a', b'v', follow_symlinks=False)
os.setxattr(d+'/dir', 'user.d', b'v'*1000); len(os.getxattr(d+'/dir', 'user.d'))
os.access(d+'/g', os.X_OK); os.access(d+'/g', os.R_OK)
os.path.samefile(d+'/g', d+'/dir/../g')
os.statvfs(d).f_namemax
os.posix_fallocate(op(d+'/g', os.O_RDWR), 0, 8192); looks(d+'/g')
os.lseek(op(d+'/g', os.O_RDWR), 0, os.SEEK_HOLE)
os.lseek(op(d+'/g', os.O_RDWR), 9000, os.SEEK_DATA)
os.pwrite(op(d+'/g', os.O_RDONLY), b'x', 0)
os.pread(op(d+'/g', os.O_WRONLY), 1, 0)
os.pread(op(d+'/g', os.O_RDONLY), 100, 2**40)
os.read(op(d+'/dir', os.O_RDONLY), 10)
os.fsync(op(d+'/g', os.O_RDWR)); os.fdatasync(op(d+'/dir', os.O_RDONLY))
os.mkdir(d+'/deep'); os.makedirs(d+'/deep/'+'/'.join(['sub']*40)); looks(d+'/deep'); shutil.rmtree(d+'/deep')
[touch(d+'/dir/%d' % i) for i in range(300)]; len(listing(d+'/dir'))
shutil.rmtree(d+'/dir'); listing(d)
""".strip().splitlines()


def outcome(line, d):
    fds = []

    def op(name, flags=os.O_RDONLY):
        fds.append(os.open(name, flags))
        return fds[-1]

    try:
        results = [eval(part, dict(globals(), d=d, op=op)) for part in line.split("; ")]  # pylint: disable=eval-used
        return ["fd" if result in fds else result for result in results]
    except OSError as error:
        return errno.errorcode.get(error.errno, error.errno)
    finally:
        for fd in fds:
            os.close(fd)


class Posix(FolderTest):
    def test_table(self):
        plain = tempfile.mkdtemp(prefix="venv-test-plain.", dir="/var/tmp")
        self.addCleanup(shutil.rmtree, plain)
        for line in TABLE:
            with self.subTest(line):
                self.assertEqual(outcome(line, self.dir), outcome(line, plain))

    def test_unlinked_file_lives_on(self):
        fd = os.open(self.at("f"), os.O_CREAT | os.O_RDWR)
        os.unlink(self.at("f"))
        self.assertEqual(os.pwrite(fd, b"text", 0), 4)
        self.assertEqual(os.pread(fd, 10, 0), b"text")
        os.ftruncate(fd, 100000)
        time.sleep(STALE_S)
        self.assertEqual((os.fstat(fd).st_size, os.fstat(fd).st_nlink), (100000, 0))
        os.fchmod(fd, 0o600)
        with mmap.mmap(fd, 100000) as m:
            m[99999:] = b"e"
        self.assertEqual(os.pread(fd, 10, 99999), b"e")
        os.close(fd)

    def test_file_renamed_over_lives_on(self):
        self.write("f", "old")
        with open(self.at("f"), encoding="utf8") as old:
            self.write("g", "new")
            os.rename(self.at("g"), self.at("f"))
            time.sleep(STALE_S)
            self.assertEqual(old.read(), "old")
        self.assertEqual(self.read("f"), "new")

    def test_directory_removed_under_us(self):
        os.mkdir(self.at("d"))
        fd = os.open(self.at("d"), os.O_RDONLY)
        os.rmdir(self.at("d"))
        self.assertEqual(os.listdir(fd), [])
        with self.assertRaises(FileNotFoundError):
            os.mkdir("x", dir_fd=fd)
        os.close(fd)

    def test_file_without_a_name(self):
        try:
            fd = os.open(self.dir, os.O_TMPFILE | os.O_RDWR, 0o640)
        except OSError as error:
            self.skipTest("O_TMPFILE: %s" % error)
        os.write(fd, b"text")
        at_fdcwd, follow = -100, 0x400  # os.link() does not follow
        r = ctypes.CDLL(None).linkat(at_fdcwd, b"/proc/self/fd/%d" % fd, at_fdcwd, self.at("named").encode(), follow)
        os.close(fd)
        self.assertEqual(r, 0)
        self.assertEqual(self.read("named"), "text")

    def test_reading_while_deleting(self):
        for i in range(2000):
            touch(self.at("%d" % i))
        seen = set()
        for entry in os.scandir(self.dir):
            self.assertNotIn(entry.name, seen)
            seen.add(entry.name)
            os.unlink(entry.path)
        self.assertEqual((len(seen), os.listdir(self.dir)), (2000, []))

    def test_large_and_sparse(self):
        size = 5 << 30
        fd = os.open(self.at("f"), os.O_CREAT | os.O_RDWR)
        os.pwrite(fd, b"end", size)
        self.assertEqual(os.pread(fd, 10, size), b"end")
        self.assertEqual(os.lseek(fd, 0, os.SEEK_DATA), size & ~4095)
        self.assertEqual(os.pread(fd, 10, 1 << 32), bytes(10))
        self.assertEqual(os.fstat(fd).st_size, size + 3)
        self.assertLess(os.fstat(fd).st_blocks, 1000)
        other = os.open(self.at("g"), os.O_CREAT | os.O_RDWR)
        self.assertEqual(os.copy_file_range(fd, other, 3, size, 0), 3)
        self.assertEqual(os.pread(other, 10, 0), b"end")
        os.close(fd)
        os.close(other)

    def test_mapping(self):
        self.write("f", "x" * 10000)
        with open(self.at("f"), "r+b") as file, mmap.mmap(file.fileno(), 10000) as m:
            m[5000:5003] = b"abc"
            m.flush()
            with open(os.path.join(self.host_dir, "f"), "rb") as host:
                host.seek(4999)
                self.assertEqual(host.read(5), b"xabcx")

    def test_appending_together(self):
        def append(path):
            with open(path, "ab", buffering=0) as file:
                for i in range(500):
                    file.write(b"%-9d\n" % i)

        pids = []
        for path in (self.at("log"), self.at("log"), os.path.join(self.host_dir, "log")):
            pid = os.fork()
            if not pid:
                append(path)
                os._exit(0)
            pids.append(pid)
        for pid in pids:
            self.assertEqual(os.waitpid(pid, 0)[1], 0)
        lines = get(os.path.join(self.host_dir, "log")).splitlines()
        self.assertEqual(len(lines), 1500)
        self.assertEqual({len(line) for line in lines}, {9})

    def test_socket(self):
        listener = socket.socket(socket.AF_UNIX)
        os.chdir(self.dir)
        listener.bind("s")
        listener.listen()
        client = socket.socket(socket.AF_UNIX)
        client.connect("s")
        os.chdir("/")
        client.close()
        listener.close()

    def test_many_links(self):
        touch(self.at("f"))
        for i in range(500):
            os.link(self.at("f"), self.at("l%d" % i))
        self.assertEqual(os.stat(self.at("f")).st_nlink, 501)
        for i in range(0, 500, 2):
            os.unlink(self.at("l%d" % i))
        self.assertEqual(os.stat(self.at("l1")).st_nlink, 251)


# ---- against a model ------------------------------------------------------------------------------------------


class Model(FolderTest):
    """Random operations on a file, and what it should then hold (as fsx does it)."""

    def fsx(self, seed, steps):
        rng = random.Random(seed)
        size_max = 300000
        path = self.at("fsx%d" % seed)
        model = bytearray()
        fd = os.open(path, os.O_CREAT | os.O_RDWR)

        def extend(size):
            if size > len(model):
                model.extend(bytes(size - len(model)))

        def do_write():
            at, data = rng.randrange(size_max), rng.randbytes(rng.randrange(1, 70000))
            self.assertEqual(os.pwrite(fd, data, at), len(data))
            extend(at + len(data))
            model[at:at + len(data)] = data

        def do_read():
            at, n = rng.randrange(size_max), rng.randrange(1, 100000)
            self.assertEqual(os.pread(fd, n, at), bytes(model[at:at + n]), "seed %d" % seed)

        def do_truncate():
            size = rng.randrange(size_max)
            os.ftruncate(fd, size)
            del model[size:]
            extend(size)

        def do_map():
            if not model:
                return
            at = rng.randrange(len(model))
            data = rng.randbytes(min(len(model) - at, rng.randrange(1, 20000)))
            with mmap.mmap(fd, len(model)) as m:
                self.assertEqual(m[at:at + 100], bytes(model[at:at + 100]), "seed %d" % seed)
                m[at:at + len(data)] = data
                model[at:at + len(data)] = data

        def do_punch():
            at, n = rng.randrange(size_max), rng.randrange(1, 50000)
            libc = ctypes.CDLL(None, use_errno=True)
            r = libc.fallocate64(fd, 3, ctypes.c_int64(at), ctypes.c_int64(n))
            self.assertEqual(r, 0, os.strerror(ctypes.get_errno()))
            end = min(at + n, len(model))
            if end > at:
                model[at:end] = bytes(end - at)

        def do_allocate():
            at, n = rng.randrange(size_max), rng.randrange(1, 50000)
            os.posix_fallocate(fd, at, n)
            extend(at + n)

        def do_copy():
            if not model:
                return
            at, to, n = rng.randrange(len(model)), rng.randrange(size_max), rng.randrange(1, 30000)
            n = min(n, len(model) - at, abs(to - at))
            if n and os.copy_file_range(fd, fd, n, at, to) == n:
                extend(to + n)
                model[to:to + n] = model[at:at + n]

        def do_reopen():
            nonlocal fd
            os.close(fd)
            fd = os.open(path, os.O_RDWR)

        def do_sync():
            os.fsync(fd)
            self.assertEqual(get(os.path.join(self.host_dir, os.path.basename(path))), bytes(model))

        ops = ([do_write] * 6 + [do_read] * 6 + [do_truncate] * 2 + [do_map] * 3 + [do_punch, do_allocate, do_copy,
                                                                                    do_reopen, do_sync])
        for _ in range(steps):
            rng.choice(ops)()
            self.assertEqual(os.fstat(fd).st_size, len(model), "seed %d" % seed)
        do_sync()
        os.close(fd)

    def test_fsx(self):
        for seed in range(4):
            self.fsx(seed, 400)

    def test_trees_in_parallel(self):
        """Processes make, move, change and remove each other's files; then both sides agree."""

        def work(seed):
            rng = random.Random(seed)
            os.chdir(self.dir)
            names = ["%s%d" % (top, i) for top in ("", "d0/", "d1/", "d0/d2/") for i in range(6)]
            for _ in range(1500):
                a, b = rng.choice(names), rng.choice(names)
                try:
                    rng.choice([
                        lambda: os.makedirs(os.path.dirname(a) or "d0", exist_ok=True),
                        lambda: put(a, b"x" * rng.randrange(9000)), lambda: put(a, b"y", os.O_CREAT | os.O_WRONLY | os.O_APPEND),
                        lambda: get(a), lambda: os.unlink(a), lambda: os.rename(a, b), lambda: os.link(a, b),
                        lambda: os.symlink(a, b), lambda: os.listdir(os.path.dirname(a) or "."), lambda: os.stat(a),
                        lambda: os.rename("d0", "d1/moved"), lambda: os.rename("d1/moved", "d0"),
                        lambda: os.truncate(a, rng.randrange(20000)), lambda: rename2(a, b, 2),
                    ])()
                except OSError as error:
                    known = (errno.ENOENT, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENOTEMPTY, errno.ELOOP,
                             errno.EINVAL, errno.EPERM, errno.EXDEV)
                    if error.errno not in known:
                        os.write(2, ("%s\n" % error).encode())
                        os._exit(1)
            os._exit(0)

        pids = []
        for seed in range(6):
            pid = os.fork()
            if not pid:
                try:
                    work(seed)
                finally:
                    os._exit(2)
            pids.append(pid)
        self.assertEqual([os.waitpid(pid, 0)[1] for pid in pids], [0] * 6)
        time.sleep(STALE_S)
        command = "find . -printf '%P %y %m %s %n %l %T@\\n' | sort; find . -type f -print0 | sort -z | xargs -0r md5sum"
        self.assertEqual(run("sh", "-c", command, cwd=self.dir), run("sh", "-c", command, cwd=self.host_dir))


class ModelThroughThePool(Model):
    options = ("-t", "0")


# ---- the same programs as guests run (tests/support) -------------------------------------------------------------


@unittest.skipUnless(os.environ.get("VENV_FILE_CHECKS"), "VENV_FILE_CHECKS names no programs")
class Checks(FolderTest):
    # owners are mapped; no privileges or devices become the host's (docs/ATTACKS.md)
    left_out = "chown,setid,device"

    def check(self, name, *arguments):
        run(os.path.join(os.environ["VENV_FILE_CHECKS"], name), *arguments)

    def test_posix_files(self):
        self.check("posix_files", "--without", self.left_out, self.dir)

    def test_fsx(self):
        for arguments in (["-s", "1"], ["-s", "2"], ["-l", "20480"]):
            self.check("fsx", "-n", "1000", *arguments, self.at("f"))

    def test_direct_writes_of_several(self):
        self.check("disk_verify", "write", "-n", "150", self.at("f"), "8")
        time.sleep(STALE_S)
        self.check("disk_verify", "check", "-n", "150", self.at("f"), "8")
        self.check("disk_verify", "check", "-n", "150", os.path.join(self.host_dir, "f"), "8")


class ChecksWithFewDescriptors(Checks):
    options = ("-d", "200")


class ChecksOnAVolume(Checks):
    options = ("-v",)
    left_out = "setid,device"


class ChecksThroughThePool(Checks):
    options = ("-t", "0")


# ---- what a shared folder is about ------------------------------------------------------------------------------


class Sharing(FolderTest):
    options = ("-u", "1234", "-g", "2345")

    def host(self, name):
        return os.path.join(self.host_dir, name)

    def test_what_the_host_does_is_seen(self):
        self.write("f", "old")
        self.assertEqual(self.read("f"), "old")
        time.sleep(0.2)
        for text in ("changed", "CHANGED", "longer than it was before"):
            put(self.host("f"), text.encode(), os.O_WRONLY | os.O_TRUNC)
            time.sleep(STALE_S)
            self.assertEqual(self.read("f"), text)
        put(self.host("g"), b"new")
        self.assertEqual(self.read("g"), "new")
        os.rename(self.host("g"), self.host("f"))
        time.sleep(STALE_S)
        self.assertEqual(self.read("f"), "new")
        self.assertFalse(os.path.exists(self.at("g")))
        os.unlink(self.host("f"))
        time.sleep(STALE_S)
        self.assertFalse(os.path.exists(self.at("f")))

    def test_where_the_host_moved_things(self):
        os.makedirs(self.at("a", "b"))
        self.write("a/b/f")
        time.sleep(STALE_S)
        os.rename(self.host("a"), self.host("z"))
        self.assertEqual(self.read("z/b/f"), "text")
        time.sleep(STALE_S)
        self.assertFalse(os.path.exists(self.at("a")))

    def test_owner(self):
        self.write("f")
        st = os.stat(self.at("f"))
        self.assertEqual((st.st_uid, st.st_gid), (1234, 2345))
        self.assertEqual(os.stat(self.host("f")).st_uid, os.geteuid())
        os.chown(self.at("f"), 1234, 2345)
        os.chown(self.at("f"), 0, 0)
        with self.assertRaises(PermissionError):
            os.chown(self.at("f"), 77, -1)
        os.chown(self.host("f"), 4444, 4444)
        time.sleep(STALE_S)
        self.assertEqual(os.stat(self.at("f")).st_uid, 65534)

    def test_privileges_do_not_reach_the_host(self):
        self.write("f")
        os.chmod(self.at("f"), 0o6755)
        self.assertEqual(stat.S_IMODE(os.stat(self.host("f")).st_mode), 0o755)
        with self.assertRaises(PermissionError):
            os.mknod(self.at("null"), stat.S_IFCHR | 0o666, os.makedev(1, 3))
        with self.assertRaises(OSError):
            os.setxattr(self.at("f"), "security.capability", bytes.fromhex("0100000200040000000000000000000000000000"))
        os.setxattr(self.host("f"), "security.capability", bytes.fromhex("0100000200040000000000000000000000000000"))
        os.chmod(self.host("f"), 0o6755)
        put(self.at("f"), b"x", os.O_WRONLY)
        self.assertEqual(stat.S_IMODE(os.stat(self.host("f")).st_mode), 0o755)
        self.assertNotIn("security.capability", os.listxattr(self.host("f")))

    def test_host_links_lead_nowhere(self):
        os.symlink("/etc", self.host("etc"))
        os.symlink("../../../../../../../../etc/hostname", self.host("up"))
        self.assertEqual(os.readlink(self.at("etc")), "/etc")  # what it leads to is the guest's
        self.assertTrue(os.path.islink(self.at("up")))

    def test_tools_state(self):
        os.mkdir(os.path.join(self.f.host, ".machines"))
        try:
            self.assertNotIn(".machines", os.listdir(self.f.path))
            self.assertFalse(os.path.exists(self.f(".machines")))
            with self.assertRaises(PermissionError):
                os.mkdir(self.f(".machines"))
            with self.assertRaises(PermissionError):
                os.rename(self.dir, self.f(".machines"))
        finally:
            os.rmdir(os.path.join(self.f.host, ".machines"))

    def test_locks(self):
        path = self.write("f")
        a, b, host = (os.open(p, os.O_RDWR) for p in (path, path, self.host("f")))
        fcntl.flock(a, fcntl.LOCK_EX)
        for other in (b, host):
            with self.assertRaises(BlockingIOError):
                fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        threading.Timer(0.3, fcntl.flock, (a, fcntl.LOCK_UN)).start()
        start = time.monotonic()
        fcntl.flock(b, fcntl.LOCK_EX)
        self.assertGreater(time.monotonic() - start, 0.2)
        os.close(b)
        fcntl.flock(host, fcntl.LOCK_EX)
        os.close(host)
        os.close(a)

    def test_waiting_for_a_lock_is_interrupted(self):
        path = self.write("f")
        pid = os.fork()
        if not pid:
            fcntl.lockf(os.open(path, os.O_RDWR), fcntl.LOCK_EX)
            time.sleep(60)
            os._exit(0)
        time.sleep(0.3)

        class Alarm(Exception):
            pass

        def ring(*_):
            raise Alarm

        signal.signal(signal.SIGALRM, ring)
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        fd = os.open(path, os.O_RDWR)
        with self.assertRaises(Alarm):
            fcntl.lockf(fd, fcntl.LOCK_EX)
        os.kill(pid, signal.SIGKILL)  # and its lock goes with it
        os.waitpid(pid, 0)
        fcntl.lockf(fd, fcntl.LOCK_EX)
        os.close(fd)

    def test_more_wait_than_there_are_threads(self):
        path = self.write("f")
        holder = os.open(path, os.O_RDWR)
        fcntl.lockf(holder, fcntl.LOCK_EX)
        pids = []
        for _ in range(12):
            pid = os.fork()
            if not pid:
                fcntl.lockf(os.open(path, os.O_RDWR), fcntl.LOCK_EX)
                os._exit(0)
            pids.append(pid)
        time.sleep(0.3)
        self.assertEqual(self.read("f"), "text")
        fcntl.lockf(holder, fcntl.LOCK_UN)
        self.assertEqual([os.waitpid(pid, 0)[1] for pid in pids], [0] * 12)
        os.close(holder)

    def test_space(self):
        self.assertEqual(os.statvfs(self.dir).f_blocks, os.statvfs(self.host_dir).f_blocks)
        run("sync", "-f", self.dir)
        self.assertIn("%", run("df", self.dir))


class Volume(FolderTest):
    """Owners are kept, as ids of the host's that are the machines'."""
    options = ("-v",)
    base = 1 << 30

    def setUp(self):
        for path in (self.f.top, self.f.path):
            os.chmod(path, 0o755)
        super().setUp()

    def as_user(self, uid, gid, work):
        pid = os.fork()
        if pid == 0:
            try:
                os.setgroups([])
                os.setgid(gid)
                os.setuid(uid)
                work()
                os._exit(0)
            except OSError as error:
                os._exit(error.errno)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def owners(self, name):
        """In the guest and on the host."""
        seen, real = os.lstat(self.at(name)), os.lstat(os.path.join(self.host_dir, name))
        return seen.st_uid, seen.st_gid, real.st_uid - self.base, real.st_gid - self.base

    def test_files_are_their_makers(self):
        os.chmod(self.dir, 0o777)
        self.write("by-root")
        self.assertEqual(self.owners("by-root"), (0, 0, 0, 0))

        def make():
            self.write("file")
            os.mkdir(self.at("dir"))
            os.mkfifo(self.at("fifo"))
            os.symlink("/nowhere", self.at("link"))
            os.mknod(self.at("node"), 0o600 | stat.S_IFREG)
            os.close(os.open(self.dir, os.O_TMPFILE | os.O_RDWR, 0o600))

        self.assertEqual(self.as_user(999, 998, make), 0)
        for name in ("file", "dir", "fifo", "link", "node"):
            self.assertEqual(self.owners(name), (999, 998, 999, 998), name)
        self.assertEqual(self.as_user(5, 5, lambda: self.write("file")), errno.EACCES)

    def test_files_are_given_away(self):
        self.write("f")
        os.mkdir(self.at("d"))
        os.symlink("f", self.at("l"))
        for name in "fdl":
            os.chown(self.at(name), 33, 65535, follow_symlinks=False)
            self.assertEqual(self.owners(name), (33, 65535, 33, 65535))
        os.chown(self.at("f"), -1, 7)
        self.assertEqual(self.owners("f"), (33, 7, 33, 7))
        os.chown(self.at("f"), 8, -1)
        self.assertEqual(self.owners("f"), (8, 7, 8, 7))
        self.assertEqual(self.as_user(8, 8, lambda: os.chown(self.at("f"), 9, -1)), errno.EPERM)

    def test_ids_that_the_host_has_not(self):
        os.chmod(self.dir, 0o777)
        self.write("f")
        with self.assertRaisesRegex(OSError, "too large"):
            os.chown(self.at("f"), 65536, 0)
        for work in (lambda: self.write("new"), lambda: os.mkdir(self.at("new")), lambda: os.mkfifo(self.at("new")),
                     lambda: os.symlink("x", self.at("new"))):
            self.assertEqual(self.as_user(70000, 0, work), errno.EOVERFLOW)
            self.assertEqual(os.listdir(self.host_dir), ["f"])
        os.chown(os.path.join(self.host_dir, "f"), 0, 1000)  # no id of a machine's
        time.sleep(STALE_S)
        self.assertEqual((os.stat(self.at("f")).st_uid, os.stat(self.at("f")).st_gid), (65534, 65534))

    def test_no_rights_on_the_host(self):
        self.write("f")
        os.chmod(self.at("f"), 0o6755)
        self.assertEqual(os.stat(os.path.join(self.host_dir, "f")).st_mode & 0o7777, 0o755)


class ReadOnly(unittest.TestCase):
    def test_nothing_changes(self):
        folder = Folder("-r")
        self.addCleanup(folder.close)
        with open(os.path.join(folder.host, "f"), "w", encoding="utf8") as file:
            file.write("text")
        before = os.stat(folder.host).st_mtime_ns
        self.assertEqual(get(folder("f")), b"text")
        for change in (lambda: put(folder("f"), b"x"), lambda: put(folder("g"), b"x"), lambda: os.unlink(folder("f")),
                       lambda: os.mkdir(folder("d")), lambda: os.rename(folder("f"), folder("g")),
                       lambda: os.chmod(folder("f"), 0o600), lambda: os.truncate(folder("f"), 0),
                       lambda: os.link(folder("f"), folder("l")), lambda: os.symlink("f", folder("s")),
                       lambda: os.utime(folder("f")), lambda: os.setxattr(folder("f"), "user.a", b"x")):
            with self.assertRaises(OSError) as caught:
                change()
            self.assertEqual(caught.exception.errno, errno.EROFS)
        self.assertEqual(os.stat(folder.host).st_mtime_ns, before)


if __name__ == "__main__":
    if os.geteuid() != 0 or not os.path.exists("/dev/fuse") or not FS_MOUNT:
        print("needs root, /dev/fuse and fs_mount")
        sys.exit(77)
    if "VENV_TEST_MOUNTS" not in os.environ:  # who copies this host's mounts would keep ours
        os.environ["VENV_TEST_MOUNTS"] = "own"
        os.execvp("unshare", ["unshare", "--mount", sys.executable, sys.argv[0], FS_MOUNT, *sys.argv[1:]])
    os.umask(0o022)
    unittest.main(verbosity=1)
