"""Fixtures for black-box tests of the venv command.

A test asks for `project` (a directory with a venv.yml, homes of its own for boxes and machines) and
`venv` (runs the command in it, as whom the test is parametrised for). After every test, what it did
is taken down and `nothing_left` fails it if anything stayed on the host.
"""

import os
import signal
import subprocess

import pytest

from support import accounts, leftovers
from support.project import Project
from support.runner import Venv, find_venv


def pytest_addoption(parser):
    parser.addoption("--as", dest="run_as", default="all", choices=["all", "root", "user", "self"],
                     help="root, user (a test user that root creates), self; default: what is possible")


def pytest_generate_tests(metafunc):
    if "as_user" in metafunc.fixturenames:
        names = accounts.names(metafunc.config.getoption("run_as"))
        metafunc.parametrize("as_user", names, indirect=True)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Let fixtures know how the test went: item.outcome_<phase>. With -v a failure is told at once, not at the end."""
    outcome = yield
    report = outcome.get_result()
    setattr(item, "outcome_" + report.when, report)
    if report.failed and item.config.option.verbose > 0:
        item.config.pluginmanager.get_plugin("terminalreporter").write_line("\n" + report.longreprtext)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item):
    """A test that hangs is ended and says where it hung."""
    marker = item.get_closest_marker("timeout")
    seconds = marker.args[0] if marker else 120

    def expire(_signal, _frame):
        raise TimeoutError(f"the test did not end within {seconds} s")

    before = signal.signal(signal.SIGALRM, expire)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="session")
def venv_path():
    path = find_venv()
    if path is None:
        pytest.exit("no venv to test: set VENV, or install a build: cmake --install build/dev", 2)
    return path


@pytest.fixture(scope="session")
def guest_program(tmp_path_factory):
    """support/guest.c, static: the bytes of a program that runs in any machine."""
    source = os.path.join(os.path.dirname(__file__), "support", "guest.c")
    program = str(tmp_path_factory.mktemp("guest") / "guest")
    try:
        subprocess.run(["cc", "-O1", "-static", "-o", program, source], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no C compiler for a static program: {error}")
    with open(program, "rb") as file:
        return file.read()


@pytest.fixture
def as_user(request):
    """Who the test runs as: an Account. Parametrised: root and an ordinary user when root calls."""
    account, why_not = accounts.get(request.param)
    if account is None:
        pytest.skip(why_not)
    return account


@pytest.fixture
def nothing_left(as_user, venv_path, request):
    """Watches the directory that all of the test's files are in; afterwards asserts that nothing is left."""
    sandbox = accounts.make_sandbox(as_user)
    watch = leftovers.Watch(venv_path, sandbox, as_user)
    yield watch
    found = watch.find(patience=3.0)
    watch.remove(found)
    accounts.remove_sandbox(as_user, sandbox)
    assert not found, "left behind:\n" + "\n".join(f"  {item}" for item in found)


@pytest.fixture
def venv(as_user, venv_path, nothing_left):
    """The command, run in the test's own homes: venv("up"), venv.fails("up"), venv.json("status")."""
    sandbox = nothing_left.sandbox
    return Venv(venv_path, as_user, sandbox, os.path.join(sandbox, "project"), nothing_left)


@pytest.fixture
def project(venv, request):
    """A project's directory: project.write("box: busybox"), project.path. Destroyed after the test."""
    project = Project(venv)
    yield project
    failed = getattr(request.node, "outcome_call", None) is None or request.node.outcome_call.failed
    for directory in project.with_machines():
        result = venv("destroy", "-f", cwd=directory, check=False)
        # one failure is enough: a test that failed may leave what destroy cannot handle
        assert failed or result.status == 0, f"venv destroy -f failed:\n{result}"


@pytest.fixture
def file_checks(project):
    """Programs that check file systems and disks, put into the project: their directory as a machine knows it."""
    if not os.environ.get("VENV_FILE_CHECKS"):
        pytest.skip("VENV_FILE_CHECKS names no programs (a build makes them in tests/file_checks)")
    for name in ("fsx", "posix_files", "disk_verify"):
        with open(os.path.join(os.environ["VENV_FILE_CHECKS"], name), "rb") as file:
            project.file("checks/" + name, file.read(), 0o755)
    return "/workspace/checks"
