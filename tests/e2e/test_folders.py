"""Shared folders, volumes, copying."""

import os
import stat

import pytest

SMALL = "box: busybox\nnetworks: []\n"


@pytest.mark.nested
def test_files_belong_to_the_right_one_on_both_sides(project, venv, as_user):
    project.write(SMALL)
    project.file("from-host", "host\n")
    venv("up")
    assert venv("exec", "--", "cat", "/workspace/from-host").stdout == "host\n"
    assert venv("exec", "--", "stat", "-c", "%u:%g", "/workspace/from-host").stdout == "0:0\n"
    venv("exec", "--", "sh", "-c", "mkdir -p /workspace/a/b && echo x > /workspace/a/b/c")
    status = os.stat(os.path.join(project.path, "a/b/c"))
    assert (status.st_uid, status.st_gid) == (as_user.uid, as_user.gid)
    venv.run(["rm", "-r", os.path.join(project.path, "a")])
    assert not os.path.exists(os.path.join(project.path, "a"))


def test_setuid_in_a_folder(project, venv, as_user):
    """Incus CVE-2025-64507: it counts in no machine. On the host it is the owner's, as SECURITY.md says."""
    project.write(SMALL)
    venv("up")
    venv("exec", "--", "sh", "-c", "cd /workspace; mkdir d; cp /bin/busybox d/busybox && "
         "chmod u+s,a+rx d/busybox; cp d/busybox of-1000; "
         "chown 1000:1000 of-1000 2>/dev/null; chmod u+s of-1000 2>/dev/null")
    status = os.lstat(os.path.join(project.path, "d/busybox"))
    assert (status.st_uid, stat.S_IMODE(status.st_mode)) == (as_user.uid, 0o4755)
    # of nobody's ids but the owner's and the machine's
    status = os.lstat(os.path.join(project.path, "of-1000"))
    assert status.st_uid == as_user.uid or status.st_uid >= 100000, status
    assert venv("exec", "-u", "1000", "--", "/workspace/d/busybox", "id", "-u").stdout == "1000\n"
    mounts = venv("exec", "--", "cat", "/proc/mounts").stdout
    (line,) = [line for line in mounts.splitlines() if line.split()[1] == "/workspace"]
    assert "nosuid" in line and "nodev" in line


def test_a_folder_of_root_that_all_can_reach_is_told(project, venv, as_user):
    project.write(SMALL)
    os.chmod(project.path, 0o755)
    assert ("set-user-ID" in venv("up").stderr) == (as_user.uid == 0)
    venv("halt")
    os.chmod(project.path, 0o700)
    assert "set-user-ID" not in venv("up").stderr


def test_read_only(project, venv):
    project.file("data/x", "x")
    project.write(SMALL + "folders: [ { host: ./data, guest: /data, mode: ro } ]\n")
    venv("up")
    result = venv("exec", "--", "touch", "/data/y", check=False)
    assert result.status != 0 and "Read-only" in result.stderr
    assert venv("exec", "--", "sh", "-c", "mount -o remount,rw /data", check=False).status != 0


@pytest.mark.nested
def test_machines_directory_is_invisible(project, venv):
    project.write(SMALL)
    venv("up")
    hidden = "/workspace/.machines"
    assert venv("exec", "--", "ls", "-A", hidden).stdout == ""
    for attempt in (f"umount {hidden}", f"umount -l {hidden}", f"touch {hidden}/x", f"rm -r {hidden}",
                    f"mv {hidden} /workspace/y", f"mount --move {hidden} /mnt", "mount --bind /workspace /mnt",
                    f"unshare -m umount {hidden}", f"unshare -Urm umount {hidden}",
                    f"mount -o remount,bind,rw {hidden} && touch {hidden}/x",
                    "mount -t tmpfs none /media && mkdir /media/u /media/w && mount -t overlay -o "
                    "lowerdir=/workspace,upperdir=/media/u,workdir=/media/w,userxattr none /mnt"):
        result = venv("exec", "--", "sh", "-c", f"mkdir -p /media /mnt; {attempt}", check=False)
        assert result.status != 0, attempt
    venv("exec", "--", "sh", "-c", "mount --rbind /workspace /mnt && ! ls -A /mnt/.machines | grep .")
    # the whole folder may go
    venv("exec", "--", "sh", "-c", "umount -l /mnt; umount -l /workspace && ! ls -A /workspace | grep .")
    assert os.listdir(os.path.join(project.path, ".machines")) != []


def test_no_folders(project, venv):
    project.write(SMALL + "folders: []\n")
    venv("up")
    assert venv("exec", "--", "ls", "/workspace", check=False).status != 0


def test_volumes_survive(project, venv):
    project.write(SMALL + "volumes: { data: {} }\n"
                  "machines: { app: {}, db: { primary: true, volumes: [ data:/var/data ] } }\n")
    venv("up", "db")
    venv("exec", "--", "sh", "-c", "echo row > /var/data/table; chown 999:999 /var/data/table")
    assert "running" in venv.fails("volume", "rm", "data", status=7).stderr
    venv("destroy", "-f")
    venv("up", "db")
    assert venv("exec", "--", "cat", "/var/data/table").stdout == "row\n"
    assert venv("exec", "--", "stat", "-c", "%u", "/var/data/table").stdout == "999\n"
    venv("destroy", "-f")
    # app comes first in the file and does not use it
    assert [(v["name"], v["machines"]) for v in venv.json("volume", "list")] == [("data", ["db"])]
    venv("volume", "rm", "data")
    assert venv.json("volume", "list") == []
    venv.fails("volume", "rm", "data", status=4)


def test_copy_both_ways(project, venv):
    project.write(SMALL + "folders: []\n")
    data = os.urandom(1_000_000)
    project.file("tree/deep/er/file", data, 0o751)
    project.file("tree/empty", "")
    venv("up")
    venv("cp", "tree", ":/root/")
    assert venv("exec", "--", "stat", "-c", "%a", "/root/tree/deep/er/file").stdout == "751\n"
    venv("cp", "default:/root/tree", "back")
    with open(os.path.join(project.path, "back/deep/er/file"), "rb") as file:
        assert file.read() == data
    venv("cp", ":/root/tree/deep/er/file", "one")
    assert os.path.getsize(os.path.join(project.path, "one")) == len(data)
    assert "does-not-exist" in venv.fails("cp", ":/does-not-exist", "x").stderr
    venv.fails("cp", "a", "b", status=2)


def test_a_machine_cannot_write_outside_by_cp(project, venv):
    project.write(SMALL + "folders: []\n")
    venv("up")
    venv("exec", "--", "sh", "-c", "mkdir -p /root/d; ln -s /etc /root/d/link; echo x > /root/d/f")
    venv("cp", ":/root/d", "out")
    assert os.listdir(os.path.join(project.path, "out")) in (["f"], ["link", "f"], ["f", "link"])
    assert not os.path.islink(os.path.join(project.path, "out", "link"))


def test_a_planted_link_does_not_lead_cp_out_of_the_project(project, venv):
    project.write(SMALL)
    project.file("../secret", "a secret of the host")
    project.file("inside/file", "x")
    venv("up")
    venv("exec", "--", "sh", "-c", f"cd /workspace; ln -s {venv.sandbox} out; ln -s inside in; ln -s ../secret file")
    for command in (["cp", "out/secret", ":/root/"], ["cp", "file", ":/root/"], ["cp", ":/etc/passwd", "out"],
                    ["cp", ":/etc/passwd", "file"], ["cp", ":/etc/passwd", "out/passwd"], ["cp", ":/etc", "out"]):
        result = venv.fails(*command, status=9)
        assert "leads out of the project by a symbolic link" in result.stderr, result
    assert not os.path.exists(os.path.join(venv.sandbox, "passwd"))
    # a link that stays in the project is as good as what it names, and so is a path given from outside
    venv("cp", "in/file", ":/root/")
    venv("cp", ":/root/file", "in/back")
    assert project.read("inside/back") == "x"
    venv("cp", os.path.join(venv.sandbox, "secret"), ":/root/")
    assert project.read("../secret") == "a secret of the host"


def test_a_missing_folder_is_told_first(project, venv):
    project.write(SMALL + "folders:\n  - ./nowhere:/x\n")
    result = venv.fails("up", status=3)
    assert "venv.yml:4:" in result.stderr and "does not exist" in result.stderr
    assert "mkdir -p" in result.stderr
    assert project.machines() == []


def test_a_link_out_of_the_project_is_refused(project, venv):
    project.write(SMALL + "folders:\n  - ./link:/x\n")
    os.symlink("/etc", os.path.join(project.path, "link"))
    assert "symbolic link" in venv.fails("up", status=9).stderr


@pytest.mark.parametrize("key", ["folders: [ /etc:/host ]", "host_access: true",
                                 "ports: [ 0.0.0.0:18099:80 ]"])
def test_keys_that_reach_the_host_need_approval(project, venv, key):
    project.write("box: busybox\n" + key + "\n")
    result = venv.fails("up", status=9)
    assert "venv.yml:2:" in result.stderr and "venv approve" in result.stderr
    assert project.machines() == []
    venv.fails("approve")  # nobody is asked without a terminal
    with venv.terminal("approve") as terminal:
        terminal.expect(r"\[y/N\]|y/n|yes")
        terminal.send("y\n")
        assert terminal.wait() == 0
    venv("up")


def test_what_a_guest_wrote_into_the_file_is_not_approved(project, venv):
    project.write("box: busybox\nnetworks: []\n")
    venv("up")
    venv("exec", "--", "sh", "-c", "printf 'folders: [ /:/host ]\\n' >> /workspace/venv.yml")
    venv("halt", check=False)
    assert "not approved" in venv.fails("up", status=9).stderr


def test_a_machine_cannot_ask_for_variables_or_the_agent(project, venv):
    """What it writes into the file takes nothing from the user's environment, whatever is run next."""
    secret = {"TOKEN": "sesame-1234", "SSH_AUTH_SOCK": "/nowhere"}
    project.write("box: busybox\nnetworks: []\nenv: { A: \"${TOKEN:-none}\" }\n")
    venv("up")  # it is not set: nothing is taken
    result = venv.fails("up", status=9, env=secret)
    assert "venv.yml:3:" in result.stderr and "${TOKEN}" in result.stderr and "venv approve" in result.stderr
    assert "sesame" not in result.stderr
    shown = venv("approve", "--yes", env=secret)
    assert "${TOKEN}" in shown.stdout and "sesame" not in shown.stdout
    venv("reload", env=secret)
    assert venv("exec", "--", "sh", "-c", "echo $A").stdout == "sesame-1234\n"
    assert "sesame" not in venv.run(["sh", "-c", "cat $XDG_DATA_HOME/venv/projects/*/approved.json"]).stdout
    # more of it for the same machine is asked for no more, another variable is
    venv("exec", "--", "sh", "-c", "cat >> /workspace/venv.yml", stdin=b"provision: [{ run: \"echo ${OTHER}\" }]\n")
    for command in ("up", "provision", "reload"):
        result = venv.fails(command, status=9, env={**secret, "OTHER": "sesame"})
        assert "${OTHER}" in result.stderr and "venv.yml:4:" in result.stderr
    project.write("box: busybox\nnetworks: []\nssh: { forward_agent: true }\n")
    for command, status in ((["ssh", "--", "true"], 125), (["ssh-config"], 9), (["up"], 9)):
        result = venv.fails(*command, status=status, env=secret)
        assert "ssh.forward_agent" in result.stderr and "venv.yml:3:" in result.stderr
    venv("approve", "--yes")
    assert "ForwardAgent yes" in venv("ssh-config").stdout


def test_files_behave(project, venv, file_checks):
    """What POSIX says of files, and what was written is what is read: in a folder, in a volume, on the machine's disk."""
    project.write(SMALL + "volumes: { data: {} }\nmachines: { app: { volumes: [ data:/data ] } }\n")
    venv("up")
    for place in ("/workspace", "/data", "/root"):
        said = venv("exec", "--", f"{file_checks}/posix_files", "--without", "device", place, check=False)
        assert said.status == 0 and "not ok" not in said.stdout, f"{place}: {said.stdout}"
        venv("exec", "--", f"{file_checks}/fsx", "-n", "200", place + "/f")
