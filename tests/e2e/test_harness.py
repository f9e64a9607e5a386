"""The harness notices what is left behind: else every other test's last assertion says nothing."""

import os
import shutil
import socket
import subprocess

import pytest

from support import accounts, leftovers
from support.runner import Venv


@pytest.fixture
def install(tmp_path):
    """An install tree whose helper only sleeps."""
    for name in ("bin/venv", "libexec/venv/venv-keeper"):
        path = tmp_path / name
        path.parent.mkdir(parents=True)
        shutil.copy("/bin/sleep", path)
    return tmp_path


@pytest.fixture
def watch(install):
    account, _ = accounts.get("self")
    sandbox = accounts.make_sandbox(account)
    yield leftovers.Watch(str(install / "bin/venv"), sandbox, account)
    accounts.remove_sandbox(account, sandbox)


def kinds(watch, patience=0.0):
    return [item.kind for item in watch.find(patience)]


def test_nothing(watch):
    assert kinds(watch) == []


def test_helper_process(watch, install):
    with subprocess.Popen([install / "libexec/venv/venv-keeper", "60"]) as process:
        found = watch.find(0.0)
        assert [item.kind for item in found] == ["process"]
        watch.remove(found)
        assert process.wait(5) == -9
    assert kinds(watch) == []


def test_process_in_a_machine(watch):
    data = os.path.join(watch.sandbox, "data")
    with subprocess.Popen(["unshare", "--user", "--map-root-user", "--mount", "sh", "-c",
                           'mount -t tmpfs none "$0" && echo ready && exec sleep 60', data],
                          stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"ready\n"
        found = watch.find(0.0)
        watch.remove(found)
        process.wait(5)
    assert [item.kind for item in found] == ["process"]


def test_slow_end_is_waited_for(watch, install):
    with subprocess.Popen([install / "libexec/venv/venv-keeper", "0.3"]):
        assert kinds(watch, patience=3.0) == []


def test_machine_directory_and_socket(watch):
    machine = os.path.join(watch.sandbox, "data", "venv", "machines", "0123")
    os.makedirs(machine)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.join(machine, "ctl"))
        assert kinds(watch) == ["unix socket", "file"]


def test_boxes_may_stay(watch):
    boxes = os.path.join(watch.sandbox, "data", "venv", "boxes", "layers")
    os.makedirs(boxes)
    assert kinds(watch) == []
    os.makedirs(os.path.join(boxes, ".tmp-1", "x"))
    assert kinds(watch) == ["file"]


def test_terminal(watch, tmp_path):
    account, _ = accounts.get("self")
    shell = Venv("/bin/sh", account, watch.sandbox, str(tmp_path))
    with shell.terminal("-c", "stty size; read line; echo got $line; stty size; exit 3",
                        rows=30, columns=100) as terminal:
        terminal.expect(r"30 100")
        terminal.resize(40, 120)
        terminal.send("hello\n")
        terminal.expect(r"got hello")
        terminal.expect(r"40 120")
        assert terminal.wait() == 3
