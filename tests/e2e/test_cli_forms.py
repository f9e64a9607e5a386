"""What the command prints for programs and for people, with a machine of its own."""

import json
import os
import re
import time

import pytest

SMALL = "box: busybox\nnetworks: []\n"


def test_every_command_has_a_man_page(venv):
    """The list in cli/man.cmake and the table of commands agree; only where pages were installed."""
    manuals = os.path.join(os.path.dirname(venv.path), "..", "share", "man")
    if not os.path.exists(os.path.join(manuals, "man1", "venv.1")):
        pytest.skip("no man pages were installed (scdoc is missing)")
    for page in venv("help", "--list").stdout.split():
        assert os.path.exists(os.path.join(manuals, "man" + page[-1], page)), page


def test_man_page_of_the_file_knows_every_key(venv):
    page = venv("help", "--man", "venv.yml").stdout
    for key in venv.json("config", "keys"):
        assert f"*{key['key']}*".replace("_", "\\_") in page


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(venv, shell):
    assert "__complete" in venv("completion", shell).stdout


def test_completion_names_machines(venv, project):
    project.write("box: busybox\nmachines:\n  db: {}\n  web: {}\n")
    assert venv("__complete", "--", "up", "w").stdout == "web\n"


def test_schema_in_both_forms(venv):
    schema = json.loads(venv("config", "schema").stdout)
    assert venv.json("config", "schema") == schema


@pytest.mark.parametrize("command", ["up", "status", "plan", "halt", "destroy", "exec", "ssh"])
def test_wrong_file_is_one_json_error(venv, project, command):
    project.write("box: busybox\nmemory: 2X\n")
    more = {"exec": ["--", "true"], "destroy": ["-f"]}.get(command, [])
    result = venv.fails("--json", command, *more)
    (error,) = result.json()
    assert (error["type"], error["code"], error["line"], error["column"]) == ("error", "CONFIG", 2, 9)
    assert error["file"].endswith("venv.yml")
    assert result.stderr == ""
    assert result.status == (125 if command in ("exec", "ssh") else 3)


def test_caret_stands_below_the_value(venv, project):
    project.write("box: busybox\nmemory: 2X\n")
    lines = venv.fails("status", status=3).stderr.splitlines()
    assert lines[0].startswith("error: venv.yml:2:9: ")
    assert lines[1:3] == ["   2 | memory: 2X", "     |         ^"]


def test_life_in_json(venv, project):
    project.write(SMALL)
    up = venv.lines("up")
    assert [line["phase"] for line in up if line["type"] == "phase-begin"][-1] in ("boot", "ready")
    (machine,) = up[-1]["result"]
    assert (machine["name"], machine["state"], machine["provider"]) == ("default", "running", "container")
    assert machine["ssh"]["host"] == "127.0.0.1"
    ran = venv.fails("exec", "--json", "--", "sh", "-c", "echo ü; exit 4", status=4).json()
    assert ran == [
        {"type": "output", "machine": "default", "stream": "stdout", "text": "ü\n"},
        {"type": "result", "command": "exec", "result": {"machine": "default", "exit_status": 4}},
    ]
    (stats,) = venv.json("stats")
    assert stats["name"] == "default"
    (machine,) = venv.json("global-status")
    assert machine["directory"] == project.path
    (gone,) = venv.json("destroy", "-f")
    assert gone["state"] == "not created"


def test_life_in_vagrants_form(venv, project):
    project.write(SMALL)

    def fields(*arguments):
        lines = venv(*arguments, "--machine-readable").stdout.splitlines()
        return [line.split(",")[1:] for line in lines]

    assert ["default", "state", "not_created"] in fields("status")
    assert ["default", "state", "running"] in fields("up")
    assert ["default", "provider-name", "container"] in fields("status")
    (config,) = fields("ssh-config")
    assert config[:2] == ["default", "ssh-config"]
    assert config[2].startswith("Host default\\n  HostName 127.0.0.1\\n")
    assert ["", "metadata", "machine-count", "1"] in fields("global-status")
    assert ["", "box-name", "busybox"] in fields("box", "list")
    assert ["default", "state", "poweroff"] in fields("halt")
    assert ["default", "state", "not_created"] in fields("destroy", "-f")


def test_summary_tells_what_to_do_next(venv, project):
    project.write(SMALL)
    assert re.search(r"^default is up in [\d.]+ s · ssh: venv ssh$", venv("up").stdout, re.MULTILINE)
    assert venv("up").stdout == "default is up already · ssh: venv ssh\n"


def test_up_again_names_every_machine(venv, project):
    """Also one that has nothing to wait for beside one that has."""
    project.write(SMALL + "machines: { web: {}, db: { ready: { run: 'true' } } }\n")
    venv("up")
    assert re.findall(r"^(\w+) is up already", venv("up").stdout, re.MULTILINE) == ["web", "db"]


def test_directory_is_mapped(venv, project):
    project.write(SMALL)
    project.file("sub/dir/file")
    venv("up")
    sub = os.path.join(project.path, "sub", "dir")
    assert venv("exec", "--", "pwd", cwd=sub).stdout == "/workspace/sub/dir\n"
    assert venv("ssh", "-c", "pwd", cwd=sub).stdout == "/workspace/sub/dir\n"
    assert venv("ssh", "--", "echo", "$HOME", cwd=sub).stdout == "/root\n"


def test_a_shell_at_a_terminal(venv, project):
    project.write(SMALL)
    venv("up")
    for command in (["ssh"], ["exec", "--", "sh"]):
        with venv.terminal(*command, rows=33, columns=101) as screen:
            screen.expect("# ")
            screen.send("stty size; echo $TERM\r")
            screen.expect("33 101\r\n")
            screen.expect("xterm-256color\r\n")
            screen.resize(20, 70)
            screen.send("sleep 0.3; stty size\r")
            screen.expect("20 70\r\n")
            screen.expect("# ")
            screen.send("sleep 100\r")
            time.sleep(0.5)  # until it sleeps: before, the key is the line editor's
            screen.send("\x03")
            screen.expect("# ")
            screen.send("echo al''ive; exit 9\r")
            screen.expect("alive")
            assert screen.wait() == 9


def test_binary_data_passes(venv, project):
    project.write(SMALL)
    venv("up")
    data = os.urandom(3_000_000)
    for command in (["ssh", "-c", "cat"], ["exec", "--", "cat"]):
        assert venv(*command, stdin=data).out == data


def test_destroy_asks_at_a_terminal(venv, project):
    project.write(SMALL)
    venv("up")
    venv.fails("destroy", status=2)
    with venv.terminal("destroy") as screen:
        screen.expect(r"\[y/N\]")
        screen.send("n\r")
        assert screen.wait() == 130
    assert len(project.machines()) == 1
    with venv.terminal("destroy") as screen:
        screen.expect(r"\[y/N\]")
        screen.send("y\r")
        screen.expect("is gone")
        assert screen.wait() == 0
    assert project.machines() == []
