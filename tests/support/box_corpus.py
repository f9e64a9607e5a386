# SPDX-License-Identifier: Apache-2.0
"""The corpus of hostile and odd archives: each case makes the bytes of a tar archive and says what
must come of it."""
import gzip
import io
import os
import struct
import subprocess
import tarfile
import zlib


class Tar:
    """A tar archive in memory, entry by entry, with nothing checked."""

    def __init__(self, format=tarfile.PAX_FORMAT):
        self.format = format
        self.data = io.BytesIO()

    def add(self, name, body=b"", type=tarfile.REGTYPE, mode=0o644, link="", size=None, pax=None, **more):
        info = tarfile.TarInfo(name)
        info.type, info.mode, info.linkname = type, mode, link
        info.size = len(body) if size is None else size
        info.mtime = more.pop("mtime", 1600000000)
        info.pax_headers = pax or {}
        for key, value in more.items():
            setattr(info, key, value)
        self.data.write(info.tobuf(self.format, "utf-8", "surrogateescape"))
        self.data.write(body + b"\0" * (-len(body) % 512))
        return self

    def dir(self, name, mode=0o755, **more):
        return self.add(name, type=tarfile.DIRTYPE, mode=mode, **more)

    def sym(self, name, target, **more):
        return self.add(name, type=tarfile.SYMTYPE, link=target, mode=0o777, **more)

    def hard(self, name, target, **more):
        return self.add(name, type=tarfile.LNKTYPE, link=target, **more)

    def raw(self, data):
        self.data.write(data)
        return self

    def bytes(self, end=True):
        return self.data.getvalue() + (b"\0" * 1024 if end else b"")


def header(name=b"x", mode=b"0000644\0", uid=b"0000000\0", gid=b"0000000\0", size=b"00000000000\0",
           mtime=b"00000000000\0", type=b"0", link=b"", magic=b"ustar\x0000", devmajor=b"", devminor=b"",
           prefix=b""):
    """One raw header block with a right checksum."""
    block = struct.pack("100s8s8s8s12s12s8s1s100s8s32s32s8s8s155s12x", name, mode, uid, gid, size, mtime,
                        b" " * 8, type, link, magic, b"", b"", devmajor, devminor, prefix)
    total = sum(block)
    return block[:148] + b"%06o\0 " % total + block[156:]


def gz(data):
    return gzip.compress(data, 1, mtime=0)


def elf(machine):
    return b"\x7fELF\x02\x01\x01" + b"\0" * 9 + struct.pack("<HH", 2, machine) + b"\0" * 100


CAPABILITY = struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0)


class Case:
    def __init__(self, name, data, error=None, check=None):
        self.name, self.data, self.error, self.check = name, data, error, check


def text(tree, path, expected):
    with open(os.path.join(tree, path)) as file:
        assert file.read() == expected, f"{path} has other content"


def missing(tree, path):
    assert not os.path.lexists(os.path.join(tree, path)), f"{path} is there"


def whiteout(tree, path):
    st = os.lstat(os.path.join(tree, path))
    assert st.st_mode & 0o170000 == 0o020000 and st.st_rdev == 0, f"{path} is no whiteout"


def opaque(tree, path, expected=True):
    names = os.listxattr(os.path.join(tree, path))
    assert ("user.overlay.opaque" in names) == expected, f"{path}: {names}"


def only(tree, *names):
    found = sorted(os.listdir(tree))
    assert found == sorted(names), f"{found} instead of {sorted(names)}"


def all_of(*checks):
    def check(tree):
        for function, *arguments in checks:
            function(tree, *arguments)
    return check


def zstd_bomb():
    run = subprocess.run("head -c 400000000 /dev/zero | zstd -q -c", shell=True, capture_output=True,
                         check=False)
    if run.returncode or not run.stdout:
        return None
    head = Tar().add("zero", size=400000000).bytes(end=False)[:512]
    zeros = subprocess.run(["zstd", "-q", "-c"], input=head, capture_output=True, check=True)
    return zeros.stdout + run.stdout


def cases(outside):
    """outside: a directory of the host that must stay empty."""
    x = b"evil"
    dots = "../" * 12
    wrong = Tar().add("a", b"1").bytes(end=False)
    damaged = bytearray(Tar().add("b", b"2").bytes())
    damaged[0] ^= 0xff
    nfd = "e\u0301"  # must not become one character

    def link_kept(tree):
        text(tree, "f1", "orig")
        text(tree, "f2", "new")

    def same_file(tree):
        assert os.lstat(os.path.join(tree, "a")).st_ino == os.lstat(os.path.join(tree, "b")).st_ino

    def attributes(tree):
        names = os.listxattr(os.path.join(tree, "f"))
        assert "user.mine" in names, names
        bad = [n for n in names if "overlay" in n or n in ("security.selinux", "security.ima")]
        assert not bad, bad

    def capability(tree):
        value = os.getxattr(os.path.join(tree, "f"), "security.capability")
        assert value[3] & 0x0f in (2, 3) and len(value) >= 20, value

    def modes(tree):
        assert os.lstat(os.path.join(tree, "su")).st_mode & 0o7777 == 0o4755
        assert os.lstat(os.path.join(tree, "t")).st_mode & 0o7777 == 0o1777

    def times(tree):
        for path in ("d", "d/f", "d/l"):
            assert os.lstat(os.path.join(tree, path)).st_mtime == 1500000000, path

    yield Case("plain", Tar().dir("./").add("./etc/x", b"1").bytes(), check=all_of((text, "etc/x", "1")))
    yield Case("absolute", Tar().add("/etc/passwd", x).bytes(), check=all_of((text, "etc/passwd", "evil")))
    yield Case("dotdot", Tar().add("../evil", x).bytes(), "'..' is not allowed")
    yield Case("dotdot-inside", Tar().add("a/../../evil", x).bytes(), "'..' is not allowed")
    yield Case("dotdot-late", Tar().dir("a").add("a/..", x).bytes(), "'..' is not allowed")
    yield Case("dotdot-dir", Tar().dir("..").bytes(), "'..' is not allowed")
    yield Case("dotdot-many", Tar().add(dots + outside.lstrip("/") + "/evil", x).bytes(), "'..' is not allowed")
    yield Case("through-absolute-link", Tar().sym("a", outside).add("a/evil", x).bytes(),
               check=all_of((text, outside.lstrip("/") + "/evil", "evil")))
    yield Case("through-relative-link", Tar().sym("a", dots + outside.lstrip("/")).add("a/evil", x).bytes(),
               check=all_of((text, outside.lstrip("/") + "/evil", "evil")))
    yield Case("two-steps", Tar().sym("x", ".").sym("x/y", "..").add("y/evil", x).bytes(),
               check=all_of((text, "evil", "evil")))
    yield Case("two-steps-deep", Tar().dir("a").sym("a/b", "../..").sym("c", "a/b/..").add("c/evil", x).bytes(),
               check=all_of((text, "evil", "evil")))
    yield Case("link-to-itself", Tar().sym("a", "a").add("a/x", x).bytes(), "circle")
    yield Case("links-in-circle", Tar().sym("a", "b").sym("b", "a").add("a/x", x).bytes(), "circle")
    yield Case("link-changed-under-cache",
               Tar().dir("p").dir("q").sym("l", "p").add("l/1", b"1").sym("l", "q").add("l/2", b"2").bytes(),
               check=all_of((text, "p/1", "1"), (text, "q/2", "2")))
    yield Case("link-missing-target", Tar().sym("bin", "usr/bin").add("bin/x", b"1").bytes(),
               check=all_of((text, "usr/bin/x", "1")))
    yield Case("hardlink-host", Tar().hard("a", "/etc/hostname").bytes(), "no layer has")
    yield Case("hardlink-dotdot", Tar().hard("a", dots + "etc/hostname").bytes(), "'..' is not allowed")
    yield Case("hardlink-through-link", Tar().sym("e", "/etc").hard("a", "e/hostname").bytes(), "no layer has")
    yield Case("hardlink-to-link", Tar().sym("s", "/etc/hostname").hard("a", "s").add("a/x", x).bytes(),
               check=all_of((text, "etc/hostname/x", "evil")))
    yield Case("hardlink-overwrite", Tar().add("f1", b"orig").hard("f2", "f1").add("f2", b"new").bytes(),
               check=link_kept)
    yield Case("hardlink-data", header(b"f") + header(b"g", size=b"00000000004\0", type=b"1", link=b"f") +
               b"evil" + b"\0" * 508 + b"\0" * 1024, ("hard link with data", "damaged"))
    yield Case("hardlink-data-pax", Tar().add("f").hard("g", "f", body=b"evil", pax={"comment": "x"}).bytes(),
               ("hard link with data", "damaged"))
    yield Case("hardlink-dir", Tar().dir("d").hard("a", "d").bytes(), "hard link to a directory")
    yield Case("hardlink-self", Tar().add("a", b"1").hard("a", "a").bytes(), check=all_of((text, "a", "1")))
    yield Case("hardlink-forward", Tar().hard("b", "a").add("a", b"1").bytes(), check=same_file)
    yield Case("hardlink-whiteout", Tar().add(".wh.w").hard("a", "w").bytes(), "no layer has")
    yield Case("file-over-link", Tar().sym("f", outside + "/evil").add("f", x).bytes(),
               check=all_of((text, "f", "evil")))
    yield Case("dir-over-link", Tar().sym("d", outside).dir("d").add("d/evil", x).bytes(),
               check=all_of((text, "d/evil", "evil")))
    yield Case("link-over-dir", Tar().dir("d").add("d/x", b"1").sym("d", "/etc").bytes(),
               check=lambda tree: os.readlink(tree + "/d") == "/etc" or 1 / 0)
    yield Case("file-over-dir", Tar().dir("d").add("d/x", b"1").add("d", b"2").bytes(),
               check=all_of((text, "d", "2")))
    yield Case("dir-over-file", Tar().add("d", b"1").dir("d").add("d/x", b"2").bytes(),
               check=all_of((text, "d/x", "2")))
    yield Case("file-as-parent", Tar().add("f", b"1").add("f/x", b"2").bytes(), "no directory")
    yield Case("file-as-parent-deep", Tar().add("f", b"1").add("f/x/y/z", b"2").bytes(), "no directory")
    yield Case("fifo-as-parent", Tar().add("f", type=tarfile.FIFOTYPE).add("f/x", b"2").bytes(), "no directory")
    yield Case("duplicate", Tar().add("f", b"1").add("f", b"22").bytes(), check=all_of((text, "f", "22")))
    yield Case("long-name", Tar().add("n" * 256, b"1").bytes(), "longer than 255")
    yield Case("long-path", Tar().add("/".join(["n" * 200] * 30), b"1").bytes(), "longer than 4096")
    yield Case("deep-path", Tar().add("/".join(["n"] * 600), b"1").bytes(), "directories deep")
    yield Case("root-file", Tar().add(".", b"1").bytes(), "the root is no directory")
    yield Case("root-link", Tar().sym("./", "/etc").bytes(), "the root is no directory")
    yield Case("no-name", header(b"") + b"\0" * 1024, ("without a name", "root is no directory"))
    yield Case("uid-large", Tar().add("f", b"1", uid=65536).bytes(), "user 65536")
    yield Case("gid-large", Tar().add("f", b"1", gid=70000).bytes(), "group 70000")
    yield Case("uid-2-31", Tar().add("f", b"1", uid=2**31).bytes(), "user 2147483648")
    yield Case("uid-wraps", Tar().add("f", b"1", uid=2**32).bytes(), "user 4294967296")
    yield Case("uid-negative", header(b"f", uid=b"\xff" * 7 + b"\xfe") + b"\0" * 1024, ("user ", None))
    yield Case("uid-text", Tar().add("f", b"1", pax={"uid": "99999999999999999999"}).bytes(), ("", None))
    yield Case("owner", Tar().add("f", b"1", uid=1000, gid=65535).bytes())
    yield Case("whiteout", Tar().add("d/.wh.x").bytes(), check=all_of((whiteout, "d/x"), (missing, "d/.wh.x")))
    yield Case("whiteout-empty", Tar().add(".wh.").bytes(), "whiteout of nothing")
    yield Case("whiteout-dot", Tar().add("d/.wh..").bytes(), "whiteout of nothing")
    yield Case("whiteout-dotdot", Tar().add("d/.wh...").bytes(), "whiteout of nothing")
    yield Case("whiteout-dir", Tar().add(".wh.x/y", b"1").bytes(), "whiteout is no directory")
    yield Case("whiteout-below-file", Tar().add("f", b"1").add("f/.wh.x").bytes(), check=all_of((text, "f", "1")))
    yield Case("whiteout-own-file", Tar().add("f", b"1").add(".wh.f").bytes(), check=all_of((text, "f", "1")))
    yield Case("whiteout-own-dir", Tar().dir("d").add("d/x", b"1").add(".wh.d").bytes(),
               check=all_of((text, "d/x", "1"), (opaque, "d")))
    yield Case("whiteout-own-dir-before", Tar().add(".wh.d").dir("d").add("d/x", b"1").bytes(),
               check=all_of((text, "d/x", "1"), (opaque, "d")))
    yield Case("opaque", Tar().dir("d").add("d/.wh..wh..opq").add("d/x", b"1").bytes(),
               check=all_of((opaque, "d"), (missing, "d/.wh..wh..opq")))
    yield Case("aufs", Tar().dir(".wh..wh.plnk").add(".wh..wh.plnk/1.2", b"1").add(".wh..wh.aufs").add("f").bytes(),
               check=all_of((only, "f")))
    yield Case("whiteout-through-link", Tar().sym("l", outside).add("l/.wh.x").bytes(),
               check=all_of((whiteout, outside.lstrip("/") + "/x")))
    yield Case("attributes", Tar().add("f", b"1", pax={
        "SCHILY.xattr.user.mine": "1", "SCHILY.xattr.user.overlay.redirect": "/etc",
        "SCHILY.xattr.user.overlay.opaque": "y", "SCHILY.xattr.trusted.overlay.opaque": "y",
        "SCHILY.xattr.trusted.x": "1", "SCHILY.xattr.security.selinux": "x",
        "SCHILY.xattr.security.ima": "x"}).bytes(), check=attributes)
    yield Case("opaque-attribute", Tar().dir("d", pax={"SCHILY.xattr.user.overlay.opaque": "y"}).bytes(),
               check=all_of((opaque, "d", False)))
    yield Case("capability", Tar().add("f", b"1", mode=0o755, pax={
        "SCHILY.xattr.security.capability": CAPABILITY.decode("utf-8", "surrogateescape")}).bytes(),
        check=capability)
    yield Case("devices", Tar().add("b", type=tarfile.BLKTYPE, devmajor=8).add("c", type=tarfile.CHRTYPE)
               .add("f", b"1").bytes(), check=all_of((only, "f")))
    yield Case("fifo", Tar().add("p", type=tarfile.FIFOTYPE, mode=0o600).bytes(),
               check=lambda tree: os.lstat(tree + "/p").st_mode & 0o170000 == 0o010000 or 1 / 0)
    yield Case("modes", Tar().add("su", b"1", mode=0o4755).dir("t", mode=0o1777).bytes(), check=modes)
    yield Case("times", Tar().dir("d", mtime=1500000000).add("d/f", mtime=1500000000)
               .sym("d/l", "f", mtime=1500000000).bytes(), check=times)
    yield Case("closed-dir", Tar().dir("d", mode=0).add("d/f", b"1", mode=0).bytes(),
               check=all_of((text, "d/f", "1")))
    yield Case("foreign-root", Tar().dir("./", mode=0o700, uid=1000).add("./f", b"1").bytes(),
               check=all_of((text, "f", "1")))
    yield Case("escapes", Tar().add("a\x1b[31m\x07", b"1", uid=70000).bytes(), "a\x1b[31m")
    yield Case("latin-1", Tar(tarfile.GNU_FORMAT).add("caf\udce9", b"1").bytes(),
               check=lambda tree: os.listdir(os.fsencode(tree)) == [b"caf\xe9"] or 1 / 0)
    yield Case("latin-1-error", Tar(tarfile.GNU_FORMAT).add("caf\udce9", b"1", uid=70000).bytes(), "caf\\xe9")
    yield Case("nfd", Tar().add(nfd, b"1", pax={"path": nfd}).bytes(),
               check=lambda tree: os.listdir(os.fsencode(tree)) == [nfd.encode()] or 1 / 0)
    yield Case("link-empty", header(b"l", type=b"2") + b"\0" * 1024, ("link to nothing", None))
    yield Case("link-long", Tar().sym("l", "t" * 5000).bytes(), ("too long", "cannot unpack"))
    yield Case("long-but-right", Tar().add("/".join(["n" * 100] * 20), b"1").bytes(),
               check=all_of((text, "/".join(["n" * 100] * 20), "1")))
    yield Case("sparse-huge", Tar().add("s", pax={"GNU.sparse.major": "1", "GNU.sparse.minor": "0",
               "GNU.sparse.realsize": str(2**60), "GNU.sparse.name": "s"}, body=b"1\n0\n0\n".ljust(512, b"\0"))
               .bytes(), ("too large", "damaged"))
    yield Case("size-huge", header(b"f", size=b"77777777777\0") + b"\0" * 1024, "damaged")
    yield Case("size-negative", header(b"f", size=b"\xff" * 12) + b"\0" * 1024, "damaged")
    yield Case("longname-huge", header(b"././@LongLink", size=b"77777777777\0", type=b"L") + b"\0" * 2048, "damaged")
    yield Case("pax-huge", Tar().raw(header(b"h", size=b"00020000000\0", type=b"x") + b"1" * 4194304).add("f")
               .bytes(), "damaged")
    yield Case("damaged", wrong + bytes(damaged), "damaged")
    yield Case("cut-in-file", Tar().add("f", b"1" * 5000).bytes()[:2048], "damaged")
    yield Case("cut-in-header", Tar().add("f", b"1").bytes()[:700], "damaged")
    yield Case("cut-between", Tar().add("f", b"1").bytes(end=False), "cut short")
    yield Case("gzip", gz(Tar().add("f", b"1").bytes()), check=all_of((text, "f", "1")))
    yield Case("gzip-members", gz(Tar().add("f", b"1").bytes()[:700]) + gz(Tar().add("f", b"1").bytes()[700:]),
               check=all_of((text, "f", "1")))
    yield Case("gzip-padded", gz(Tar().add("f", b"1").bytes()) + b"\0" * 600, check=all_of((text, "f", "1")))
    yield Case("gzip-cut", gz(os.urandom(70000) and Tar().add("f", os.urandom(70000)).bytes())[:40000], "cut short")
    yield Case("gzip-damaged", gz(Tar().add("f", b"1" * 99999).bytes())[:60] + b"\xff" * 60, ("damaged", "cut short"))
    yield Case("gzip-of-nothing", gz(b""), ("", None))
    yield Case("gzip-of-text", gz(b"hello" * 1000), "damaged")
    yield Case("xz", __import__("lzma").compress(Tar().add("f", b"1").bytes()), check=all_of((text, "f", "1")))
    yield Case("xz-cut", __import__("lzma").compress(Tar().add("f", os.urandom(9999)).bytes())[:5000], "cut short")
    yield Case("bzip2", __import__("bz2").compress(Tar().add("f", b"1").bytes()), "bzip2")
    yield Case("zip", b"PK\x03\x04" + b"\0" * 600, "zip archives are not supported")
    yield Case("qcow2", b"QFI\xfb" + b"\0" * 600, "qcow2")
    yield Case("text", b"hello\n" * 200, "no tar archive")
    yield Case("nothing", b"", "empty")
    yield Case("zeros", b"\0" * 10240, "empty")
    yield Case("other-machine", Tar().add("bin/sh", elf(183), mode=0o755).bytes(), "arm64")
    yield Case("this-machine", Tar().add("bin/sh", elf(62), mode=0o755).bytes())
    bomb = zstd_bomb()
    if bomb:
        yield Case("bomb", bomb, "bomb")
    if zlib:
        yield Case("trailing-garbage", Tar().add("f", b"1").bytes() + b"x" * 5000 + b"\0" * 512,
                   check=all_of((text, "f", "1")))
