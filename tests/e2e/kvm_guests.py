"""What virtual machines of the tests are made from, where a host runs them: disks that tests/nested/disks made
(VENV_TEST_DISKS), and root file systems with the kernel that boxes/kernel-debian-12/build packed (VENV_TEST_KERNEL)."""

import json
import os

import pytest

SLOW = 600  # seconds: processors are emulated there


def given(variable):
    """What a variable names, or the test is skipped."""
    if not os.environ.get(variable):
        pytest.skip(f"{variable} names nothing to make virtual machines from")
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        pytest.skip("/dev/kvm is not for this user")
    return os.environ[variable]


@pytest.fixture
def disks():
    return given("VENV_TEST_DISKS")


@pytest.fixture
def kernel(project, disks):
    """The kernel of the disks as files of the project: keys for venv.yml."""
    for name in ("vmlinuz", "initrd.img"):
        with open(os.path.join(disks, name), "rb") as file:
            project.file("boot/" + name, file.read())
    return {"kernel": "boot/vmlinuz", "initrd": "boot/initrd.img", "cmdline": "quiet mitigations=off"}


def machine(kernel=None, **more):
    keys = {"box": "test", "provider": "kvm", "memory": "512M", "cpus": 1, "boot_timeout": "8m", **more}
    if kernel:
        keys["kvm"] = kernel
    return keys


def add_box(venv, disks, name):
    venv("box", "add", "--name", "test", os.path.join(disks, name), timeout=SLOW)


@pytest.fixture
def kernel_box(project, venv):
    """The kernel in the store, as its recipe would put it there."""
    archive = given("VENV_TEST_KERNEL")
    recipe = {"name": "kernel/debian-12", "version": "12", "kind": "kernel", "prebuilt": "kernel.tar"}
    project.file("kernel/recipe.json", json.dumps(recipe))
    with open(archive, "rb") as file:
        project.file("kernel/kernel.tar", file.read())
    venv("box", "build", os.path.join(project.path, "kernel"), timeout=SLOW)


@pytest.fixture
def debian():
    """The archive that boxes/debian-12/build made."""
    return given("VENV_TEST_DEBIAN")


def rootfs_machine(**more):
    return {"box": "busybox", "provider": "kvm", "memory": "256M", "cpus": 1, "boot_timeout": "8m", **more}


@pytest.fixture(params=["disk", "rootfs"])
def guest(request, venv):
    """guest(KEY=VALUE…) gives the keys of a machine; once of each kind."""
    if request.param == "rootfs":
        request.getfixturevalue("kernel_box")
        return rootfs_machine
    keys = request.getfixturevalue("kernel")
    add_box(venv, request.getfixturevalue("disks"), "cloud.qcow2")
    return lambda **more: machine(keys, **more)
