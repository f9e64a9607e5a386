"""What a hostile machine or box tries, as far as it can be seen from outside (container.md, the attack table)."""

import hashlib
import json
import os
import socket
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


def status_of(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
        return dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)


@pytest.mark.parametrize("profile", ["dev", "app"])
def test_the_keeper_has_given_up(project, venv, as_user, profile):
    """What of it can be given up, and that nothing of that is missing in the machine."""
    project.write(f"box: busybox\nprofile: {profile}\n")
    venv("up")
    first = int(venv.json("status")[0]["pid"])
    pid = int(status_of(first)["PPid"])
    keeper = status_of(pid)
    assert keeper["Name"] == "venv-keeper"
    assert os.stat(f"/proc/{pid}/status").st_uid == 0  # not dumpable
    filtered = as_user.is_root or profile == "app"
    assert keeper["Seccomp"] == ("2" if filtered else "0")
    assert keeper["NoNewPrivs"] == ("1" if profile == "app" and not as_user.is_root else "0")
    for kind in ("CapPrm", "CapEff", "CapInh", "CapAmb"):
        assert int(keeper[kind], 16) & 1 << 16 == 0, kind  # CAP_SYS_MODULE
        assert as_user.is_root or int(keeper[kind], 16) == 0, kind
    assert not as_user.is_root or int(keeper["CapBnd"], 16) & 1 << 16 == 0
    inside = dict(line.split(":\t") for line in venv("exec", "--", "cat", "/proc/self/status").stdout.splitlines()
                  if line.startswith(("Cap", "NoNew")))
    of_first = status_of(first)
    for kind in ("CapPrm", "CapEff", "CapBnd", "NoNewPrivs"):
        assert inside[kind] == of_first[kind], kind
    # and it still does all of its work
    venv("ssh", "-c", "true")
    if profile == "dev":
        venv("exec", "--", "busybox", "reboot", "-f", check=False)
        deadline = time.monotonic() + 10
        while venv.json("status")[0].get("pid", first) == first or venv.json("status")[0]["state"] != "running":
            assert time.monotonic() < deadline
            time.sleep(0.02)
        venv("exec", "--", "sh", "-c", "mount -t tmpfs none /mnt && ping -c 1 -W 2 default")
    venv("halt")


def test_no_inheritable_capabilities(guest, venv):
    for command in (["exec", "--", "cat", "/proc/self/status"], ["ssh", "-c", "cat /proc/self/status"],
                    ["exec", "--", "cat", "/proc/1/status"]):
        lines = dict(line.split(":\t", 1) for line in venv(*command).stdout.splitlines() if ":\t" in line)
        assert int(lines["CapInh"], 16) == 0 and int(lines["CapAmb"], 16) == 0
        assert lines["Seccomp"] == "2"


def test_labels_are_the_kernels(guest, venv, as_user):
    """CVE-2019-16884, CVE-2025-52881: no file of the machine stands for /proc where we read or write it."""
    venv("exec", "--", "sh", "-c", "mkdir -p /fake/self/attr && echo fake > /fake/self/attr/current")
    venv("exec", "--", "sh", "-c", "mount --bind /fake /proc || true")
    labels = []
    for argv in (["cat", "/proc/self/attr/current"], ["cat", "/proc/1/attr/current"]):
        result = venv("exec", "--", *argv, check=False)
        labels.append((result.stdout, result.status))
    # entering needs nothing of /proc, so the fake one changes nothing for us
    assert venv("exec", "--", "id", "-u").stdout == "0\n"
    venv("exec", "--", "umount", "/proc", check=False)
    ours = venv.run(["cat", "/proc/self/attr/current"], check=False)
    assert venv("exec", "--", "cat", "/proc/self/attr/current", check=False).stdout == ours.stdout, labels
    assert venv("exec", "--", "stat", "-f", "-c", "%t", "/proc").stdout == "9fa0\n"


def abstract_sockets():
    """Sockets of our programs without a path: everybody in the host's network namespace could reach them."""
    with open("/proc/net/unix", encoding="utf-8", errors="replace") as file:
        names = {fields[6]: fields[7] for fields in (line.split(maxsplit=7) for line in file) if len(fields) == 8}
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
                if not file.read().startswith("venv"):
                    continue
            for fd in os.listdir(f"/proc/{pid}/fd"):
                inode = os.readlink(f"/proc/{pid}/fd/{fd}").removeprefix("socket:[").removesuffix("]")
                name = names.get(inode, "")
                found += [name] if name.startswith("@") else []
        except OSError:
            continue
    return found


def test_who_asks_the_keeper_and_does_not_read(project, venv):
    """A venv-sess that a client has taken over could do it; everybody else is served all the same."""
    project.write(SMALL)
    venv("up")
    (machine,) = venv.json("status")
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as ask:
        ask.connect(os.path.join(machine["directory"], "ctl"))
        ask.settimeout(0.5)
        try:
            for _ in range(10000):
                ask.send(b'{"op":"state"}')
        except OSError:
            pass  # full, or hung up on
        assert venv("exec", "--", "echo", "fine", timeout=10).stdout == "fine\n"
        assert venv.json("stats", timeout=10)
        assert venv("halt", timeout=20).seconds < 15


def test_no_socket_without_a_path(project, venv):
    """CVE-2020-15257"""
    project.write("box: busybox\nports: [ { host: auto, guest: 80 } ]\n")
    venv("up")
    with venv.terminal("ssh") as terminal:
        terminal.expect(r"[#$] ")
        assert abstract_sockets() == []
    assert venv("exec", "--", "sh", "-c", "grep -c @ /proc/net/unix || true").stdout == "0\n"


def test_nobody_else_reaches_what_is_stored(project, venv):
    """CVE-2021-41091: the set-user-id programs of boxes and machines lie in there."""
    project.write(SMALL + "volumes: { data: {} }\nmachines: { web: { volumes: [ data:/srv ] } }\n")
    venv("up")
    venv("exec", "--", "sh", "-c",
         "for d in / /srv; do cp /bin/busybox $d/suid; chmod 4755 $d/suid; chmod 777 $d; done")
    assert os.stat(project.data).st_mode & 0o7777 == 0o700
    found = venv.run(["find", project.data, "-name", "suid"], check=False).stdout.split()
    if venv.account.is_root:
        assert len(found) == 2
    for path in found:
        assert venv.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", path, "true"],
                        check=False).status != 0


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


def test_directories_that_are_descriptors(guest, venv):
    """CVE-2024-21626: those of whoever enters must be gone, and the way through /proc lead nowhere."""
    for number in range(3, 41):
        result = venv.fails("exec", "-w", f"/proc/self/fd/{number}", "--", "pwd", status=125)
        assert "cannot change to the directory" in result.stderr, result
    for path in ("/proc/self/cwd/../..", "/proc/1/root", "/proc/self/fd/0"):
        result = venv("exec", "-w", path, "--", "sh", "-c", "pwd; ls -a", check=False)
        assert result.status == 125 or "bin" in result.stdout.split(), result


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


def test_an_image_that_starts_in_a_descriptor(project, venv):
    """CVE-2024-21626, by the image's own command."""
    project.write(SMALL.replace("busybox", "evil") + "command: image\n")
    for number in (3, 4, 5, 6, 7, 8, 9, 10, 12):
        image.layout(project, "evil", [busybox_layer(venv)], {
            "WorkingDir": f"/proc/self/fd/{number}", "Cmd": ["sh", "-c", "(pwd; ls -a . ..) > /workspace/seen 2>&1"]})
        venv("box", "add", "--name", "evil", "evil")
        venv("up", check=False)
        time.sleep(0.1)
        seen = project.read("seen") if os.path.exists(os.path.join(project.path, "seen")) else ""
        assert "venv" not in seen and "upper" not in seen, seen
        venv("destroy", "-f")


BOMB = "x" * 3_000_000
D, F = "d", "f"
ROOTS = {  # name: (members of the upper layer, configuration); OUT is a directory of the host
    "null is a link (2025-31133)": ([("dev", D, "", 0o755),
                                     ("dev/null", tarfile.SYMTYPE, "/proc/sysrq-trigger", 0o777)], {}),
    "console is a link (2025-52565)": ([("dev", D, "", 0o755), ("dev/pts", tarfile.SYMTYPE, "OUT", 0o777),
                                        ("dev/console", tarfile.SYMTYPE, "OUT/x", 0o777),
                                        ("dev/ptmx", tarfile.SYMTYPE, "OUT/x", 0o777)], {}),
    "dev is a link (2026-41579)": ([("dev", tarfile.SYMTYPE, "../../../..OUT", 0o777)], {}),
    "proc is a link (2025-52881)": ([("proc", tarfile.SYMTYPE, "OUT", 0o777)], {}),
    "proc is a volume (2019-19921)": ([("proc", D, "", 0o755), ("proc/self", D, "", 0o755),
                                       ("proc/self/attr", D, "", 0o755), ("proc/self/attr/exec", F, "fake", 0o666)],
                                      {"Volumes": {"/proc": {}, "/proc/self": {}, "/dev": {}, "OUT": {}}}),
    "sys is a link (2023-28642)": ([("sys", tarfile.SYMTYPE, "../..OUT", 0o777)], {}),
    "etc is a link": ([("etc", tarfile.SYMTYPE, "../../..OUT", 0o777)], {}),
    "workspace is a link": ([("workspace", tarfile.SYMTYPE, "../../..OUT", 0o777)], {}),
    "long passwd (2026-47262)": ([("etc", D, "", 0o755), ("etc/passwd", F, BOMB, 0o644),
                                  ("etc/group", F, BOMB, 0o644)], {"User": "root:root"}),
    "passwd is a link": ([("etc", D, "", 0o755), ("etc/passwd", tarfile.SYMTYPE, "/proc/self/mem", 0o777),
                          ("etc/group", tarfile.SYMTYPE, "../../../..OUT/x", 0o777)], {}),
    "passwd is a FIFO": ([("etc", D, "", 0o755), ("etc/passwd", tarfile.FIFOTYPE, "", 0o644)], {}),
    "ids too large (2024-40635)": ([("etc", D, "", 0o755), ("etc/passwd", F, "root:x:4294967296:0::/:/bin/sh\n"
                                                            "dev:x:65536:-1::/:/bin/sh\n", 0o644)], {"User": "dev"}),
    "labels (2026-53488)": ([], {"Labels": {"containerd.io/restart.loguri": "binary:///bin/touch?OUT/x=",
                                            "io.podman.annotations.autoremove": "TRUE"},
                                 "OnBuild": ["RUN touch OUT/x"], "Shell": ["touch", "OUT/x"],
                                 "Healthcheck": {"Test": ["CMD", "touch", "OUT/x"], "Interval": 1}}),
}


@pytest.mark.parametrize("name", ROOTS)
def test_hostile_roots(project, venv, name):
    """The host is as it was, and the machine, if it starts, is a machine like others."""
    out = os.path.join(venv.sandbox, "outside")
    project.file("../outside/keep", "kept")
    os.chmod(out, 0o777)
    members, config = json.loads(json.dumps(ROOTS[name], default=os.fsdecode).replace("OUT", out))
    upper = image.tar([(member, kind if kind in (D, F) else kind.encode(), content, mode)
                       for member, kind, content, mode in members])
    image.layout(project, "evil", [busybox_layer(venv), upper] if members else [busybox_layer(venv)], config)
    venv("box", "add", "--name", "evil", "evil")
    project.write("box: evil\nnetworks: []\n")
    result = venv("up", check=False, timeout=30)
    assert result.status < 128, result
    assert_harmless(result)
    assert result.status == 0 or name in ("workspace is a link", "ids too large (2024-40635)"), result
    if result.status == 0:
        assert venv("exec", "-u", "0", "--", "sh", "-c",
                    "test -c /dev/null && test -c /dev/console && test -c /dev/ptmx && stat -f -c %t /proc && "
                    "stat -f -c %t /sys && echo > /dev/null && cat /etc/hostname").stdout == "9fa0\n62656572\ndefault\n"
        venv("ssh", "-c", "true", check=False)
        venv("halt")
        venv("up")
    assert os.listdir(out) == ["keep"]
    if name.startswith("labels"):
        for directory in ("records", "names"):
            for entry in os.listdir(os.path.join(project.data, "boxes", directory)):
                with open(os.path.join(project.data, "boxes", directory, entry), encoding="utf-8") as file:
                    assert "touch" not in file.read()


def test_tools_of_a_machine_are_not_ours(project, venv):
    """CVE-2019-14271, CVE-2026-41567: nothing of the machine runs for cp, exec and ssh but the command."""
    marker = os.path.join(venv.sandbox, "outside", "ran")
    project.file("../outside/.keep")
    os.chmod(os.path.dirname(marker), 0o777)
    try:
        venv.run(["cc", "-shared", "-fPIC", "-o", "evil.so", "-x", "c", "-"], stdin=(
            "#include <fcntl.h>\n__attribute__((constructor)) static void run(void)\n"
            f'{{ open("{marker}", O_CREAT | O_WRONLY, 0666); open("/ran", O_CREAT | O_WRONLY, 0666); }}\n'))
    except AssertionError:
        pytest.skip("no C compiler")
    project.write(SMALL)
    project.file("x", "x")
    venv("up")
    venv("exec", "--", "sh", "-c", """cd /workspace; mkdir -p /lib /usr/lib /usr/local/bin /usr/local/sbin
for l in nss_files nss_evil c z lzma; do cp evil.so /lib/lib$l.so.2; cp evil.so /usr/lib/lib$l.so.6; done
echo /workspace/evil.so > /etc/ld.so.preload
printf 'passwd: evil\\ngroup: evil\\nhosts: evil\\n' > /etc/nsswitch.conf
for t in scp tar xz gzip sftp-server cat id; do for d in bin sbin; do
printf '#!/bin/sh\\n/bin/touch /ran\\n' > /usr/local/$d/$t; /bin/chmod 755 /usr/local/$d/$t; done; done""")
    venv("cp", "x", ":/root/")
    venv("cp", ":/root/x", "back")
    venv("exec", "-u", "0", "--", "/bin/true")
    venv("ssh", "-c", ":")
    assert not os.path.exists(marker)
    assert venv("exec", "--", "/bin/ls", "/ran", check=False).status != 0


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
