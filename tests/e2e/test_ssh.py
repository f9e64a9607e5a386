"""OpenSSH's own clients, through `venv ssh-config`, on a box without sshd."""

import os
import shutil
import socket
import subprocess
import time

import pytest

pytestmark = pytest.mark.skipif(not shutil.which("ssh"), reason="no OpenSSH client")


@pytest.fixture
def config(project, venv):
    """A running machine and the file to give to ssh -F."""
    project.write("box: busybox\n")
    venv("up")
    text = venv("ssh-config").stdout
    path = project.file("ssh-config", text)
    os.chmod(path, 0o600)
    return path


def port_of(venv):
    return int([line.split()[1] for line in venv("ssh-config").stdout.splitlines() if "Port" in line][0])


@pytest.mark.nested
def test_ssh(config, venv):
    result = venv.run(["ssh", "-F", config, "default", "echo $0; exit 5"], check=False)
    assert result.status == 5, result


LOGIN_FILES = """printf 'LANG=xx_XX\\nOF_BOTH=locale\\n' > /etc/default/locale
printf '# of all\\nOF_BOTH=environment\\nOF_IMAGE=no\\nexport OF_ALL="a b" # c\\n' > /etc/environment
chmod 600 /etc/environment /etc/default/locale
"""


@pytest.mark.nested
def test_the_environment_of_a_login(project, venv):
    project.write("box: busybox\nenv: { OF_IMAGE: yes }\n")
    venv("up")
    venv("exec", "--", "sh", "-ec", "mkdir -p /etc/default\n" + LOGIN_FILES)
    show = "echo $LANG,$OF_BOTH,$OF_IMAGE,$OF_ALL"
    expected = "xx_XX,locale,yes,a b\n"
    assert venv("exec", "--", "sh", "-c", show).stdout == expected
    assert venv("exec", "-u", "1000", "--", "sh", "-c", show).stdout == expected
    assert venv("ssh", "-c", show).stdout == expected
    assert venv("exec", "-e", "LANG=mine", "--", "sh", "-c", "echo $LANG").stdout == "mine\n"
    config = project.file("ssh-config", venv("ssh-config").stdout)
    os.chmod(config, 0o600)
    assert venv.run(["ssh", "-F", config, "default", show]).stdout == expected
    # at a terminal, a locale that the machine has not set is UTF-8's
    venv("exec", "--", "rm", "/etc/default/locale")
    result = venv.run(["ssh", "-F", config, "-tt", "default", "echo $LANG"])
    assert result.stdout.replace("\r", "") == "C.UTF-8\n"


@pytest.mark.parametrize("verb", ["exec", "ssh"])
def test_standard_streams_can_be_opened_again(project, venv, verb):
    project.write("box: busybox\n")
    venv("up")
    script = "cat /dev/stdin >/dev/stdout; echo error >/dev/stderr"
    for user in ("root", "1000"):
        command = ["--", "sh", "-c", script] if verb == "exec" else ["-c", script]
        result = venv(verb, "-u", user, *command, stdin="in\n")
        assert (result.stdout, result.stderr) == ("in\n", "error\n")


def test_a_session_knows_its_terminal(config, venv):
    result = venv.run(["ssh", "-F", config, "-tt", "default", "test -c $SSH_TTY && readlink /proc/self/fd/0; "
                                                              "echo $SSH_TTY"])
    name, variable = result.stdout.replace("\r", "").splitlines()
    assert name == variable and name.startswith("/dev/pts/")
    assert venv.run(["ssh", "-F", config, "default", "echo ${SSH_TTY-none}"]).stdout == "none\n"


def test_a_wrong_key_is_refused(config, venv, project):
    key = os.path.join(project.path, "other")
    venv.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key])
    port = port_of(venv)
    result = venv.run(["ssh", "-F", "none", "-p", str(port), "-i", key, "-o", "IdentitiesOnly=yes",
                       "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
                       "root@127.0.0.1", "true"], check=False)
    assert result.status == 255 and "Permission denied" in result.stderr


@pytest.mark.parametrize("options", [[], ["-O"]], ids=["sftp", "scp"])
def test_scp(config, venv, project, options):
    data = os.urandom(2_000_000)
    project.file("data/file", data, 0o640)
    venv.run(["scp", *options, "-rp", "-F", config, os.path.join(project.path, "data"), "default:/root/there"])
    assert venv("exec", "--", "stat", "-c", "%a", "/root/there/file").stdout == "640\n"
    back = os.path.join(project.path, "back")
    venv.run(["scp", *options, "-F", config, "default:/root/there/file", back])
    with open(back, "rb") as file:
        assert file.read() == data


def test_sftp(config, venv, project):
    project.file("x", "contents")
    batch = project.file("batch", f"cd /root\nput {project.path}/x y\nrename y z\nls -l\nmkdir d\n"
                                  f"get z {project.path}/out\nrm z\nrmdir d\n")
    venv.run(["sftp", "-F", config, "-b", batch, "default"])
    assert project.read("out") == "contents"


def wait_for(port):
    for _ in range(100):
        try:
            return socket.create_connection(("127.0.0.1", port), 1)
        except OSError:
            time.sleep(0.05)
    raise AssertionError("nobody listens")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_forwarding(config, venv):
    venv("exec", "--", "sh", "-c", "mkdir /www; echo forwarded > /www/index.html; "
                                  "httpd -p 127.0.0.1:8000 -h /www")
    port = free_port()
    argv = [*venv.account.prefix, "ssh", "-F", config, "-N", "-L", f"{port}:localhost:8000", "default"]
    with subprocess.Popen(argv, env=venv.environment()) as client:
        with wait_for(port) as connection:
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            data = b""
            while chunk := connection.recv(4096):
                data += chunk
        client.kill()
    assert b"forwarded" in data


def test_remote_forwarding(config, venv):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        argv = [*venv.account.prefix, "ssh", "-F", config, "-R", f"9000:127.0.0.1:{port}", "default",
                "sleep 0.5; echo from inside | nc -w 2 127.0.0.1 9000"]
        with subprocess.Popen(argv, env=venv.environment(), stdin=subprocess.DEVNULL) as client:
            server.settimeout(10)
            connection, _ = server.accept()
            with connection:
                assert connection.recv(100) == b"from inside\n"
            client.wait(10)


def test_control_master(config, venv, project):
    # the socket's path must be short
    control = f"/tmp/venv-cm-{os.getpid()}"
    base = ["ssh", "-F", config, "-o", f"ControlPath={control}"]
    venv.run([*base, "-o", "ControlMaster=yes", "-fN", "default"])
    try:
        procs = [subprocess.Popen([*venv.account.prefix, *base, "default", f"echo {i}; cat /proc/self/stat > /dev/null"],
                                  env=venv.environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
                 for i in range(20)]
        for i, process in enumerate(procs):
            out, _ = process.communicate(timeout=30)
            assert out == f"{i}\n".encode()
    finally:
        venv.run([*base, "-O", "exit", "default"], check=False)


def test_agent_forwarding(config, venv, project):
    key = os.path.join(project.path, "agent-key")
    venv.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key, "-C", "in the agent"])
    script = ('eval "$(ssh-agent -s)" >/dev/null; ssh-add -q "$1"; '
              'ssh -A -F "$2" default "test -S \\$SSH_AUTH_SOCK && echo socket"; kill $SSH_AGENT_PID')
    result = venv.run(["sh", "-c", script, "sh", key, config])
    assert result.stdout == "socket\n"


def test_the_command_dies_with_its_client(config, venv):
    argv = [*venv.account.prefix, "ssh", "-F", config, "default", "sleep 1234"]
    with subprocess.Popen(argv, env=venv.environment(), stdin=subprocess.DEVNULL) as client:
        deadline = time.monotonic() + 10
        while "sleep 1234" not in venv("exec", "--", "ps").stdout:
            assert time.monotonic() < deadline
        client.kill()
    while "sleep 1234" in venv("exec", "--", "ps").stdout:
        assert time.monotonic() < deadline + 10
        time.sleep(0.1)


def test_garbage_at_the_port(config, venv):
    port = port_of(venv)
    for data in (b"", b"GET / HTTP/1.0\r\n\r\n", os.urandom(100000), b"SSH-2.0-x\r\n" + os.urandom(50000)):
        with socket.create_connection(("127.0.0.1", port), 5) as connection:
            try:
                connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)
                connection.settimeout(5)
                while connection.recv(65536):
                    pass
            except OSError:
                pass
    assert venv("ssh", "-c", "echo fine").stdout == "fine\n"


def sessions(venv):
    """Processes venv-sess of the machine: children of its keeper, which is the parent of its process 1."""
    def stat(pid):
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            name, fields = file.read().split("(", 1)[1].rsplit(")", 1)
        return name, fields.split()

    keeper = stat(venv.json("status")[0]["pid"])[1][1]
    found = 0
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            name, fields = stat(pid)
        except OSError:
            continue
        found += name == "venv-sess" and fields[0] != "Z" and fields[1] == keeper
    return found


def wait_for_no_session(venv, seconds):
    deadline = time.monotonic() + seconds
    while sessions(venv):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_silent_connections_keep_nobody_out(config, venv):
    port = port_of(venv)
    silent = [socket.socket() for _ in range(100)]
    try:
        for connection in silent:
            connection.setblocking(False)
            connection.connect_ex(("127.0.0.1", port))
        time.sleep(0.5)
        assert 0 < sessions(venv) <= 16
        assert venv("ssh", "-c", "echo in").stdout == "in\n"
        assert venv.run(["ssh", "-F", config, "default", "echo in"]).stdout == "in\n"
        # whom nothing presses, waits for the end of the thirty seconds
        assert 0 < sessions(venv) <= 16
    finally:
        for connection in silent:
            connection.close()
    wait_for_no_session(venv, 10)


def test_many_sessions_at_once(config, venv):
    argv = [*venv.account.prefix, "ssh", "-F", config, "default", "cat"]
    clients = [subprocess.Popen(argv, env=venv.environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
               for _ in range(40)]
    for i, client in enumerate(clients):
        assert client.communicate(b"%d" % i, timeout=60)[0] == b"%d" % i
        assert client.returncode == 0
    wait_for_no_session(venv, 10)


@pytest.mark.long
def test_who_does_not_log_in_is_sent_away(config, venv):
    with socket.create_connection(("127.0.0.1", port_of(venv))) as connection:
        began = time.monotonic()
        connection.settimeout(60)
        while connection.recv(1000):
            pass
        assert 25 < time.monotonic() - began < 40
    wait_for_no_session(venv, 5)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_gigabyte_both_ways(config, venv, project):
    script = ("head -c 1000000000 /dev/urandom > big; sha256sum < big; "
              "for i in 1 2 3 4 5 6 7 8 9 10; do ssh -F \"$1\" default cat < big | sha256sum; done; rm big")
    result = venv.run(["bash", "-c", script, "sh", config], timeout=800)
    assert len(set(result.stdout.splitlines())) == 1
