"""What a hostile machine or box tries, as far as it can be seen from outside (container.md, the attack table)."""

import hashlib
import os
import tarfile
import time

import pytest

from support import image

SMALL = "box: busybox\nnetworks: []\n"
CONTROL = b"\x1b\x07\x9b\x08"  # what no text of others may bring to a terminal


def assert_harmless(result):
    for byte in CONTROL[:2]:
        assert bytes([byte]) not in result.out + result.err, result
    assert "\u009b" not in result.stdout + result.stderr, result


def programs(venv):
    """Digests of the installed programs."""
    found = {}
    prefix = os.path.dirname(os.path.dirname(venv.path))
    for directory in ("bin", "libexec/venv"):
        for name in os.listdir(os.path.join(prefix, directory)):
            path = os.path.join(prefix, directory, name)
            if os.path.isfile(path):
                with open(path, "rb") as file:
                    found[path] = hashlib.sha256(file.read()).hexdigest()
    return found


# ---- Inside a machine -----------------------------------------------------------------------


@pytest.fixture
def guest(project, venv, guest_program):
    """A running machine that has the helper program at /workspace/guest."""
    project.write(SMALL)
    project.file("guest", guest_program, 0o755)
    venv("up")


@pytest.mark.nested
def test_descriptors(guest, venv):
    for command in (["exec", "--", "/workspace/guest", "fds"], ["ssh", "-c", "/workspace/guest fds"]):
        assert venv(*command).stdout.split() == ["0", "1", "2"]
    with venv.terminal("exec", "--", "sh", "-c", "/workspace/guest fds | tr '\\n' ' '") as terminal:
        terminal.expect("0 1 2 ")
    # process 1 has its console and nothing else
    assert venv("exec", "--", "sh", "-c", "ls /proc/1/fd 2>&1").stdout.split() in (
        ["0", "1", "2"], ["ls:", "/proc/1/fd:", "Permission", "denied"],
        ["ls:", "can't", "open", "'/proc/1/fd':", "Permission", "denied"])


def test_no_inheritable_capabilities(guest, venv):
    for command in (["exec", "--", "cat", "/proc/self/status"], ["ssh", "-c", "cat /proc/self/status"],
                    ["exec", "--", "cat", "/proc/1/status"]):
        lines = dict(line.split(":\t", 1) for line in venv(*command).stdout.splitlines() if ":\t" in line)
        assert int(lines["CapInh"], 16) == 0 and int(lines["CapAmb"], 16) == 0
        assert lines["Seccomp"] == "2"


def test_refused_system_calls(guest, venv):
    text = venv("exec", "--", "/workspace/guest", "refused").stdout
    assert text.splitlines()[:2] == ["AF_ALG: Operation not permitted", "AF_VSOCK: Operation not permitted"]
    with venv.terminal("exec", "--", "/workspace/guest", "refused") as terminal:
        terminal.expect("TIOCSTI: Operation not permitted")
        assert terminal.wait() == 0


@pytest.mark.nested
def test_our_programs_cannot_be_overwritten(guest, venv):
    before = programs(venv)
    venv("exec", "--", "ln", "-s", "/proc/self/exe", "/root/sh")
    venv("exec", "--", "/root/sh", check=False)
    # while commands enter: whatever is in /proc, through its exe
    script = ("for i in 1 2 3 4 5 6 7 8 9 10; do for p in /proc/[0-9]*; do "
              "[ ${p#/proc/} = $$ ] || { : < $p/exe && echo hostile >> $p/exe && "
              "case $(readlink $p/exe) in *busybox|*/sh) ;; *) echo wrote $p; esac; } 2>/dev/null; done; done")
    for _ in range(5):
        assert "wrote" not in venv("exec", "--", "sh", "-c", script).stdout
    assert venv("exec", "--", "sh", "-c", "echo x >> /proc/1/exe", check=False).status != 0
    assert programs(venv) == before


def test_other_users_and_paths(guest, venv):
    for command, word in (
            (["exec", "-d", "/proc/self/fd/0", "--", "pwd"], ""),
            (["exec", "-d", "/proc/self/cwd/../..", "--", "pwd"], "")):
        result = venv(*command, check=False)
        assert result.status in (2, 125) or result.stdout.startswith("/"), result
        assert word in result.stderr


def test_the_console_floods(project, venv):
    project.write(SMALL)
    venv("up")
    venv("exec", "--", "sh", "-c",
         "(timeout 2 yes 'a line that comes again and again' > /dev/console) > /dev/null 2>&1 < /dev/null &")
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline:
        result = venv("status")
        assert result.seconds < 2
    (machine,) = venv.json("status")
    size = sum(os.path.getsize(os.path.join(machine["directory"], name))
               for name in os.listdir(machine["directory"]) if name.startswith("console.log"))
    assert 100_000 < size < 3_000_000
    assert venv("halt").seconds < 15


def test_escape_sequences_of_a_machine(project, venv):
    evil = "\\033]0;owned\\007\\033[2Jplain"
    project.write(SMALL)
    venv("up")
    venv("exec", "--", "sh", "-c", f"printf '{evil}\\n' > /dev/console; sleep 0.2")
    with venv.terminal("logs") as terminal:
        terminal.expect("plain")
        terminal.wait()
        assert b"\x1b]0" not in terminal.seen and b"\x1b[2J" not in terminal.seen
    # file names of a machine, by way of cp; answers of its servers
    venv("exec", "--", "sh", "-c", f"mkdir /root/d; touch \"/root/d/$(printf '{evil}')\"; chmod 000 /root/d/*")
    assert_harmless(venv("cp", ":/root/d", "out", check=False))
    assert_harmless(venv.fails("cp", ":/root/\x1b[2Jno", "out2"))
    # what comes with JSON is JSON
    assert_harmless(venv("logs", "--json"))


# ---- Boxes ----------------------------------------------------------------------------------


def busybox_layer(venv):
    with open(image.busybox_root(venv.path), "rb") as file:
        return file.read()


def test_a_working_directory_that_is_a_descriptor(project, venv):
    project.write("box: evil\nnetworks: []\n")
    for number in (3, 7, 8):
        image.layout(project, "evil", [busybox_layer(venv)], {"WorkingDir": f"/proc/self/fd/{number}"})
        venv("box", "add", "--name", "evil", "evil")
        result = venv("up", check=False)
        if result.status == 0:
            seen = venv("exec", "--", "sh", "-c", "pwd; ls ..", check=False).stdout
            assert "venv.yml" not in seen and "libexec" not in seen
        venv("destroy", "-f")


def test_escape_sequences_of_an_image(project, venv):
    evil = "\x1b]0;owned\x07\x1b[2J\u009b"
    image.layout(project, "evil", [busybox_layer(venv)], {
        "User": evil, "WorkingDir": "/" + evil, "StopSignal": evil, "Env": ["A=" + evil, evil],
        "Cmd": [evil], "Entrypoint": [evil], "ExposedPorts": {evil: {}}, "Volumes": {"/" + evil: {}},
        "Labels": {evil: evil}}, annotations={"org.opencontainers.image.ref.name": evil})
    assert_harmless(venv("box", "add", "--name", "evil", "evil", check=False))
    project.write("box: evil\nnetworks: []\n")
    for command in (["box", "list"], ["box", "info", "evil"], ["up"], ["exec", "--", "true"], ["status"],
                    ["plan"], ["box", "list", "--json"], ["box", "info", "evil", "--json"],
                    ["box", "list", "--machine-readable"]):
        assert_harmless(venv(*command, check=False))
    venv("destroy", "-f")
    assert_harmless(venv.fails("box", "add", "--name", evil, "evil"))


def test_a_box_of_another_architecture(project, venv):
    other = "arm64" if os.uname().machine == "x86_64" else "amd64"
    image.layout(project, "foreign", [busybox_layer(venv)], architecture=other)
    project.write("box: foreign\nnetworks: []\n")
    result = venv("box", "add", "--name", "foreign", "foreign", check=False)
    if result.status == 0:
        result = venv.fails("up", status=8)
    assert f"is for {other}" in result.stderr and "hint: " in result.stderr, result
    assert project.machines() == []


S, L, CHAR = tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE
HOSTILE = {
    "dot-dot": [("../../../../escaped", "f", "x", 0o644)],
    "absolute": [("/escaped", "f", "x", 0o644)],
    "through a link": [("a", S, "/tmp", 0o777), ("a/escaped", "f", "x", 0o644)],
    "two steps": [("a", S, "b", 0o777), ("b", S, "../../../../../../tmp", 0o777), ("a/escaped", "f", "x", 0o644)],
    "hard link outside": [("h", L, "/etc/hostname", 0o644), ("h", "f", "overwritten", 0o644)],
    "hard link by a link": [("a", S, "/etc", 0o777), ("h", L, "a/hostname", 0o644)],
    "device": [("sda", CHAR, "", 0o666)],
    "escape in a name": [("\x1b[2J", "f", "x", 0o644)],
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_archives(project, venv, name):
    """Refused by name, or taken so that nothing is outside; the full corpus is a test of the store."""
    with open("/etc/hostname", "rb") as file:
        hostname = file.read()
    project.file("evil.tar", image.tar([("etc", "d", "", 0o755), *HOSTILE[name]]))
    result = venv("box", "add", "--name", "evil", "evil.tar", check=False)
    assert result.status in (0, 10), result
    if result.status:
        assert "evil.tar" in result.stderr, result
        assert venv.json("box", "list") == []
    assert_harmless(result)
    with open("/etc/hostname", "rb") as file:
        assert file.read() == hostname
    layers = os.path.join(project.data, "boxes", "layers") + "/"
    for directory, names, files in os.walk(venv.sandbox):
        assert "escaped" not in files or directory.startswith(layers), directory
        names[:] = [] if not os.access(directory, os.R_OK) else names
    assert not os.path.exists("/tmp/escaped") and not os.path.exists("/escaped")


# ---- The project's file, which a machine can write --------------------------------------------


@pytest.mark.parametrize("what", [
    "rm venv.yml; mkfifo venv.yml", "rm venv.yml; mkdir venv.yml", "rm venv.yml; ln -s /dev/zero venv.yml",
    "rm venv.yml; ln -s /etc/shadow venv.yml", "head -c 100000000 /dev/zero > venv.yml",
    "printf 'box: [ \\n' > venv.yml", "printf '\\033]0;owned\\007: 1\\n' > venv.yml",
    "mkfifo venv.local.yml", "mkfifo .env; echo 'env_file: .env' >> venv.yml",
    "rm -f venv.lock; mkfifo venv.lock"])
def test_a_machine_rewrites_the_file(project, venv, what):
    project.write(SMALL)
    venv("up")
    venv("exec", "--", "sh", "-c", "cd /workspace; " + what)
    for command in (["status"], ["up"], ["plan"]):
        result = venv(*command, check=False, timeout=20)
        assert result.status < 128, result
        assert_harmless(result)
        if result.status:
            assert "venv.yml" in result.stderr or "venv.local.yml" in result.stderr \
                or ".env" in result.stderr or "venv.lock" in result.stderr, result
    venv.run(["rm", "-rf", "venv.yml", "venv.local.yml", ".env", "venv.lock"])
    project.write(SMALL)
    assert venv.json("status")[0]["state"] == "running"
