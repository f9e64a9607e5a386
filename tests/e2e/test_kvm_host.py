"""Hosts that run no virtual machines, or not for this user: what `venv doctor` and `venv up` say of /dev/kvm."""

import dataclasses
import os

import pytest

from support.runner import Venv

# For one command, in a mount namespace of its own: a /dev with what programs need, and with this /dev/kvm or none.
OTHER_DEV = """
mount -t tmpfs -o mode=0755 dev "$TMPDIR"
cp -a /dev/null /dev/zero /dev/full /dev/random /dev/urandom "$TMPDIR"
if [ "$1" != none ]; then
    mknod "$TMPDIR/kvm" c 10 232
    chown "root:$2" "$TMPDIR/kvm"
    chmod "$1" "$TMPDIR/kvm"
fi
mount --move "$TMPDIR" /dev
shift 2
exec "$@"
"""


def with_device(venv, mode, group="root"):
    """The command where /dev/kvm has this mode and group."""
    if os.geteuid() != 0:
        pytest.skip("only root can give a command another /dev")
    prefix = ("unshare", "--mount", "sh", "-ec", OTHER_DEV, "sh", mode, group, *venv.account.prefix)
    return Venv(venv.path, dataclasses.replace(venv.account, prefix=prefix), venv.sandbox, venv.directory)


def doctor(venv):
    return next(finding for finding in venv.json("doctor", check=False) if finding["check"] == "virtual machines")


@pytest.mark.parametrize("mode,group,fix", [
    ("0660", "daemon", "join its group with 'sudo usermod -aG daemon $USER', then log in again"),
    ("0600", "root", "'sudo chgrp kvm /dev/kvm && sudo chmod 660 /dev/kvm', then join that with "
                     "'sudo usermod -aG kvm $USER'")], ids=["group", "root"])
def test_who_may_not_use_it_is_told_the_group(project, venv, mode, group, fix):
    if venv.account.is_root:
        pytest.skip("root may use every /dev/kvm")
    venv = with_device(venv, mode, group)
    finding = doctor(venv)
    assert finding["status"] == "warning", finding
    assert finding["message"] == "this user may not use /dev/kvm", finding
    assert fix in finding["fix"], finding
    project.write("box: busybox\nprovider: kvm\n")
    result = venv.fails("up")
    assert "no provider can run this machine here: kvm: this user may not use /dev/kvm\n" in result.stderr, result
    assert fix in result.stderr, result
    assert project.machines() == []


def add_disk_box(project, venv):
    """A box for virtual machines alone."""
    project.file("disk.raw", bytes(510) + b"\x55\xaa" + bytes(1 << 20))
    venv("box", "add", "--name", "test", "disk.raw")


def expected(venv):
    """What is wrong with /dev/kvm and what to do, if it runs nothing."""
    error = venv.run(["python3", "-c", "open('/dev/kvm', 'r+b', buffering=0)"], check=False).stderr
    if "PermissionError" in error:
        return "this user may not use /dev/kvm", "sudo usermod -aG "
    if error:
        return "this host has no virtual machines: no /dev/kvm", "sudo modprobe kvm_intel"
    return "this host's KVM interprets guest kernels", "'provider: container'"


@pytest.mark.parametrize("device", ["none", "host"])
def test_auto_passes_it_over_and_tells_why(project, venv, device):
    if device == "none":
        venv = with_device(venv, "none")
    finding = doctor(venv)
    if device == "host" and finding["status"] == "ok":
        pytest.skip("this host runs virtual machines")
    reason, fix = expected(venv)
    assert finding["status"] == "warning" and finding["provider"] == "kvm", finding
    assert reason in finding["message"] and fix in finding["fix"], finding
    add_disk_box(project, venv)
    project.write("box: test\nprovider: auto\n")
    result = venv.fails("up")
    assert f"venv.yml:2:11: no provider can run this machine here: kvm: {finding['message']}\n" in result.stderr, result
    assert finding["fix"] in result.stderr, result
    assert "container: " not in result.stderr, result
    assert project.machines() == []


def test_auto_passes_it_over_for_what_a_machine_wants(project, venv):
    """Told at its place, on every host."""
    add_disk_box(project, venv)
    project.write("box: test\ncpus: 48\n")
    result = venv.fails("up", status=8)
    assert "venv.yml:2:7: no provider can run this machine here: kvm: it cannot have more than 32 processors" in result.stderr
    assert "set 'cpus' to 32 or less" in result.stderr, result
    assert project.machines() == []
