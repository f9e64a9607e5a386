#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The box store as a black box: box_drive and venv-unpack on hostile archives, images, crashes and full
disks; as root, and as an ordinary user with sub-ids when root runs it."""
import argparse
import hashlib
import io
import json
import os
import pwd
import random
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from box_corpus import Tar, cases, elf, gz, opaque, text, whiteout  # noqa: E402
from box_disks import DiskBoxes  # noqa: E402

OPTIONS = None


def test_user():
    """An ordinary user with sub-ids, or None."""
    if os.environ.get("VENV_TEST_USER"):
        return os.environ["VENV_TEST_USER"]
    try:
        with open("/etc/subuid") as file:
            names = [line.split(":")[0] for line in file]
    except OSError:
        return None
    for name in names:
        try:
            if pwd.getpwnam(name).pw_uid > 0:
                return name
        except KeyError:
            pass
    return None


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Store(DiskBoxes, unittest.TestCase):
    user = None

    @classmethod
    def setUpClass(cls):
        if cls.user is False:
            raise unittest.SkipTest("no ordinary user with sub-ids in /etc/subuid")
        shared = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        cls.top = tempfile.mkdtemp(prefix="venv-box-test.", dir=shared)
        os.chmod(cls.top, 0o755)
        for program in (OPTIONS.drive, OPTIONS.unpack):
            shutil.copy(program, cls.top)
        shutil.copytree(OPTIONS.boxes, cls.top + "/boxes")

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.top, ignore_errors=True)

    def setUp(self):
        self.work = tempfile.mkdtemp(dir=self.top)
        self.data = self.work + "/data"
        self.outside = self.work + "/outside"
        for path in (self.data, self.outside):
            os.mkdir(path)
        if self.user:
            uid = pwd.getpwnam(self.user).pw_uid
            for path in (self.work, self.data, self.outside):
                os.chown(path, uid, -1)
        os.chmod(self.work, 0o755)

    def tearDown(self):
        shutil.rmtree(self.work, ignore_errors=True)

    # ---- helpers

    def command(self, *arguments):
        prefix = ["runuser", "-u", self.user, "--"] if self.user else []
        return prefix + [self.top + "/box_drive", *arguments]

    def environment(self, **more):
        return dict(os.environ, XDG_DATA_HOME=self.data, VENV_LIBEXEC=self.top,
                    VENV_BOXES=self.top + "/boxes", **more)

    def drive(self, *arguments, ok=True, **more):
        run = subprocess.run(self.command(*arguments), capture_output=True, env=self.environment(**more),
                             timeout=120, check=False)
        self.stderr = run.stderr.decode("utf-8", "replace")
        answer = json.loads(run.stdout or b"{}")
        if ok is not None:
            self.assertEqual(run.returncode == 0, ok, f"{arguments}: {answer} {self.stderr}")
        return answer

    def write(self, name, data):
        path = os.path.join(self.work, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(data)
        os.chmod(path, 0o644)
        return path

    def store(self, *names):
        return os.path.join(self.data, "venv/boxes", *names)

    def entries(self, directory):
        try:
            names = os.listdir(self.store(directory))
        except FileNotFoundError:
            return []
        return sorted(n for n in names if not n.endswith(".making"))

    def assert_empty(self, stage_only=False):
        for directory in ("stage",) if stage_only else ("stage", "layers", "records", "names"):
            self.assertEqual(self.entries(directory), [], f"{directory} is not empty")
        self.assertEqual(os.listdir(self.outside), [])

    def tree(self, box, layer=0):
        return box["layers"][layer]

    # ---- OCI

    def layout(self, layers, name="layout", tamper=None, config=None, **manifest_more):
        """An OCI layout of these uncompressed layers; tamper(parts) may change anything."""
        blobs, descriptors, ids = {}, [], []
        for layer in layers:
            blob = gz(layer)
            blobs[digest(blob)] = blob
            ids.append(digest(layer))
            descriptors.append({"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
                                "digest": digest(blob), "size": len(blob)})
        image = {"architecture": "amd64", "os": "linux", "config": config or {},
                 "rootfs": {"type": "layers", "diff_ids": ids}}
        manifest = {"schemaVersion": 2, "layers": descriptors, **manifest_more}
        parts = {"blobs": blobs, "config": image, "manifest": manifest, "index": None}
        if tamper:
            tamper(parts)
        body = json.dumps(parts["config"]).encode()
        manifest.setdefault("config", {"mediaType": "application/vnd.oci.image.config.v1+json",
                                       "digest": digest(body), "size": len(body)})
        blobs[digest(body)] = body
        body = json.dumps(manifest).encode() if not parts.get("raw") else parts["raw"]
        blobs[digest(body)] = body
        index = parts["index"] or {"schemaVersion": 2, "manifests": [
            {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest(body),
             "size": len(body)}]}
        root = os.path.join(self.work, name)
        self.write(name + "/oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        self.write(name + "/index.json", json.dumps(index).encode())
        for key, blob in blobs.items():
            self.write(f"{name}/blobs/sha256/{key[7:]}", blob)
        subprocess.run(["chmod", "-R", "a+rX", root], check=True)
        return root

    def pack(self, directory, name, compress=False):
        data = io.BytesIO()
        with tarfile.open(fileobj=data, mode="w") as archive:
            for entry in sorted(os.listdir(directory)):
                archive.add(os.path.join(directory, entry), entry)
        return self.write(name, gz(data.getvalue()) if compress else data.getvalue())

    # ---- tests: archives

    def test_corpus(self):
        count = 0
        for case in cases(self.outside):
            with self.subTest(case=case.name):
                self.one_case(case)
                count += 1
        self.assertGreaterEqual(count, 60)

    def one_case(self, case):
        archive = self.write("case.tar", case.data)
        wanted = case.error if isinstance(case.error, tuple) else (case.error,)
        answer = self.drive("add", archive, "case", ok=None)
        if "error" not in answer and "layers" not in answer:
            answer = {"error": self.stderr}
        if "error" in answer:
            self.assertIn("case.tar", answer["error"])
            self.assertTrue(any(w is not None and w in answer["error"] for w in wanted), answer)
            self.assert_empty()
            return
        self.assertIn(None, wanted, "it was accepted")
        self.assertEqual(os.listdir(self.outside), [])
        if case.check:
            case.check(self.tree(answer))
        self.drive("remove", "case")
        self.assert_empty()

    def test_errors_name_the_way(self):
        self.assertIn("box build", self.drive("open", "busybox", ok=False)["hint"])
        self.assertIn("'busybox'", self.drive("open", "bussybox", ok=False)["hint"])
        answer = self.drive("open", "docker://debian", ok=False)
        self.assertEqual(answer["code"], "UNSUPPORTED")
        self.assertIn("skopeo copy", answer["hint"])
        self.assertEqual(self.drive("add", self.work + "/none.tar", "x", ok=False)["code"], "NOT_FOUND")
        self.assertIn("tar -C", self.drive("add", self.outside, "x", ok=False)["hint"])
        self.assertEqual(self.drive("add", "/dev/null", "x", ok=False)["code"], "INVALID")
        self.assertIn("name", self.drive("add", self.write("t.tar", Tar().add("f").bytes()), "a b", ok=False)["error"])

    # ---- tests: names, versions, use

    def test_names(self):
        one = self.write("one.tar", Tar().add("f", b"1").bytes())
        two = self.write("two.tar", Tar().add("f", b"2").bytes())
        self.drive("add", one, "a/b@1.0")
        self.drive("add", two, "a/b@1.2")
        self.assertEqual(self.drive("open", "a/b")["version"], "1.2")
        self.assertEqual(self.drive("open", "a/b@1.0")["version"], "1.0")
        self.assertEqual(self.drive("open", "a/b", "~> 1.0.0")["version"], "1.0")
        self.assertIn("1.0, 1.2", self.drive("open", "a/b", "> 2", ok=False)["error"])
        self.assertEqual(self.drive("open", "a/b", "wat", ok=False)["code"], "CONFIG")
        self.assertEqual(self.drive("open", one)["version"], "1.0")
        box = self.drive("open", "a/b")
        self.assertEqual(self.drive("open", box["digest"])["version"], "1.2")
        self.assertEqual(self.drive("open", box["digest"][:20])["version"], "1.2")
        self.assertEqual([b["version"] for b in self.drive("list")], ["1.0", "1.2"])
        self.drive("remove", "a/b@1.0")
        self.assertEqual(len(self.entries("layers")), 1)
        self.assertEqual(self.drive("remove", "a/b@1.0", ok=False)["code"], "NOT_FOUND")
        self.drive("remove", "a/b")
        self.assert_empty()

    def test_name_of_source(self):
        self.assertEqual(self.drive("add", self.write("thing.tar.gz", gz(Tar().add("f").bytes())))["name"], "thing")

    def test_in_use(self):
        box = self.drive("add", self.write("x.tar", Tar().add("f").bytes()), "x")
        answer = self.drive("remove", "x", ok=False, BOX_TEST_USED=box["digest"])
        self.assertEqual(answer["code"], "BUSY")
        self.assertIn("'project/web'", answer["error"])
        # a name that now means another box, and a machine on the old one
        self.drive("add", self.write("y.tar", Tar().add("g").bytes()), "x")
        self.assertEqual(self.drive("prune", BOX_TEST_USED=box["digest"])["layers"], 0)
        self.assertEqual(len(self.drive("open", box["digest"])["layers"]), 1)
        self.assertEqual(self.drive("prune")["layers"], 1)
        self.assertEqual(len(self.entries("layers")), 1)

    def test_another_name_of_what_is_in_use(self):
        archive = self.write("x.tar", Tar().add("f").bytes())
        box = self.drive("add", archive, "x")
        self.assertEqual(self.drive("add", archive, "y")["digest"], box["digest"])
        self.drive("remove", "y", BOX_TEST_USED=box["digest"])
        self.assertEqual([b["name"] for b in self.drive("list")], ["x"])
        self.assertEqual(len(self.entries("layers")), 1)
        self.drive("open", "x")
        # the last name stays
        self.assertEqual(self.drive("remove", "x", ok=False, BOX_TEST_USED=box["digest"])["code"], "BUSY")
        self.drive("remove", "x")
        self.assert_empty()

    def test_damaged_records(self):
        self.drive("add", self.write("x.tar", Tar().add("f").bytes()), "x")
        name = self.store("records", self.entries("records")[0])
        with open(name, "w") as file:
            file.write("{")
        self.assertEqual(self.drive("open", "x", ok=False)["code"], "CORRUPT")
        self.drive("add", self.work + "/x.tar", "x")
        self.drive("open", "x")
        with open(self.store("names", "x.json"), "w") as file:
            file.write("[")
        self.assertEqual(self.drive("open", "x", ok=False)["code"], "CORRUPT")
        self.drive("remove", "x")
        self.assert_empty()

    # ---- tests: recipes

    def test_busybox(self):
        start = time.monotonic()
        box = self.drive("build", "busybox")
        took = time.monotonic() - start
        tree = self.tree(box)
        self.assertEqual(os.readlink(tree + "/bin/sh"), "/bin/busybox")
        self.assertEqual(os.lstat(tree + "/tmp").st_mode & 0o7777, 0o1777)
        self.assertEqual(self.drive("open", "venv/busybox")["name"], "busybox")
        self.assertEqual([b["name"] for b in self.drive("list")], ["busybox"])
        self.drive("build", "busybox")
        self.drive("remove", "venv/busybox")
        self.assert_empty()
        self.assertLess(took, 5)

    def recipe(self, script, **more):
        path = os.path.join(self.work, "recipe")
        os.makedirs(path, exist_ok=True)
        self.write("recipe/recipe.json", json.dumps({"name": "own/box", "version": "3", **more}).encode())
        os.chmod(self.write("recipe/build", b"#!/bin/sh\n" + script.encode()), 0o755)
        os.chmod(path, 0o755)
        return path

    def test_recipe(self):
        path = self.recipe('mkdir "$TMPDIR/r"; echo hi > "$TMPDIR/r/f"; tar -C "$TMPDIR/r" -cf "$1" --owner=0 --group=0 .')
        box = self.drive("build", path)
        self.assertEqual((box["name"], box["version"]), ("own/box", "3"))
        text(self.tree(box), "f", "hi\n")
        self.assert_empty(stage_only=True)

    def test_recipe_fails(self):
        self.assertIn("status 7", self.drive("build", self.recipe("echo oh dear; exit 7"), ok=False)["error"])
        self.assertIn("oh dear", self.stderr)
        self.assertIn("made no archive", self.drive("build", self.recipe("exit 0"), ok=False)["error"])
        answer = self.drive("build", self.recipe("", needs=[{"tool": "no-such-tool", "package": "a-package"}]), ok=False)
        self.assertEqual(answer["code"], "HOST")
        self.assertIn("apt install a-package", answer["hint"])
        self.assertIn("busybox", self.drive("build", "nonesuch", ok=False)["hint"])
        self.assert_empty()

    # ---- tests: images

    LOWER = Tar().dir("./").dir("etc", mode=0o750, uid=5, gid=6).add("etc/a", b"1").dir("usr").dir("usr/bin") \
        .add("usr/bin/sh", b"sh", mode=0o755).sym("bin", "usr/bin").dir("gone").add("gone/x").bytes()
    UPPER = Tar().dir("etc", mode=0o750, uid=5, gid=6).add("etc/a", b"2").add(".wh.gone").bytes()

    def test_oci(self):
        config = {"Env": ["A=1"], "Cmd": ["sh"], "User": "7", "WorkingDir": "/w", "StopSignal": "SIGINT",
                  "Volumes": {"/v": {}}, "ExposedPorts": {"80/tcp": {}}, "Labels": {"x": "y"}}
        box = self.drive("add", self.layout([self.LOWER, self.UPPER], config=config), "img")
        self.assertEqual((box["env"], box["cmd"], box["user"], box["workdir"], box["stop_signal"]),
                         (["A=1"], ["sh"], "7", "/w", "SIGINT"))
        self.assertEqual((box["volumes"], box["exposed"]), (["/v"], ["80/tcp"]))
        self.assertEqual(len(box["layers"]), 2)
        text(self.tree(box), "etc/a", "2")
        whiteout(self.tree(box), "gone")
        # the same as archive, plain and compressed, shares everything
        for compress in (False, True):
            other = self.drive("add", self.pack(self.work + "/layout", "img.tar", compress), "other")
            self.assertEqual(other["digest"], box["digest"])
        self.assertEqual(len(self.entries("layers")), 2)
        # another image on the same base shares the base
        third = self.layout([self.LOWER, Tar().add("new", b"3").bytes()], name="third")
        self.assertEqual(self.drive("add", third, "third")["layers"][1], box["layers"][1])
        self.assertEqual(len(self.entries("layers")), 3)

    def test_implicit_parents(self):
        upper = Tar().add("etc/b", b"3").add("bin/tool", b"4").bytes()
        box = self.drive("add", self.layout([self.LOWER, upper]), "img")
        top, below = box["layers"]
        for name in ("st_uid", "st_gid", "st_mode"):
            self.assertEqual(getattr(os.lstat(top + "/etc"), name), getattr(os.lstat(below + "/etc"), name))
        self.assertFalse(os.path.lexists(top + "/bin"))
        text(top, "usr/bin/tool", "4")
        self.assertIn("links below", self.stderr)
        # over another base the same layer is another directory
        base = Tar().dir("etc", mode=0o711).bytes()
        other = self.drive("add", self.layout([base, upper], name="l2"), "img2")
        self.assertNotEqual(other["layers"][0], top)
        self.assertEqual(os.lstat(other["layers"][0] + "/etc").st_mode & 0o7777, 0o711)
        text(other["layers"][0], "bin/tool", "4")

    def test_implicit_below_whiteout(self):
        middle = Tar().add(".wh.etc").bytes()
        box = self.drive("add", self.layout([self.LOWER, middle, Tar().add("etc/b", b"3").bytes()]), "img")
        self.assertEqual(os.lstat(box["layers"][0] + "/etc").st_mode & 0o7777, 0o755)

    def test_hardlink_to_lower(self):
        box = self.drive("add", self.layout([self.LOWER, Tar().hard("etc/l", "etc/a").bytes()]), "img")
        text(box["layers"][0], "etc/l", "1")
        answer = self.drive("add", self.layout([self.LOWER, self.UPPER, Tar().hard("l", "gone/x").bytes()], "l2"),
                            "bad", ok=False)
        self.assertIn("no layer has", answer["error"])

    def test_same_layer_twice(self):
        empty = Tar().bytes()
        box = self.drive("add", self.layout([self.LOWER, empty, self.UPPER, empty]), "img")
        self.assertEqual(len(box["layers"]), 3)
        self.assertEqual(len(set(box["layers"])), 3)

    def refuse(self, expected, tamper=None, layers=None, **more):
        name = f"bad{random.random()}"
        answer = self.drive("add", self.layout(layers or [self.LOWER], name, tamper, **more), "bad", ok=False)
        self.assertIn(expected, answer["error"])
        self.assert_empty()

    def test_bad_images(self):
        def part(key, *path, value):
            def tamper(parts):
                at = parts[key]
                for step in path[:-1]:
                    at = at[step]
                at[path[-1]] = value
            return tamper

        def damage(parts):
            key = parts["manifest"]["layers"][0]["digest"]
            parts["blobs"][key] = gz(self.UPPER).ljust(len(parts["blobs"][key]), b"\0")[:len(parts["blobs"][key])]

        self.refuse("digest", damage)
        self.refuse("its digest is", part("config", "rootfs", "diff_ids", value=[digest(b"x")]))
        self.refuse("1 layers and 2 digests", part("config", "rootfs", "diff_ids", value=[digest(b"x")] * 2))
        self.refuse("is no digest", part("config", "rootfs", "diff_ids", value=["../../x"]))
        self.refuse("bytes instead of", part("manifest", "layers", 0, "size", value=1))
        self.refuse("is no digest", part("manifest", "layers", 0, "digest", value="sha256:../../../etc/passwd"))
        self.refuse("is no digest", part("manifest", "layers", 0, "digest", value="sha256:" + "A" * 64))
        self.refuse("incomplete", part("manifest", "layers", 0, "digest", value="sha256:" + "a" * 64))
        self.refuse("sha512", part("manifest", "layers", 0, "digest", value="sha512:" + "a" * 128))
        self.refuse("unknown type", part("manifest", "layers", 0, "mediaType",
                                         value="application/vnd.oci.image.layer.v1.tar+gzip+encrypted"))
        self.refuse("is for s390x", part("config", "architecture", value="s390x"))
        self.refuse("not for Linux", part("config", "os", value="windows"))
        self.refuse("schema version", part("manifest", "schemaVersion", value=1))
        self.refuse("0 layers", part("manifest", "layers", value=[]))
        self.refuse("128 layers", part("manifest", "layers", value=[{}] * 128))
        self.refuse("nested too deep", lambda p: p.update(raw=b'{"a":' + b"[" * 40 + b"]" * 40 + b"}"))
        self.refuse("larger than 4 MiB", lambda p: p.update(raw=b"{" + b" " * 5000000 + b"}"))
        self.refuse("not valid JSON", lambda p: p.update(raw=b"{"))
        self.refuse("", lambda p: p.update(raw=b"[]"))
        self.refuse("", lambda p: p.update(raw=b'"x"'))
        self.refuse("ppc64le, and this host", part("config", "architecture", value="ppc64le"))

    def test_index(self):
        root = self.layout([self.LOWER])
        with open(root + "/index.json") as file:
            right = json.load(file)["manifests"][0]
        here = {"platform": {"os": "linux", "architecture": "amd64"}}
        there = {"platform": {"os": "linux", "architecture": "arm64"}, "digest": digest(b"none"), "size": 4}
        unknown = {"platform": {"os": "unknown", "architecture": "unknown"}, "digest": digest(b"no"), "size": 2}

        def index(*items):
            self.write("layout/index.json", json.dumps({"schemaVersion": 2, "manifests": items}).encode())

        index(unknown, there, {**right, **here})
        self.drive("add", root, "img")
        index(unknown, there)
        answer = self.drive("add", root, "img", ok=False)
        self.assertEqual(answer["code"], "UNSUPPORTED")
        self.assertIn("arm64, and this host is amd64", answer["error"])
        name = "org.opencontainers.image.ref.name"
        index({**right, "annotations": {name: "one"}}, {**right, "annotations": {name: "two"}})
        self.assertIn("several images", self.drive("add", root, "img", ok=False)["error"])
        self.drive("add", f"oci:{root}:two", "img")
        self.assertIn("no image 'three'", self.drive("add", f"oci:{root}:three", "img", ok=False)["error"])
        nested = json.dumps({"schemaVersion": 2, "manifests": [{**right, **here}]}).encode()
        self.write(f"layout/blobs/sha256/{digest(nested)[7:]}", nested)
        index({"digest": digest(nested), "size": len(nested)})
        self.drive("add", root, "img")

    def docker_save(self, members, tag="localhost/some/thing:1.5"):
        layer = self.LOWER
        config = json.dumps({"architecture": "amd64", "os": "linux", "config": {"Cmd": ["x"]},
                             "rootfs": {"type": "layers", "diff_ids": [digest(layer)]}}).encode()
        name = digest(config)[7:] + ".json"
        manifest = [{"Config": name, "RepoTags": [tag], "Layers": ["a/layer.tar"]}]
        archive = Tar().add("0" * 64 + "/VERSION", b"1.0")
        archive.dir("a").add("a/layer.tar", layer).add(name, config)
        members(archive, manifest)
        return self.write("save.tar", archive.add("manifest.json", json.dumps(manifest).encode()).bytes())

    def test_docker_save(self):
        box = self.drive("add", self.docker_save(lambda a, m: None))
        self.assertEqual((box["name"], box["version"], box["cmd"]), ("some/thing", "1.5", ["x"]))

        def linked(archive, manifest):
            archive.dir("b").sym("b/layer.tar", "../a/layer.tar")
            manifest[0]["Layers"] = ["b/layer.tar"]

        self.assertEqual(self.drive("add", self.docker_save(linked))["digest"], box["digest"])

    def test_bad_docker_save(self):
        def escape(target):
            def change(archive, manifest):
                archive.sym("out", target)
                manifest[0]["Layers"] = ["out"]
            return change

        def layers(value):
            def change(archive, manifest):
                manifest[0]["Layers"] = value
            return change

        secret = self.write("secret.tar", self.LOWER)
        for target in (secret, "../" * 20 + secret.lstrip("/")):
            self.assertIn("incomplete", self.drive("add", self.docker_save(escape(target)), ok=False)["error"])
            self.assert_empty()
        for value in (["../../secret.tar"], [secret], [3], [None], "x", []):
            self.drive("add", self.docker_save(layers(value)), ok=False)
            self.assert_empty()
        self.assertIn("2 images", self.drive("add", self.docker_save(lambda a, m: m.append({})), ok=False)["error"])
        self.assert_empty()

    def tool(self, name):
        if not shutil.which(name):
            self.skipTest(f"{name} is not installed")

    def test_skopeo(self):
        self.tool("skopeo")
        root = self.layout([self.LOWER, self.UPPER], config={"Cmd": ["sh"]})
        box = self.drive("add", root, "img")
        for kind in ("docker-archive", "oci-archive"):
            target = f"{self.work}/{kind}.tar"
            subprocess.run(["skopeo", "--insecure-policy", "copy", "-q", f"oci:{root}", f"{kind}:{target}:x/y:1"],
                           check=True)
            os.chmod(target, 0o644)
            self.assertEqual(self.drive("add", f"{kind}:{target}", kind)["digest"], box["digest"])
        self.assertEqual(len(self.entries("layers")), 2)

    def test_umoci(self):
        self.tool("umoci")
        root, bundle = self.work + "/u", self.work + "/bundle"
        for command in (["init", "--layout", root], ["new", "--image", root + ":t"],
                        ["unpack", "--image", root + ":t", bundle]):
            subprocess.run(["umoci", *command] + (["--rootless"] if command[0] == "unpack" and os.geteuid() else []),
                           check=True, capture_output=True)
        os.mkdir(bundle + "/rootfs/d")
        with open(bundle + "/rootfs/d/f", "w") as file:
            file.write("1")
        subprocess.run(["umoci", "repack", "--image", root + ":t", bundle], check=True, capture_output=True)
        os.remove(bundle + "/rootfs/d/f")
        subprocess.run(["umoci", "repack", "--refresh-bundle", "--image", root + ":t", bundle], check=True,
                       capture_output=True)
        subprocess.run(["chmod", "-R", "a+rX", root], check=True)
        box = self.drive("add", root, "u")
        self.assertGreaterEqual(len(box["layers"]), 1)

    # ---- tests: crashes, full disks, others at work

    def big(self, files=400, size=3000):
        archive = Tar().dir("./")
        for i in range(files):
            archive.add(f"./d{i % 7}/f{i}", os.urandom(size), uid=i % 1000)
        return archive

    def test_killed(self):
        layer = self.big().bytes()
        root = self.layout([layer, Tar().add("d1/new", b"1").bytes()])
        rng = random.Random(7)
        for _ in range(OPTIONS.kills):
            process = subprocess.Popen(self.command("add", root, "img"), env=self.environment(),
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                       start_new_session=True)
            time.sleep(rng.uniform(0, 0.15))
            self.kill_drive(process, rng.random() < 0.5)
        box = self.drive("add", root, "img")
        self.assertEqual(len(box["layers"]), 2)
        self.drive("prune")
        deadline = time.monotonic() + 10
        while self.entries("stage") and time.monotonic() < deadline:
            time.sleep(0.1)
            self.drive("prune")
        self.assert_empty(stage_only=True)
        self.assertEqual(len(self.entries("layers")), 2)

    def kill_drive(self, process, worker):
        """kill -9 the command, or the unpacker that belongs to this store."""
        if worker:
            for pid in filter(str.isdigit, os.listdir("/proc")):
                try:
                    with open(f"/proc/{pid}/comm") as file:
                        if file.read() != "venv-unpack\n":
                            continue
                    if os.path.realpath(f"/proc/{pid}/fd/4").startswith(self.data):
                        os.kill(int(pid), signal.SIGKILL)
                except OSError:
                    pass
            process.wait(timeout=60)
            return
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def test_two_at_once(self):
        root = self.layout([self.big().bytes(), self.UPPER])
        commands = [self.command("add", root, f"img{i % 2}") for i in range(4)]
        running = [subprocess.Popen(c, env=self.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
                   for c in commands]
        for process in running:
            out, errors = process.communicate(timeout=120)
            self.assertEqual(process.returncode, 0, out + errors)
        self.assertEqual(len(self.entries("layers")), 2)
        self.assertEqual(len(self.drive("list")), 2)
        self.assert_empty(stage_only=True)

    def test_full_disk(self):
        if os.geteuid():
            self.skipTest("needs root to mount a small file system")
        archive = self.write("big.tar", self.big(900, 9000).bytes())
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m,mode=777", "none", self.data], check=True)
        try:
            answer = self.drive("add", archive, "big", ok=False)
            self.assertIn("No space left", answer["error"])
            self.assertIn("free some space", answer["hint"])
            self.assert_empty()
        finally:
            subprocess.run(["umount", "--lazy", self.data], check=True)

    def test_trees(self):
        place = self.data + "/place"
        self.drive("mkdir", place, "volume")
        st = os.lstat(place + "/volume")
        self.assertEqual(st.st_mode & 0o7777, 0o2750)
        self.assertGreater(st.st_uid, 1000)
        if not os.geteuid():
            deep = place + "/volume"
            for i in range(50):
                deep += "/d"
                os.mkdir(deep)
                os.chown(deep, st.st_uid + i, st.st_gid)
                os.chmod(deep, 0)
            os.symlink("/etc", place + "/volume/link")
        self.drive("rmtree", place, "volume")
        self.assertEqual(os.listdir(place), [])
        self.drive("rmtree", place, "volume")
        self.assertTrue(os.path.isdir("/etc"))


class AsUser(Store):
    pass


def main():
    global OPTIONS
    parser = argparse.ArgumentParser()
    parser.add_argument("--drive", required=True)
    parser.add_argument("--unpack", required=True)
    parser.add_argument("--boxes", required=True)
    parser.add_argument("--kills", type=int, default=12)
    OPTIONS, rest = parser.parse_known_args()
    if not hasattr(os, "listxattr") or sys.version_info < (3, 8):
        print("skipped: python3 is too old")
        sys.exit(77)
    if os.geteuid():
        AsUser.user = None
        loader = unittest.TestLoader().loadTestsFromTestCase(Store)
        if not test_user():
            print("skipped: this user has no sub-ids")
            sys.exit(77)
        sys.exit(not unittest.TextTestRunner(verbosity=2).run(loader).wasSuccessful())
    AsUser.user = test_user() or False
    unittest.main(argv=sys.argv[:1] + rest, verbosity=1)


if __name__ == "__main__":
    main()
