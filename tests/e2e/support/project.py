"""A project's directory."""

import json
import os
import shutil


class Project:
    def __init__(self, venv):
        self._venv = venv
        self.path = venv.directory
        self.data = os.path.join(venv.sandbox, "data", "venv")

    def write(self, content, name="venv.yml"):
        """Write venv.yml: text as it is, or a dict (JSON is YAML)."""
        text = content if isinstance(content, str) else json.dumps(content, indent=1) + "\n"
        return self.file(name, text)

    def file(self, name, content="", mode=0o644):
        """Write a file of the account below the project (or the sandbox); gives its path."""
        path = os.path.normpath(os.path.join(self.path, name))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(content if isinstance(content, bytes) else content.encode())
        os.chmod(path, mode)
        written = path
        while path not in (self.path, self._venv.sandbox):
            os.chown(path, self._venv.account.uid, self._venv.account.gid)
            path = os.path.dirname(path)
        return written

    def read(self, name):
        with open(os.path.join(self.path, name), encoding="utf-8") as file:
            return file.read()

    def move(self, name):
        """Move the project to another directory of the sandbox; commands then run there."""
        path = os.path.join(self._venv.sandbox, name)
        os.rename(self.path, path)
        self.path = self._venv.directory = path

    def copy(self, name):
        """Copy it, .machines and all; gives the copy's path."""
        path = os.path.join(self._venv.sandbox, name)
        shutil.copytree(self.path, path, symlinks=True, copy_function=_copy_owned)
        for directory, _, _ in os.walk(path):
            os.chown(directory, self._venv.account.uid, self._venv.account.gid)
        return path

    def machines(self):
        """Ids of the machines that exist in the data directory."""
        try:
            return sorted(os.listdir(os.path.join(self.data, "machines")))
        except FileNotFoundError:
            return []

    def with_machines(self):
        """The directories of the sandbox that have machines."""
        found = []
        for name in sorted(os.listdir(self._venv.sandbox)):
            path = os.path.join(self._venv.sandbox, name)
            if os.path.isdir(os.path.join(path, ".machines")):
                found.append(path)
        if not found and self.machines() and os.path.exists(os.path.join(self.path, "venv.yml")):
            found.append(self.path)
        return found


def _copy_owned(source, target):
    shutil.copy2(source, target, follow_symlinks=False)
    status = os.lstat(source)
    os.chown(target, status.st_uid, status.st_gid, follow_symlinks=False)
    return target
