"""What bad input gets: a clear error with place and hint, nothing created, nothing lost."""

import bz2
import os
import re
import shutil
import subprocess
import time

import pytest

CASES = [
    # text of venv.yml, place, words of the message or the hint
    ("box: busybox\nmemroy: 1G\n", "2:1", ["memroy", "memory"]),
    ("box: busybox\nmemory: 2X\n", "2:9", ["2X", "2G"]),
    ("box: busybox\ncpus: lots\n", "2:7", ["lots"]),
    ("box: busybox\n\tcpus: 1\n", "2:1", ["tab"]),
    ("box: busybox\nbox: other\n", "2:1", ["box"]),
    ("box: busybox\nports: [ 99999:80 ]\n", "2:10", ["99999"]),
    ("box: busybox\nautostart: yes\n", "2:12", ["true"]),
    ("box: [ a\n", "", []),
    ("cpus: 1\n", "", ["box"]),
    ("", "", ["box"]),
    ("box: busybox\nmachines:\n  a: { needs: { b: ready } }\n  b: { needs: { a: ready } }\n", "", ["a", "b"]),
    ("box: busybox\nmachines:\n  a: { needs: { bb: ready } }\n  b: {}\n", "3:", ["bb"]),
    ("box: busybox\nmachines:\n  a: { ports: [ 8080:80 ] }\n  b: { ports: [ 8080:80 ] }\n", "4:", ["8080"]),
    ("box: busybox\nmachines: { 'Bad Name': {} }\n", "2:", ["Bad Name"]),
    ("box: busybox\nfolders: [ .:relative ]\n", "2:", ["relative"]),
    ("box: busybox\nnetworks: [ nowhere ]\n", "2:", ["nowhere"]),
]


@pytest.mark.parametrize("text,place,words", CASES)
def test_configuration(project, venv, text, place, words):
    project.write(text)
    for command in ("validate", "up"):
        result = venv.fails(command)
        assert result.status in (3, 8), result
        assert f"venv.yml:{place}" in result.stderr, result
        for word in words:
            assert word in result.stderr, result
    assert project.machines() == []


@pytest.mark.parametrize("key", [
    "triggers: [ { before: halt, run: x, where: machine } ]", "devices: [ gpu ]", "nested: true",
    "libvirt: { uri: auto }", "provider: libvirt",
    "provision: [ { ansible: x.yml } ]", "folders: [ { host: ., guest: /w, mode: overlay } ]"])
def test_what_is_not_supported_yet_is_named(project, venv, key):
    project.write("box: busybox\n" + key + "\n")
    for command in ("up", "validate"):
        result = venv.fails(command, status=8)
        assert "not supported yet" in result.stderr, result
        assert "venv.yml:2:" in result.stderr, result


@pytest.mark.parametrize("key,message,hint", [
    ("box: docker://docker.io/library/nginx", "registries are not supported yet", "skopeo copy docker://"),
    ("box: https://example.org/x.tar", "box sources with 'https' are not supported yet", "download the file"),
    ("architecture: arm64", "is for amd64, and arm64 is wanted", "architecture: amd64"),
    ("disk: 20G", "cannot give a machine a disk of its own", "remove 'disk'"),
    ("cpus: 48\nprovider: kvm", "cannot have more than 32 processors ('cpus')", "set 'cpus' to 32 or less"),
    ("ssh: { extra_keys: [./none.pub] }", "none.pub", "public keys")])
def test_what_cannot_be_had_is_told_at_its_place(project, venv, key, message, hint):
    project.write(("" if key.startswith("box") else "box: busybox\n") + "networks: []\n" + key + "\n")
    result = venv.fails("up")
    assert f"venv.yml:{2 if key.startswith('box') else 3}:" in result.stderr, result
    assert message in result.stderr and hint in result.stderr, result
    assert "creating" not in result.stdout + result.stderr, result
    assert project.machines() == []


def test_a_file_that_is_a_link(project, venv):
    path = os.path.join(project.path, "venv.yml")
    project.file("elsewhere/real.yml", "memroy: 1G\n")
    os.symlink("elsewhere/real.yml", path)
    assert "unknown key 'memroy'" in venv.fails("validate", status=3).stderr
    os.unlink(path)
    os.symlink("nowhere", path)
    assert "cannot open" in venv.fails("validate", status=4).stderr
    os.unlink(path)
    os.mkdir(path)
    assert "is a directory" in venv.fails("validate", status=3).stderr
    os.rmdir(path)
    os.mkfifo(path)
    assert "is not a regular file" in venv.fails("validate", status=3).stderr
    os.unlink(path)
    project.write("box: busybox\n")


@pytest.mark.skipif(os.geteuid() != 0, reason="makes a link of another user's")
@pytest.mark.parametrize("name", ["venv.yml", "venv.local.yml"])
def test_a_link_of_another_user_to_a_file_of_yours(project, venv, name):
    """It is not followed, and nothing of that file is quoted."""
    project.write("box: busybox\n")
    secret = project.file("secret", "hunter2: x\n")
    path = os.path.join(project.path, name)
    if name == "venv.yml":
        os.unlink(path)
    os.symlink(secret, path)
    os.chown(secret, venv.account.uid, -1)
    os.lchown(path, 12345, -1)
    for arguments in (["validate"], ["up"], ["status", "--json"], ["destroy", "-f"], ["-f", path, "validate"]):
        if name == "venv.local.yml" and "-f" in arguments[:1]:
            continue
        result = venv.fails(*arguments, status=9)
        assert "another user's link" in result.stderr + result.stdout
        assert "hunter" not in result.stderr + result.stdout
    os.lchown(path, venv.account.uid, -1)
    assert "hunter" in venv.fails("validate", status=3).stderr
    os.unlink(path)
    project.write("box: busybox\n")


def test_a_broken_file_does_not_hold_its_machines(project, venv):
    project.write("box: busybox\nmachines: { one: {}, two: {} }\n")
    venv("up")
    ids = {machine["name"]: machine["id"][:7] for machine in venv.json("status")}
    project.write("box: busybox\nmemroy: 1G\nmachines: { one: {}, two: {} }\n")
    result = venv.fails("destroy", "-f", status=3)
    assert "did you mean 'memory'? 'venv destroy --id" in result.stderr
    for name, number in ids.items():
        assert f"'venv destroy --id {number}' ({name})" in result.stderr
    result = venv.fails("halt", "two", "--json", status=3)
    assert f"'venv halt --id {ids['two']}' (two) does" in result.stdout and ids["one"] not in result.stdout
    assert "--id" not in venv.fails("up", status=3).stderr
    os.unlink(os.path.join(project.path, "venv.yml"))
    assert f"--id {ids['one']}" in venv.fails("destroy", "-f", status=4).stderr
    venv("destroy", "-f", "--id", ids["one"])
    project.write("box: [")
    venv("destroy", "-f", "--id", ids["two"])
    assert "'venv destroy --id ID'" in venv.fails("destroy", "-f", status=3).stderr
    project.write("box: busybox\n")


def test_unknown_box(project, venv):
    project.write("box: busibox\n")
    result = venv.fails("up", status=4)
    assert "busibox" in result.stderr and "busybox" in result.stderr
    assert "venv.yml:1:6" in result.stderr


@pytest.mark.parametrize("lines, place", [("box: busybox\nversion: \"~> 99.1\"\n", "venv.yml:2:10"),
                                          ("box: busybox@99.1\n", "venv.yml:1:6")])
def test_a_version_that_there_is_not(project, venv, lines, place):
    for _ in ("from the recipe", "pinned by venv.lock"):
        project.write(lines)
        result = venv.fails("up", status=4)
        assert place in result.stderr and "99.1" in result.stderr and "hint: " in result.stderr, result
        assert "to be built" not in str(venv("plan"))
        assert "unpacking" not in str(result), result  # nothing is built to find it out
        assert project.machines() == []
        project.write("box: busybox\nversion: \">= 1\"\n")
        venv("up")
        venv("destroy", "-f")


def test_a_pinned_box_that_lost_its_name(project, venv):
    """Another box takes its name and version: what venv.lock pins is used on, by its name, and stays pinned."""
    project.write("box: busybox\nnetworks: []\nfolders: []\n")
    venv("up")
    (layer,) = venv.json("box", "info", "busybox")["layers"]
    venv("destroy", "-f")
    project.write("box: mine\nnetworks: []\nfolders: []\n")
    pack = ["tar", "--numeric-owner", "--owner=0", "--group=0", "-cf", "box.tar", "-C", layer, "."]
    venv.run(pack)
    venv("box", "add", "--name", "mine@1", "box.tar")
    venv("up")
    pinned = project.read("venv.lock")
    venv("destroy", "-f")
    project.file("more")
    venv.run([*pack, "-C", project.path, "more"])
    venv("box", "add", "--name", "mine@1", "box.tar")
    assert "creating from mine" in str(venv("up"))
    assert project.read("venv.lock") == pinned


def test_unknown_machine(project, venv):
    project.write("box: busybox\nmachines: { web: {} }\n")
    result = venv.fails("up", "wob", status=4)
    assert "wob" in result.stderr and "web" in result.stderr


def test_box_files_that_are_none(project, venv):
    project.write("box: busybox\n")
    project.file("text.tar", "no archive at all")
    good = subprocess.run(["tar", "c", "-C", "/etc", "hostname"], capture_output=True, check=True).stdout
    project.file("short.tar", good[:700])
    for name in ("text.tar", "short.tar", "missing.tar"):
        result = venv.fails("box", "add", "--name", "x", name)
        assert result.status in (4, 10), result
        assert name in result.stderr
    assert venv.json("box", "list") == []


def test_no_sub_ids(project, venv, as_user):
    """An ordinary user whom nobody gave any is told the command that does."""
    if os.geteuid() != 0 or as_user.is_root:
        pytest.skip("only root can make another user")
    name = "venve2enoids"
    if subprocess.run(["id", name], capture_output=True, check=False).returncode:
        # a system user gets none
        subprocess.run(["/usr/sbin/useradd", "--system", "--shell", "/bin/sh", name], check=True)
    home = os.path.join(venv.sandbox, "other")
    os.mkdir(home)
    shutil.chown(home, name, name)
    project.file("venv.yml", "box: busybox\nfolders: []\nnetworks: []\n")
    shutil.copy(os.path.join(project.path, "venv.yml"), home)
    environment = {**venv.environment(), "HOME": home, "XDG_DATA_HOME": home + "/data", "USER": name}
    result = subprocess.run(["setpriv", "--reuid=" + name, "--regid=" + name, "--init-groups", "--",
                             venv.path, "up"], cwd=home, env=environment, capture_output=True, text=True,
                            check=False, timeout=60)
    assert result.returncode not in (0, 1), result
    assert "/etc/subuid" in result.stderr and "usermod --add-subuids" in result.stderr, result
    assert not os.path.exists(home + "/data/venv/machines") or os.listdir(home + "/data/venv/machines") == []


def test_read_only_home(project, venv, as_user):
    if as_user.uid == 0:
        pytest.skip("root writes everywhere")
    project.write("box: busybox\n")
    result = venv.fails("up", env={"XDG_DATA_HOME": "/proc/nowhere"})
    assert "XDG_DATA_HOME" in result.stderr


def test_a_project_moves_while_it_runs(project, venv):
    project.write("box: busybox\nnetworks: []\n")
    venv("up")
    project.move("elsewhere")
    (machine,) = venv.json("global-status")
    assert machine["directory_gone"] is True
    (machine,) = venv.json("status")
    assert machine["state"] == "running"
    venv("up")
    venv("exec", "--", "test", "-e", "/workspace/venv.yml")
    (machine,) = venv.json("global-status")
    assert "directory_gone" not in machine and machine["directory"] == project.path
    venv("destroy", "-f")


def test_a_project_is_deleted_while_it_runs(project, venv):
    project.write("box: busybox\nnetworks: []\n")
    venv("up")
    assert "(gone)" not in venv("global-status").stdout
    # a shell that stands in it all the while
    result = venv.run(["sh", "-c", 'rm -r "$1"; "$0" status', venv.path, project.path], check=False)
    assert result.status == 4 and "deleted" in result.stderr and "venv destroy --id" in result.stderr
    os.mkdir(project.path)
    os.chown(project.path, venv.account.uid, venv.account.gid)
    (machine,) = venv.json("global-status")
    assert machine["state"] == "running" and machine["directory_gone"] is True
    text = venv("global-status").stdout
    assert f"{project.path} (gone)" in text and "venv destroy --id" in text
    venv("repair")  # nothing of it is broken, and nothing is lost
    assert len(project.machines()) == 1
    # the new directory is another project
    project.write("box: busybox\nnetworks: []\n")
    assert venv.json("status")[0]["state"] == "not created"
    venv("destroy", "-f", "--id", machine["id"][:7])
    assert project.machines() == []


def test_a_clone_with_the_machines_of_another(project, venv):
    """A repository that ships .machines/ claims nothing: not by name, not for destroy."""
    project.write("box: busybox\nnetworks: []\n")
    venv("up")
    venv("exec", "--", "touch", "/root/precious")
    clone = project.copy("clone")
    venv("destroy", "-f", cwd=clone)
    assert venv.json("status", cwd=clone)[0]["state"] == "not created"
    venv.fails("exec", "--", "true", cwd=clone, status=125)
    venv("exec", "--", "test", "-e", "/root/precious")


@pytest.mark.parametrize("milliseconds", [1, 5, 20, 50, 100, 200, 400])
def test_ctrl_c_at_any_phase(project, venv, milliseconds):
    project.write("box: busybox\nports: [ { host: auto, guest: 80 } ]\nprovision: [ { run: sleep 0.2 } ]\n")
    with venv.terminal("up") as terminal:
        time.sleep(milliseconds / 1000)
        terminal.send("\x03")
        # 0: it was done; 128 + 2: it had not even begun to listen
        assert terminal.wait(15) in (0, 130)
    venv("up")
    venv("exec", "--", "true")


def test_a_copy_is_another_project(project, venv):
    project.write("box: busybox\nnetworks: []\n")
    venv("up")
    copy = project.copy("copied")
    (machine,) = venv.json("status", cwd=copy)
    assert machine["state"] == "not created"
    venv("up", cwd=copy)
    assert len(project.machines()) == 2


def test_wiped_pointers(project, venv):
    project.write("box: busybox\nnetworks: []\n")
    venv("up")
    venv.run(["rm", "-r", os.path.join(project.path, ".machines")])
    (machine,) = venv.json("status")
    assert machine["state"] == "running"
    venv("up")
    assert len(project.machines()) == 1


def test_escape_sequences_everywhere(project, venv):
    project.write('box: "evil\\e[2Jbox"\n')
    result = venv.fails("up")
    assert b"\x1b[2J" not in result.err + result.out
    project.write('box: busybox\nname: "a\\ab"\n')
    result = venv("status", check=False)
    assert b"\x07" not in result.err + result.out
    project.write("box: busybox\n")


def test_two_at_once(project, venv):
    project.write("box: busybox\nprovision: [ { run: sleep 2 } ]\n")
    venv("box", "build", "busybox")
    argv = venv.command("up")
    with subprocess.Popen(argv, cwd=project.path, env=venv.environment(), stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT) as first:
        deadline = time.monotonic() + 10
        while venv.json("status")[0]["state"] != "running":
            assert time.monotonic() < deadline
        result = venv.fails("up", "--no-wait", status=7)
        assert re.search(r"venv up \(pid \d+, since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\)", result.stderr), result
        second = venv("up")
        first.communicate()
        assert first.returncode == 0
    assert second.status == 0
    assert len(project.machines()) == 1


def test_ctrl_c(project, venv):
    project.write("box: busybox\nprovision: [ { name: endless, run: sleep 100 } ]\n")
    with venv.terminal("up") as terminal:
        terminal.expect("endless")
        terminal.send("\x03")
        assert terminal.wait(15) == 130
    (machine,) = venv.json("status")
    assert machine["state"] == "running"
    assert "sleep" not in venv("exec", "--", "ps").stdout


def test_a_symlinked_machines_directory(project, venv):
    project.write("box: busybox\nnetworks: []\n")
    victim = os.path.join(venv.sandbox, "victim")
    venv.run(["mkdir", victim])
    venv.run(["ln", "-s", victim, os.path.join(project.path, ".machines")])
    venv.fails("up")
    assert os.listdir(victim) == []
    os.unlink(os.path.join(project.path, ".machines"))


@pytest.mark.parametrize("data,message,hint", [
    (b"junk" * 1000, "it is no tar archive", "give a tar archive of a root file system"),
    (b"", "the file is empty", "give a tar archive of a root file system"),
    (bz2.compress(b"x"), "it is compressed by bzip2", "compressed by gzip, xz or zstd")])
def test_what_is_no_box_gets_a_hint(project, venv, data, message, hint):
    result = venv.fails("box", "add", "--name", "x", project.file("box.tar", data))
    assert message in result.stderr and hint in result.stderr, result


def test_a_damaged_image_gets_a_hint(project, venv):
    project.file("oci/oci-layout", '{"imageLayoutVersion": "1.0.0"}')
    digest = "0" * 64
    project.file("oci/index.json", '{"schemaVersion": 2, "manifests": [{"mediaType": '
                 '"application/vnd.oci.image.manifest.v1+json", "digest": "sha256:%s", "size": 2}]}' % digest)
    project.file("oci/blobs/sha256/" + digest, "{}")
    result = venv.fails("box", "add", "oci", status=10)
    assert "has another digest" in result.stderr and "make or download it again" in result.stderr, result
    assert "rootfs.tar" not in result.stderr


def test_hints_name_what_helps(project, venv):
    project.write("box: ./none.tar\n")
    assert "there is no such file" in venv.fails("up").stderr
    project.write("box: busybox\nnetworks: []\n")
    venv("up")
    result = venv.fails("cp", "venv.yml", ":/none/of/this")
    assert "No such file or directory" in result.stderr and "mkdir -p" in result.stderr
    assert "did you mean" not in venv.fails("bogus").stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts")
def test_a_read_only_project(project, venv):
    project.write("box: busybox\nnetworks: []\n")
    subprocess.run(["mount", "--bind", project.path, project.path], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", project.path], check=True)
        result = venv.fails("up")
        assert "Read-only" in result.stderr and "copy the project" in result.stderr, result
        assert "XDG_DATA_HOME" not in result.stderr
    finally:
        subprocess.run(["umount", project.path], check=True)
