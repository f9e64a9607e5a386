"""Commands that need no machine."""

import re

import pytest


@pytest.mark.nested
def test_version(venv):
    result = venv("version")
    assert re.fullmatch(r"venv \d+\.\d+\.\d+.*\n", result.stdout)
    assert result.stderr == ""


def test_version_option_is_the_same(venv):
    assert venv("--version").stdout == venv("version").stdout


def test_help_names_every_command(venv):
    text = venv("help").stdout
    for command in ("init", "up", "ssh", "exec", "status", "halt", "destroy", "box", "doctor"):
        assert re.search(rf"^\s+{command}\b", text, re.MULTILINE), command


@pytest.mark.parametrize("command", ["up", "ssh", "destroy"])
def test_help_of_a_command(venv, command):
    result = venv("help", command)
    assert f"venv {command}" in result.stdout
    assert venv(command, "--help").stdout == result.stdout


def test_unknown_command(venv):
    result = venv.fails("statsu", status=2)
    assert result.stdout == ""
    assert "statsu" in result.stderr
    assert "status" in result.stderr  # did you mean


def test_unknown_option(venv):
    result = venv.fails("status", "--bogus", status=2)
    assert "--bogus" in result.stderr


@pytest.mark.parametrize("command", ["status", "up", "destroy"])
def test_no_project(venv, command):
    result = venv.fails(command, status=4)
    assert "venv.yml" in result.stderr
    assert "venv init" in result.stderr  # the next step


def test_output_to_a_closed_pipe(venv):
    """`venv help | head -1` is no crash and no message."""
    result = venv.run(["sh", "-c", '"$0" help | head -n 1', venv.path])
    assert result.stderr == ""
