"""What a logout does to an ordinary user's machines: run by root in the nested host, which has a user 'dev'."""

import os
import pwd
import shutil
import subprocess
import time
import urllib.request

import pytest

pytestmark = [pytest.mark.nested, pytest.mark.long, pytest.mark.timeout(300)]

STOP_DELAY = 10  # systemd's UserStopDelaySec


@pytest.fixture
def session(venv_path):
    """Run a shell command in a session of dev's, which begins and ends with it."""
    in_session = "session-" in open("/proc/self/cgroup", encoding="ascii").read()
    if os.geteuid() != 0 or not os.path.isdir("/run/systemd/system") or in_session:
        pytest.skip("needs root outside of a session, and systemd")
    try:
        home = pwd.getpwnam("dev").pw_dir
    except KeyError:
        pytest.skip("no user 'dev': run in the nested host")

    def run(command, check=True):
        script = f"mkdir -p logout && cd logout && venv() {{ {venv_path} \"$@\"; }} && {command}"
        return subprocess.run(["/sbin/runuser", "-l", "dev", "-c", script], check=check, text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=120).stdout

    subprocess.run(["loginctl", "disable-linger", "dev"], check=True)
    yield run
    run("venv destroy -f", check=False)
    subprocess.run(["loginctl", "disable-linger", "dev"], check=True)
    shutil.rmtree(os.path.join(home, "logout"), ignore_errors=True)


def up(session, more=""):
    session(f"printf 'box: busybox\\n{more}' > venv.yml; venv up && venv exec -- sh -c 'echo kept > /root/file; sync'")


def user_systemd_runs():
    return subprocess.run(["systemctl", "is-active", "-q", f"user@{pwd.getpwnam('dev').pw_uid}.service"],
                          check=False).returncode == 0


def test_without_linger_the_machine_stops_and_loses_nothing(session):
    up(session)
    deadline = time.monotonic() + STOP_DELAY + 60
    while user_systemd_runs():
        assert time.monotonic() < deadline
        time.sleep(1)
    assert "stopped" in session("venv status")
    assert "enable-linger" in session("venv doctor", check=False)
    assert session("venv up > /dev/null 2>&1; venv exec -- cat /root/file") == "kept\n"


NETWORK = ("venv-netd", "venv-netns", "venv-uplink")


def network():
    """The three processes of dev's network: name -> (pid, control group)."""
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/comm", encoding="ascii") as comm, \
                    open(f"/proc/{pid}/cgroup", encoding="ascii") as cgroup:
                name, group = comm.read().strip(), cgroup.read().strip()
        except OSError:  # gone meanwhile
            continue
        if name in NETWORK:
            found[name] = (pid, group)
    return found


def logind_kills(wanted):
    """Let logind read its configuration again, and see that it has."""
    subprocess.run(["systemctl", "kill", "-s", "HUP", "systemd-logind"], check=True)
    ask = ["busctl", "get-property", "org.freedesktop.login1", "/org/freedesktop/login1",
           "org.freedesktop.login1.Manager", "KillUserProcesses"]
    deadline = time.monotonic() + 20
    while subprocess.run(ask, check=True, text=True, stdout=subprocess.PIPE).stdout.split()[1] != wanted:
        assert time.monotonic() < deadline
        time.sleep(0.2)


@pytest.fixture
def sessions_are_killed(session):
    """logind ends all processes of a session with it."""
    path = "/run/systemd/logind.conf.d/venv-test.conf"
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="ascii") as file:
        file.write("[Login]\nKillUserProcesses=yes\n")
    logind_kills("true")
    yield
    os.unlink(path)
    logind_kills("false")


@pytest.mark.usefixtures("sessions_are_killed")
def test_a_killed_session_leaves_the_network(session):
    subprocess.run(["loginctl", "enable-linger", "dev"], check=True)
    # what a session leaves is killed: else this would test nothing
    session("setsid -f sleep 987 < /dev/null > /dev/null 2>&1; sleep 1")
    up(session, "name: web\\nports: [ 18080:80 ]\\n")
    time.sleep(3)
    assert subprocess.run(["pgrep", "-f", "sleep 987"], check=False, stdout=subprocess.DEVNULL).returncode == 1
    before = network()
    assert set(before) == set(NETWORK)
    for pid, group in before.values():
        assert f"/venv-netd-{before['venv-netd'][0]}.scope" in group and "session-" not in group, (pid, group)
    session("venv exec -- sh -c 'mkdir -p /www; echo there > /www/index.html; httpd -p 80 -h /www'")
    time.sleep(3)
    assert network() == before
    session("venv exec -- nslookup default")
    with urllib.request.urlopen("http://127.0.0.1:18080/", timeout=10) as page:
        assert page.read() == b"there\n"
    session("venv destroy -f")
    deadline = time.monotonic() + 10
    while network():
        assert time.monotonic() < deadline, network()
        time.sleep(0.1)
    assert ".scope" not in session("systemctl --user list-units --all --plain 'venv-*'")


def test_with_linger_it_runs_on(session):
    subprocess.run(["loginctl", "enable-linger", "dev"], check=True)
    up(session)
    assert "enable-linger" not in session("venv doctor", check=False)
    time.sleep(STOP_DELAY + 5)
    assert "running" in session("venv status")
    assert session("venv exec -- cat /root/file; venv ssh -c 'echo too'") == "kept\ntoo\n"
