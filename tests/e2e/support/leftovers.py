"""What a test left on the host: processes, mounts, cgroups, interfaces, sockets, files.

A process is ours when its program lies in the install's libexec directory, or when it runs in a
machine of the test: in a mount namespace that has a mount of the test's directory, or with the id of
one of its machines in its environment or control group. Only what appeared since the test began
counts, so that two runs on one host disturb each other as little as can be; where nothing else runs
(VENV_E2E_ALONE=1, as in CI), every process from a sealed copy of ours and every control group counts.
"""

import dataclasses
import os
import re
import signal
import subprocess
import time

CGROUPS = "/sys/fs/cgroup"

# in projects/<uuid>/, after the last machine is gone
PROJECT_STAYS = {"project.json", "approved.json", "net.json", "net.lock", "netd.log", "locks", "volumes"}


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
        self.sandbox = sandbox
        self._account = account
        self._alone = os.environ.get("VENV_E2E_ALONE") == "1"
        self._ids = set()  # of machines that were there at some time
        self._mount_namespace = _read_link("/proc/self/ns/mnt")
        self._before = self._look()

    def note_machines(self):
        """To be called before and after each command: what of them stays is known by their ids."""
        self._ids.update(name for name in _list(os.path.join(self.sandbox, "data/venv/machines"))
                         if len(name) == 32)

    def find(self, patience):
        """What appeared since the start and does not go away by itself within `patience` seconds."""
        deadline = time.monotonic() + patience
        self.note_machines()
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
            program = _read_link(f"/proc/{pid}/exe").removesuffix(" (deleted)") or self._confined(pid)
            if program.startswith(self._programs):
                why = program
            elif self._alone and program.startswith("/memfd:venv"):
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

    def _confined(self, pid):
        """Our helpers let nobody but root look at them: to an ordinary user they show their name only."""
        name = _read(f"/proc/{pid}/comm").strip()
        uid = re.search(r"^Uid:\t(\d+)", _read(f"/proc/{pid}/status"), re.M)
        ours = name.startswith("venv-") and uid and int(uid[1]) == self._account.uid
        return self._programs[0] + name if ours else ""

    def _in_machine(self, pid):
        namespace = _read_link(f"/proc/{pid}/ns/mnt")
        if namespace in ("", self._mount_namespace):
            return False
        return (self.sandbox + "/" in _read(f"/proc/{pid}/mountinfo")
                or self._names_a_machine(_read(f"/proc/{pid}/environ"))
                or self._names_a_machine(_read(f"/proc/{pid}/cgroup")))

    def _names_a_machine(self, text):
        return any(machine in text for machine in self._ids)

    def _mounts(self):
        found = set()
        for line in _read("/proc/self/mountinfo").splitlines():
            if self.sandbox + "/" in line:
                found.add(Item("mount", line.split()[4]))
        return found

    def _cgroups(self):
        found = set()
        for directory, names, _ in os.walk(CGROUPS):
            for name in names:
                if "venv" in name and (self._alone or self._names_a_machine(name)):
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
            if path and (self.sandbox in path[0] or path[0].startswith("@venv")):
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
        """Nothing is to be made there. Root's entries may be anybody's; the test user is ours alone."""
        found = set()
        if self._account.is_root:
            return found
        for directory in ("/tmp", "/var/tmp", "/run", "/dev/shm"):
            for name in os.listdir(directory) if os.path.isdir(directory) else []:
                path = os.path.join(directory, name)
                if not name.startswith("venv-e2e-") and _mine(path, self._account):
                    found.add(Item("file", path))
        return found

    def _files(self):
        """Boxes may stay, and what a project is known by; nothing half done, nothing of a machine."""
        found = []
        data = os.path.join(self.sandbox, "data", "venv")
        for name in ("machines", "trash", "boxes/stage", "../../tmp"):
            # the lock of making a box stays: taking it away while another waits for it is a race
            found += [Item("file", os.path.join(data, name, entry))
                      for entry in _list(os.path.join(data, name)) if not entry.endswith(".making")]
        projects = os.path.join(data, "projects")
        for uuid in _list(projects):
            found += self._files_of_project(os.path.join(projects, uuid))
        for name in _list(os.path.join(data, "boxes")):
            directory = os.path.join(data, "boxes", name)
            found += [Item("file", os.path.join(directory, entry), "half done")
                      for entry in _list(directory) if entry.startswith((".", "tmp."))]
        return found

    @staticmethod
    def _files_of_project(directory):
        """Its volumes and approvals outlive its machines, and so does its part of the network plan."""
        found = []
        for name in _list(directory):
            path = os.path.join(directory, name)
            if name in ("machines", "trash"):
                found += [Item("file", os.path.join(path, entry)) for entry in _list(path)]
            elif name not in PROJECT_STAYS:
                found.append(Item("file", path))
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
