"""What a logout does to an ordinary user's machines: run by root in the nested host, which has a user 'dev'."""

import os
import pwd
import shutil
import subprocess
import time

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
    # with a network netd stays in the session's scope, which Debian lets be: then it runs on
    up(session, "networks: []\\n")
    deadline = time.monotonic() + STOP_DELAY + 60
    while user_systemd_runs():
        assert time.monotonic() < deadline
        time.sleep(1)
    assert "stopped" in session("venv status")
    assert "enable-linger" in session("venv doctor", check=False)
    assert session("venv up > /dev/null 2>&1; venv exec -- cat /root/file") == "kept\n"


def test_with_linger_it_runs_on(session):
    subprocess.run(["loginctl", "enable-linger", "dev"], check=True)
    up(session)
    assert "enable-linger" not in session("venv doctor", check=False)
    time.sleep(STOP_DELAY + 5)
    assert "running" in session("venv status")
    assert session("venv exec -- cat /root/file; venv ssh -c 'echo too'") == "kept\ntoo\n"
