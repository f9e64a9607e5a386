"""The programs of docs/examples, built as their readers would build them: against the installed library."""

import glob
import os
import shlex
import shutil
import subprocess

import pytest

from support.runner import TOP

EXAMPLES = os.path.join(TOP, "docs", "examples")


def pkg_config(venv, *arguments):
    prefix = os.path.dirname(os.path.dirname(venv.path))
    found = glob.glob(os.path.join(prefix, "lib", "**", "pkgconfig"), recursive=True)
    assert found, f"no pkgconfig below {prefix}/lib"
    result = subprocess.run(["pkg-config", *arguments, "libvenv"], check=True, text=True, stdout=subprocess.PIPE,
                            env={**os.environ, "PKG_CONFIG_PATH": ":".join(found)})
    return shlex.split(result.stdout)


@pytest.fixture
def build(venv):
    """build("hello.c"): the path of the program."""
    for tool in ("cc", "pkg-config"):
        if not shutil.which(tool):
            pytest.skip(f"{tool} is not installed")
    (libdir,) = pkg_config(venv, "--variable=libdir")
    linked = subprocess.run(["ldd", os.path.join(libdir, "libvenv.so")], check=True, text=True,
                            stdout=subprocess.PIPE).stdout
    sanitize = ["-fsanitize=address,undefined"] if "libasan" in linked else []

    def compile_one(name):
        program = os.path.join(venv.sandbox, "home", os.path.splitext(name)[0])
        # the run path stands for the installation into /usr that a reader has
        subprocess.run(["cc", "-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", *sanitize,
                        os.path.join(EXAMPLES, name), "-o", program, *pkg_config(venv, "--cflags", "--libs"),
                        f"-Wl,-rpath,{libdir}"], check=True)
        return program

    return compile_one


def test_hello(project, venv, build):
    program = build("hello.c")
    project.write("box: busybox\n")
    result = venv.run([program, project.path])
    assert "hello from the machine\n" in result.stdout
    assert result.stdout.startswith("resolve: ")
    assert result.stderr == ""
    assert project.machines() == []


def test_hello_tells_what_is_wrong(project, venv, build):
    program = build("hello.c")
    project.write("box: busybox\nmemroy: 1G\n")
    result = venv.run([program, project.path], check=False)
    assert result.status == 1
    assert "memroy" in result.stderr and "memory" in result.stderr
