"""What users would take instead, set up so that each does the same work: one busybox, nothing fetched."""

import json
import os
import shutil
import socket
import subprocess
import time

from measure import Failed, output, processes, pss, spawn, timed


def make_rootfs(directory):
    """The busybox root file system that crun, bubblewrap, podman and docker run."""
    for name in ("bin", "proc", "dev", "sys", "tmp", "etc", "workspace"):
        os.makedirs(os.path.join(directory, name))
    shutil.copy("/bin/busybox", os.path.join(directory, "bin"))
    for name in ("sh", "true", "sleep", "cat"):
        os.symlink("busybox", os.path.join(directory, "bin", name))
    return directory


class Other:
    """A tool; `missing` says why it takes no part."""
    name = ""
    missing = None

    def __init__(self, env, directory, rootfs):
        self.env, self.directory, self.rootfs = env, directory, rootfs
        try:
            self.set_up()
        except (Failed, OSError, subprocess.SubprocessError) as error:
            self.missing = str(error)

    def set_up(self):
        if shutil.which(self.name) is None:
            raise Failed("not installed")

    def run(self, *argv, **options):
        return timed(list(argv), self.env, self.directory, **options)

    def tear_down(self):
        pass


class Bubblewrap(Other):
    name = "bwrap"

    def up_without_network(self):
        return self.run("bwrap", "--unshare-all", "--uid", "0", "--gid", "0", "--bind", self.rootfs, "/",
                        "--proc", "/proc", "--dev", "/dev", "/bin/true")


class Crun(Other):
    """crun with the seccomp profile that podman uses."""
    name = "crun"

    def set_up(self):
        super().set_up()
        os.symlink(self.rootfs, os.path.join(self.directory, "rootfs"))
        output(["crun", "spec"] + ([] if os.geteuid() == 0 else ["--rootless"]), self.env, self.directory)
        path = os.path.join(self.directory, "config.json")
        with open(path, encoding="utf-8") as file:
            spec = json.load(file)
        spec["root"] = {"path": self.rootfs, "readonly": False}
        spec["process"]["terminal"] = False
        spec["process"]["args"] = ["/bin/sleep", "1000"]
        spec["process"].pop("rlimits", None)  # some hosts refuse to raise them
        spec["linux"]["seccomp"] = oci_seccomp("/usr/share/containers/seccomp.json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump(spec, file)
        self.crun = ["crun", "--root", os.path.join(self.directory, "state")]
        self.up_without_network()
        self.destroy()

    def up_without_network(self):
        return self.run(*self.crun, "run", "-d", "bench")

    def exec_true(self):
        return self.run(*self.crun, "exec", "bench", "/bin/true")

    def status(self):
        return self.run(*self.crun, "list")

    def destroy(self):
        return self.run(*self.crun, "delete", "-f", "bench")

    def tear_down(self):
        spawn([*self.crun, "delete", "-f", "bench"], self.env, self.directory)


def oci_seccomp(path):
    """podman's profile in the form of the OCI runtime specification, for no added capability."""
    with open(path, encoding="utf-8") as file:
        profile = json.load(file)
    rules = []
    for rule in profile["syscalls"]:
        includes, excludes = rule.get("includes") or {}, rule.get("excludes") or {}
        if includes.get("caps") or ("arches" in includes and "amd64" not in includes["arches"]):
            continue
        if "amd64" in (excludes.get("arches") or []):
            continue
        kept = {key: rule[key] for key in ("names", "action", "args", "errnoRet") if rule.get(key)}
        kept["names"] = rule.get("names") or [rule["name"]]
        rules.append(kept)
    return {"defaultAction": profile["defaultAction"], "syscalls": rules,
            "defaultErrnoRet": profile.get("defaultErrnoRet", 38),
            "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]}


class Engine(Other):
    """podman and docker have one command line."""
    options = ()

    def set_up(self):
        super().set_up()
        self.command = [self.name, *self.global_options()]
        archive = os.path.join(self.directory, "rootfs.tar")
        output(["tar", "-C", self.rootfs, "-cf", archive, "."], self.env, self.directory)
        output([*self.command, "import", archive, "venv-bench"], self.env, self.directory)
        self.up_without_network()
        self.destroy()

    def global_options(self):
        return ()

    def start(self, *options):
        return self.run(*self.command, "run", "-d", "--name", "venv-bench", *self.options, *options,
                        "venv-bench", "/bin/sleep", "1000")

    def up(self, port):
        return self.start("-p", f"127.0.0.1:{port}:80", "-v", f"{self.directory}:/workspace")

    def up_without_network(self):
        return self.start("--network", "none")

    def exec_true(self):
        return self.run(*self.command, "exec", "venv-bench", "/bin/true")

    def status(self):
        return self.run(*self.command, "ps")

    def destroy(self):
        return self.run(*self.command, "rm", "-f", "venv-bench")

    def tear_down(self):
        spawn([*self.command, "rm", "-f", "venv-bench"], self.env, self.directory)
        spawn([*self.command, "rmi", "-f", "venv-bench"], self.env, self.directory)


class Podman(Engine):
    name = "podman"
    # no higher limits than the host's own: some hosts refuse to raise them
    options = ("--ulimit", "nofile=1024:4096", "--ulimit", "nproc=1000:1000")

    def global_options(self):
        if os.geteuid() != 0:
            return ()
        options = ["--root", os.path.join(self.directory, "store"),
                   "--runroot", os.path.join(self.directory, "run"),
                   "--tmpdir", os.path.join(self.directory, "tmp"), "--events-backend", "file"]
        return options if os.path.isdir("/run/systemd/system") else \
            options + ["--cgroup-manager", "cgroupfs"]

    def destroy(self):
        return self.run(*self.command, "rm", "-f", "-t", "0", "venv-bench")

    def resident(self):
        """(bytes per machine, bytes for all)"""
        return sum(pss(pid) for pid, program, _ in processes()
                   if os.path.basename(program) == "conmon"), 0


class Docker(Engine):
    name = "docker"

    def set_up(self):
        if shutil.which("docker") is None:
            raise Failed("not installed")
        output(["docker", "info"], self.env, self.directory, timeout=20)
        super().set_up()

    def resident(self):
        per_machine = shared = 0
        for pid, program, _ in processes():
            name = os.path.basename(program)
            if name.startswith("containerd-shim"):
                per_machine += pss(pid)
            elif name in ("dockerd", "containerd", "docker-proxy"):
                shared += pss(pid)
        return per_machine, shared


class Sshd(Other):
    """OpenSSH's own server on loopback, as root only."""
    name = "sshd"

    def set_up(self):
        server = "/usr/sbin/sshd"
        if not os.path.exists(server):
            raise Failed("not installed")
        if os.geteuid() != 0:
            raise Failed("only as root")
        os.makedirs("/run/sshd", mode=0o755, exist_ok=True)
        for name in ("host", "user"):
            output(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f",
                    os.path.join(self.directory, name)], self.env, self.directory)
        port = free_port()
        with open(os.path.join(self.directory, "sshd_config"), "w", encoding="ascii") as file:
            file.write(f"ListenAddress 127.0.0.1:{port}\nHostKey {self.directory}/host\n"
                       f"AuthorizedKeysFile {self.directory}/user.pub\nStrictModes no\nUsePAM no\n"
                       f"PidFile none\nPermitRootLogin yes\n")
        with open(os.path.join(self.directory, "ssh_config"), "w", encoding="ascii") as file:
            file.write(f"Host sshd\n HostName 127.0.0.1\n Port {port}\n User root\n"
                       f" IdentityFile {self.directory}/user\n IdentitiesOnly yes\n"
                       f" StrictHostKeyChecking no\n UserKnownHostsFile /dev/null\n LogLevel ERROR\n")
        self.server = subprocess.Popen([server, "-D", "-f", os.path.join(self.directory, "sshd_config")],
                                       stderr=subprocess.DEVNULL)
        self.ssh = ["ssh", "-F", os.path.join(self.directory, "ssh_config"), "sshd"]
        deadline = time.monotonic() + 5
        while spawn([*self.ssh, "true"], self.env, self.directory)[1] != 0:
            if time.monotonic() > deadline:
                self.tear_down()
                raise Failed("does not let us in")

    def ssh_true(self):
        return self.run(*self.ssh, "true")

    def tear_down(self):
        self.server.terminate()
        self.server.wait()


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def versions(env, directory):
    """What takes part, in words."""
    found = []
    for argv in (["crun", "--version"], ["bwrap", "--version"], ["podman", "--version"],
                 ["docker", "--version"], ["ssh", "-V"], ["iperf3", "--version"]):
        if shutil.which(argv[0]) is None:
            continue
        result = subprocess.run(argv, capture_output=True, text=True, check=False)
        text = (result.stdout or result.stderr).splitlines()
        found.append(text[0].strip() if text else argv[0])
    return found
