"""Who a test runs as, and the directories it runs in."""

import dataclasses
import os
import pwd
import shutil
import stat
import subprocess
import tempfile

TEST_USER = "venve2e"  # nobody else's: what it has open or in /tmp is the tests'

TUN = "/dev/net/tun"


@dataclasses.dataclass(frozen=True)
class Account:
    name: str
    uid: int
    gid: int
    prefix: tuple  # what makes this account of the caller: () when it is the caller
    session: dict  # environment of the login session, for what talks to systemd

    @property
    def is_root(self):
        return self.uid == 0


def names(run_as):
    if run_as == "all":
        return ["root", "user"] if os.geteuid() == 0 else ["self"]
    return [run_as]


def get(name):
    """The account, or None and the reason why there is none."""
    if name == "root" and os.geteuid() != 0:
        return None, "not run by root"
    if name in ("root", "self"):
        session = {key: os.environ[key] for key in ("XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS")
                   if key in os.environ}
        return Account(name, os.geteuid(), os.getegid(), (), session), None
    if os.geteuid() != 0:
        return None, "only root can run as another user (use --as self)"
    _open_tun()
    entry = _test_user()
    prefix = ("setpriv", f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--init-groups", "--")
    return Account("user", entry.pw_uid, entry.pw_gid, prefix, {}), None


def _test_user():
    """The ordinary user, made when missing, with sub-ids; it stays (other runs may be using it)."""
    try:
        entry = pwd.getpwnam(TEST_USER)
    except KeyError:
        subprocess.run(["/usr/sbin/useradd", "--create-home", "--shell", "/bin/sh", TEST_USER],
                       check=True, stdout=subprocess.DEVNULL)
        entry = pwd.getpwnam(TEST_USER)
    for file, option in (("/etc/subuid", "--add-subuids"), ("/etc/subgid", "--add-subgids")):
        if not _has_ids(file):
            subprocess.run(["/usr/sbin/usermod", option, "600000-665535", TEST_USER], check=True)
    return entry


def _open_tun():
    """udev makes it 0666 (50-udev-default.rules); a host without udev has what mknod gave it."""
    try:
        if stat.S_IMODE(os.stat(TUN).st_mode) != 0o666:
            os.chmod(TUN, 0o666)
    except FileNotFoundError:
        pass  # venv says what to do


def _has_ids(file):
    try:
        with open(file, encoding="ascii") as lines:
            return any(line.startswith(TEST_USER + ":") for line in lines)
    except FileNotFoundError:
        return False


def make_sandbox(account):
    """A directory for one test: home, data, config, project. Short, because sockets lie in it."""
    path = tempfile.mkdtemp(prefix="venv-e2e-", dir="/tmp")
    os.chmod(path, 0o755)
    for name in ("", "home", "data", "config", "project", "tmp"):
        directory = os.path.join(path, name)
        os.makedirs(directory, exist_ok=True)
        os.chown(directory, account.uid, account.gid)
    return path


def remove_sandbox(account, path):
    """Boxes of an ordinary user hold files of sub-ids, which only their user namespace may remove."""
    if os.geteuid() != 0 and os.path.isdir(os.path.join(path, "data", "venv")):
        subprocess.run(["unshare", "--user", "--map-auto", "--map-root-user", "rm", "-rf", path],
                       check=False, stderr=subprocess.DEVNULL)
    shutil.rmtree(path, ignore_errors=True)
