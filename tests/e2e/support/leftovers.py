"""What a test left on the host: processes, mounts, cgroups, interfaces, sockets, files.

A process is ours when its program lies in the install's libexec directory or is one of the sealed
copies (memfd:venv-...), or when it sees a mount of the test's directory in a mount namespace other
than this one: then it is a process of a machine. Only what appeared since the test began counts, so
that two runs on one host disturb each other as little as can be.
"""

import dataclasses
import os
import signal
import subprocess
import time

CGROUPS = "/sys/fs/cgroup"


@dataclasses.dataclass(frozen=True, order=True)
class Item:
    kind: str
    name: str
    detail: str = ""

    def __str__(self):
        return f"{self.kind} {self.name}" + (f" ({self.detail})" if self.detail else "")


class Watch:
    def __init__(self, venv_path, sandbox, account):
        prefix = os.path.dirname(os.path.dirname(venv_path))
        self._programs = (os.path.join(prefix, "libexec", "venv") + "/", venv_path)
        if os.environ.get("VENV_LIBEXEC"):
            self._programs += (os.environ["VENV_LIBEXEC"].rstrip("/") + "/",)
        self._sandbox = sandbox
        self._account = account
        self._mount_namespace = _read_link("/proc/self/ns/mnt")
        self._before = self._look()

    def find(self, patience):
        """What appeared since the start and does not go away by itself within `patience` seconds."""
        deadline = time.monotonic() + patience
        while True:
            found = sorted(self._look() - self._before) + self._files()
            if not found or time.monotonic() > deadline:
                return found
            time.sleep(0.05)

    def remove(self, found):
        """Take it away, so that the next test starts clean."""
        for item in found:
            if item.kind == "process":
                _try(os.kill, int(item.name), signal.SIGKILL)
        for item in found:
            if item.kind == "mount":
                subprocess.run(["umount", "-l", item.name], check=False, stderr=subprocess.DEVNULL)
        for item in sorted(found, key=lambda item: item.name, reverse=True):
            if item.kind == "cgroup":
                _try(os.rmdir, item.name)
            elif item.kind == "interface":
                subprocess.run(["ip", "link", "del", item.name], check=False,
                               stderr=subprocess.DEVNULL)

    def _look(self):
        return (self._processes() | self._mounts() | self._cgroups() | self._interfaces()
                | self._sockets() | self._temporary_files())

    def _processes(self):
        found = set()
        for pid in filter(str.isdigit, os.listdir("/proc")):
            program = _read_link(f"/proc/{pid}/exe").removesuffix(" (deleted)")
            if program.startswith(self._programs) or program.startswith("/memfd:venv"):
                why = program
            elif self._in_machine(pid):
                why = f"in a machine: {program}"
            else:
                continue
            # with its start time, because pids come back
            status = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
            if not status or status[0] in "ZX":
                continue
            found.add(Item("process", pid, f"{why}, started at {status[19]}"))
        return found

    def _in_machine(self, pid):
        namespace = _read_link(f"/proc/{pid}/ns/mnt")
        if namespace in ("", self._mount_namespace):
            return False
        return self._sandbox + "/" in _read(f"/proc/{pid}/mountinfo")

    def _mounts(self):
        found = set()
        for line in _read("/proc/self/mountinfo").splitlines():
            if self._sandbox + "/" in line:
                found.add(Item("mount", line.split()[4]))
        return found

    @staticmethod
    def _cgroups():
        found = set()
        for directory, names, _ in os.walk(CGROUPS):
            for name in names:
                if "venv" in name:
                    found.add(Item("cgroup", os.path.join(directory, name)))
        return found

    @staticmethod
    def _interfaces():
        # those of machines' own namespaces go with their processes
        return {Item("interface", name) for name in os.listdir("/sys/class/net")
                if not name.startswith(("docker", "podman", "cni", "virbr"))}

    def _sockets(self):
        found = set()
        for line in _read("/proc/net/unix").splitlines()[1:]:
            path = line.split(maxsplit=7)[7:]
            if path and (self._sandbox in path[0] or path[0].startswith("@venv")):
                found.add(Item("unix socket", path[0]))
        if not self._account.is_root:
            # root's sockets may be anybody's; a test user has none but the test's
            for table in ("tcp", "tcp6", "udp", "udp6"):
                for line in _read(f"/proc/net/{table}").splitlines()[1:]:
                    fields = line.split()
                    listening = fields[3] == "0A" if table.startswith("tcp") else True
                    if listening and int(fields[7]) == self._account.uid:
                        port = int(fields[1].rpartition(":")[2], 16)
                        found.add(Item(f"{table} socket", f"port {port}"))
        return found

    def _temporary_files(self):
        found = set()
        for directory in ("/tmp", "/var/tmp", "/run", "/dev/shm"):
            for name in os.listdir(directory) if os.path.isdir(directory) else []:
                path = os.path.join(directory, name)
                if "venv" in name and not name.startswith("venv-e2e-") and _mine(path, self._account):
                    found.add(Item("file", path))
        return found

    def _files(self):
        """In the data directory boxes may stay, and nothing half done."""
        found = []
        data = os.path.join(self._sandbox, "data", "venv")
        for name in ("machines", "projects", "trash"):
            found += [Item("file", os.path.join(data, name, entry))
                      for entry in _list(os.path.join(data, name))]
        for directory, names, files in os.walk(os.path.join(data, "boxes")):
            depth = os.path.relpath(directory, data).count(os.sep)
            found += [Item("file", os.path.join(directory, name), "half done")
                      for name in names + files if name.startswith((".tmp", "tmp.", "stage", "staging"))
                      and (name not in names or _list(os.path.join(directory, name)))]
            if depth >= 2:  # inside a layer names mean nothing
                names[:] = []
        return found


def _list(path):
    try:
        return sorted(os.listdir(path))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except PermissionError:
        return ["(unreadable)"]


def _read(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:  # gone meanwhile, or another user's
        return ""


def _read_link(path):
    try:
        return os.readlink(path)
    except OSError:
        return ""


def _mine(path, account):
    try:
        return os.lstat(path).st_uid == account.uid
    except OSError:
        return False


def _try(function, *arguments):
    try:
        function(*arguments)
    except OSError:
        pass
