#!/usr/bin/python3
"""The command line over a library that only answers (tests/support/fake_libvenv.c): what is printed in
which form, what happens at a terminal, which signal does what. VENV_FAKE names the program."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import termios
import time

try:
    import pytest
except ImportError:
    print("python3-pytest is missing: scripts/deps --test installs it")
    sys.exit(77)

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "e2e"))
from support.runner import Terminal  # noqa: E402
from support.waiting import wait_for  # noqa: E402

FAKE = os.environ.get("VENV_FAKE", "")

WEB = {"name": "web", "state": "running", "provider": "container", "box": "busybox",
       "ports": [{"address": "127.0.0.1", "host": 8080, "guest": 80, "protocol": "tcp"}]}
UP = [
    {"event": "begin", "machine": "web", "phase": "create", "text": "creating from busybox"},
    {"event": "end", "machine": "web", "phase": "create", "elapsed_us": 800},
    {"event": "begin", "machine": "web", "phase": "provision", "text": "packages"},
    {"event": "output", "machine": "web", "phase": "provision", "stream": 1, "text": "half "},
    {"event": "output", "machine": "web", "phase": "provision", "stream": 1,
     "text": "a line\n10%\r100%\n\x1b[2Jevil\u202e\n"},
    {"event": "warning", "machine": "web", "text": "no limit \x1b[31m"},
    {"event": "end", "machine": "web", "phase": "provision", "elapsed_us": 2100000},
    {"event": "state", "machine": "web", "text": "running"},
]
SLOW = UP[:3] + [{"event": "notice", "machine": "web", "text": "late", "wait": 20000}]


def environment(**fake):
    env = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "LANG": "C.UTF-8",
           "TERM": "xterm-256color"}
    for name, value in fake.items():
        env[name] = value if isinstance(value, str) else json.dumps(value)
    for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS"):
        if name in os.environ:
            env[name] = os.environ[name]
    return env


def run(*arguments, status=0, stdin=b"", cwd=None, **fake):
    done = subprocess.run([FAKE, *arguments], env=environment(**fake), input=stdin, timeout=30,
                          capture_output=True, check=False, cwd=cwd)
    assert done.returncode == status, done
    return done.stdout.decode(), done.stderr.decode()


def terminal(*arguments, rows=24, columns=80, **fake):
    return Terminal([FAKE, *arguments], rows, columns, environment(**fake), "/tmp")


def lines(text):
    return [json.loads(line) for line in text.splitlines()]


def no_controls(text):
    return all(c >= " " or c == "\n" for c in text) and "\u202e" not in text


# ---- Forms -------------------------------------------------------------------------------------


def test_plain_lines():
    out, err = run("up", FAKE_OP=UP, FAKE_STATUS=[WEB])
    assert out.splitlines()[:-1] == [
        "web: creating from busybox",
        "web: provision: packages",
        "web packages | half a line",
        "web packages | 100%",
        "web packages | \\x1b[2Jevil\\u202e",
        "web: provision: packages (2.1 s)",
    ]
    assert out.splitlines()[-1].startswith("web is up in ")
    assert out.endswith("· ssh: venv ssh · http://127.0.0.1:8080 → 80\n")
    assert err == "warning: web: no limit \\x1b[31m\n"


def test_quiet_leaves_warnings_and_errors():
    out, err = run("up", "-q", FAKE_OP=UP, FAKE_STATUS=[WEB])
    assert out == ""
    assert err.startswith("warning:")


def test_ascii_without_utf8():
    env = environment(FAKE_OP=UP, FAKE_STATUS=[WEB])
    env["LANG"] = "C"
    done = subprocess.run([FAKE, "up"], env=env, capture_output=True, check=True)
    assert done.stdout.isascii()
    assert b" - http://127.0.0.1:8080 -> 80\n" in done.stdout


def test_json_events_and_result():
    out, err = run("up", "--json", FAKE_OP=UP, FAKE_STATUS=[WEB])
    assert err == ""
    found = lines(out)
    assert [line["type"] for line in found] == [
        "phase-begin", "phase-end", "phase-begin", "output", "output", "warning", "phase-end", "state",
        "result"]
    assert found[1] == {"type": "phase-end", "machine": "web", "phase": "create", "elapsed_us": 800}
    assert found[4]["text"] == UP[4]["text"]
    assert found[-1] == {"type": "result", "command": "up", "result": [WEB]}
    assert "\\u001b[2J" in out and "\\u202e" in out
    assert no_controls(out)


def test_vagrant_form():
    out, _ = run("status", "--machine-readable", FAKE_STATUS=[{"name": "a,b", "state": "stopped"}])
    fields = [line.split(",") for line in out.splitlines()]
    assert all(abs(int(field[0]) - time.time()) < 60 for field in fields)
    assert fields[2][1:] == ["a%!(VAGRANT_COMMA)b", "state", "poweroff"]
    out, _ = run("ssh-config", "--machine-readable", FAKE_STATUS=[WEB])
    assert out.rstrip("\n").endswith(",web,ssh-config,Host web\\n  HostName 127.0.0.1\\n  User root\\n")


def test_an_error_is_printed_once():
    error = {"code": "TIMEOUT", "message": "it did not boot", "machine": "web",
             "details": "init\n\x1b[31mpanic", "hint": "see 'venv logs web'"}
    ops = [{"event": "error", "machine": "web", "error": error}, {"fail": error}]
    out, err = run("up", status=12, FAKE_OP=ops, FAKE_STATUS=[{"name": "web", "state": "stopped"}])
    assert out == ""
    assert err == ("error: web: it did not boot\n    | init\n    | \\x1b[31mpanic\n"
                   "hint: see 'venv logs web'\n")
    out, err = run("up", "--json", status=12, FAKE_OP=ops)
    assert err == ""
    assert lines(out) == [{"type": "error", "status": 12, **error}]


def test_errors_quote_the_line(tmp_path):
    (tmp_path / "venv.yml").write_text("box: a\n\tmemory: 2X\n")
    error = {"code": "CONFIG", "message": "a tab", "file": str(tmp_path / "venv.yml"), "line": 2,
             "column": 2, "origin": "yaml.c:7"}
    _, err = run("status", status=3, cwd=tmp_path, FAKE_ERROR=error)
    assert err == ("error: venv.yml:2:2: a tab\n   2 |         memory: 2X\n"
                   "     |         ^\n")
    _, err = run("status", "-v", status=3, cwd=tmp_path, FAKE_ERROR=error)
    assert err.endswith("origin: yaml.c:7\n")


@pytest.mark.parametrize("arguments", [["status"], ["global-status"], ["port"], ["stats"], ["plan"],
                                       ["validate"], ["approve"], ["ssh-config"], ["box", "list"],
                                       ["box", "info", "a"], ["box", "prune"], ["volume", "list"],
                                       ["volume", "rm", "a"], ["doctor"], ["version"], ["init"],
                                       ["config", "schema"], ["config", "keys"], ["halt"],
                                       ["destroy", "-f"], ["repair"], ["cp", "a", ":b"], ["up"],
                                       ["pause"], ["suspend"], ["resume"], ["snapshot", "list"],
                                       ["snapshot", "save", "a"], ["snapshot", "restore", "a"],
                                       ["snapshot", "delete", "a"], ["provision"], ["reload"], ["logs"], ["console"],
                                       ["box", "add", "a"], ["box", "build", "a"],
                                       ["box", "remove", "a"], ["completion", "bash"], ["help"],
                                       ["help", "up"], ["help", "--list"], ["help", "--man", "venv"]])
def test_every_command_answers_in_json(arguments):
    out, err = run(*arguments, "--json", FAKE_STATUS=[WEB])
    assert err == ""
    found = lines(out)
    assert found[-1]["type"] == "result"
    commands = 2 if arguments[0] in ("box", "volume", "config", "snapshot") else 1
    assert found[-1]["command"] == " ".join(arguments[:commands])
    assert "result" in found[-1]


def test_snapshots_are_listed_and_named():
    taken = [{"name": "one", "created": 1700000000, "state": "running", "size": 5 << 20}]
    out, _ = run("snapshot", "list", FAKE_SNAPSHOTS=taken)
    assert re.match(r"NAME +TAKEN +STATE +SIZE\n\s*one +2023-11-1\d \d\d:\d\d:\d\d +running +5.24 MB\n$", out), out
    assert "has no snapshot" in run("snapshot", "ls")[0]
    out, err = run("snapshot", "restore", "one", "--no-wait", FAKE_TRACE="1", FAKE_OP=[])
    assert "snapshot-restore one web 4" in err or "snapshot-restore" in err, err
    assert re.match(r"snapshot one of \S+ is restored\n$", out), out
    run("snapshot", "save", status=2)


def test_no_command_was_forgotten_in_json():
    result = lines(run("help", "--json")[0])[-1]["result"]
    commands = {c["name"]: c for c in result["commands"]}
    assert {"name": "quiet", "doc": "print results and errors only"} in result["options"]
    assert "__complete" not in commands and commands["up"]["group"] == "Machines"
    assert [c["name"] for c in commands["volume"]["commands"]] == ["list", "rm"]
    assert lines(run("--help", "--json")[0]) == lines(run("help", "--json")[0])
    assert lines(run("help", "box", "--json")[0])[-1]["result"] == commands["box"]
    tested = {arguments[0] for arguments in test_every_command_answers_in_json.pytestmark[0].args[1]}
    assert set(commands) - tested == {"ssh", "exec"}  # test_exec_output_in_json


def test_logs_end_with_a_result():
    ops = [{"event": "x", "write": "a\x1b[2Jb\n"}]
    assert lines(run("logs", "--json", FAKE_OP=ops)[0]) == [
        {"type": "output", "machine": "web", "stream": "stdout", "text": "a\x1b[2Jb\n"},
        {"type": "result", "command": "logs", "result": {"machine": "web"}}]
    assert [line["type"] for line in lines(run("logs", "--json", FAKE_OP=[])[0])] == ["result"]
    found = lines(run("logs", "--json", status=6,
                      FAKE_OP=[*ops, {"fail": {"code": "STATE", "message": "gone"}}])[0])
    assert [line["type"] for line in found] == ["output", "error"]
    process = subprocess.Popen([FAKE, "logs", "-f", "--json"], stdout=subprocess.PIPE,
                               env=environment(FAKE_OP=[*ops, {"event": "x", "wait": 20000}]))
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=10)
    assert process.returncode == 0
    assert lines(out.decode())[-1]["type"] == "result"


def test_completion_script_in_json():
    found = lines(run("completion", "fish", "--json")[0])
    assert found[-1]["result"] == {"script": run("completion", "fish")[0]}


def test_hostile_names_are_visible_everywhere():
    evil = "x\x1b[2J\n\u202e"
    machine = {"name": evil, "state": evil, "provider": evil, "box": evil, "id": evil, "project": evil,
               "directory": evil, "addresses": [{"address": evil}], "busy": evil, "warnings": [evil],
               "ports": [{"address": evil, "host": 1, "guest": 2, "protocol": evil, "name": evil}],
               "memory": 1, "machine": evil, "key": evil, "value": evil, "check": evil, "fix": evil,
               "message": evil, "version": evil, "digest": evil, "machines": [evil], "path": evil,
               "action": evil, "steps": [evil], "changes": [{"key": evil, "from": evil, "to": evil}]}
    every = {name: [machine] for name in ("FAKE_STATUS", "FAKE_GLOBAL", "FAKE_STATS", "FAKE_PLAN",
                                          "FAKE_BOXES", "FAKE_VOLUMES", "FAKE_DOCTOR",
                                          "FAKE_APPROVALS", "FAKE_KEYS")}
    for arguments in (["status"], ["global-status"], ["port"], ["stats"], ["plan"], ["validate"],
                      ["box", "list"], ["box", "info", "a"], ["volume", "list"], ["doctor"],
                      ["approve"], ["config", "keys"], ["ssh-config", "x"], ["__complete", "--", "up", ""]):
        for form in ([], ["--json"]):
            done = subprocess.run([FAKE, *form, *arguments], capture_output=True, check=False,
                                  env=environment(FAKE_BOX=machine, **every))
            for text in (done.stdout.decode(), done.stderr.decode()):
                assert no_controls(text.replace("\t", "")), (arguments, text)


# ---- Without a terminal ------------------------------------------------------------------------


def test_destroy_demands_force():
    _, err = run("destroy", status=2)
    assert "-f" in err
    _, err = run("destroy", "-f", FAKE_TRACE="1")
    assert "destroy" in err


def test_approve_demands_a_terminal():
    keys = [{"machine": "web", "key": "host_access", "value": True}]
    out, err = run("approve", status=9, FAKE_APPROVALS=keys)
    assert "host_access" in out and "not approved" in err
    _, err = run("approve", "--yes", FAKE_APPROVALS=keys, FAKE_TRACE="1")
    assert "approve" in err


def test_status_of_the_command_is_passed_on():
    run("exec", "--", "x", status=7, FAKE_OP=[{"exit": 7}])
    run("ssh", "-c", "x", status=137, FAKE_OP=[{"exit": 137}])
    run("exec", "--", "x", status=125, FAKE_OP=[{"fail": {"code": "STATE", "message": "stopped"}}])
    run("exec", "--", "x", status=125, FAKE_ERROR={"code": "NOT_FOUND", "message": "no venv.yml"})
    run("exec", "web", status=2)


def test_ssh_goes_to_the_mapped_directory():
    _, err = run("ssh", "-c", "ls 'x'", FAKE_TRACE="1", FAKE_GUEST_PATH="/work/a'b", FAKE_OP=[])
    assert "[cd '/work/a'\\''b' || exit 125\nls 'x']" in err
    _, err = run("ssh", "--", "ls", "-l", FAKE_TRACE="1", FAKE_OP=[])
    assert "[ls -l]" in err
    _, err = run("exec", "-u", "joe", "--", "ls", "a b", FAKE_TRACE="1", FAKE_GUEST_PATH="/w",
                 FAKE_OP=[])
    assert "exec web dir=/w user=joe tty=0 [ls] [a b]" in err


def test_exec_output_in_json():
    found = lines(run("exec", "--json", "--", "x", status=3,
                      FAKE_OP=[{"event": "x", "write": "ü\n"}, {"exit": 3}])[0])
    assert "".join(line["text"] for line in found if line["type"] == "output") == "ü\n"
    assert found[-1]["result"] == {"machine": "web", "exit_status": 3}


def test_signals_are_passed_on_to_the_command():
    for number in (signal.SIGINT, signal.SIGTERM):
        process = subprocess.Popen([FAKE, "exec", "--", "x"], stderr=subprocess.PIPE,
                                   env=environment(FAKE_TRACE="1", FAKE_OP=[{"wait": 20000, "exit": 0}]))
        time.sleep(0.3)
        process.send_signal(number)
        _, err = process.communicate(timeout=10)
        assert process.returncode == 128 + number
        assert f"signal {int(number)}".encode() in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_cancel(number):
    process = subprocess.Popen([FAKE, "up"], env=environment(FAKE_OP=SLOW),
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    time.sleep(0.3)
    process.send_signal(number)
    _, err = process.communicate(timeout=10)
    assert process.returncode == 128 + number
    assert err.endswith(b"error: cancelled\n")


def test_nohup_is_respected():
    process = subprocess.Popen([FAKE, "up"], stdout=subprocess.PIPE,
                               env=environment(FAKE_OP=UP[:3] + [{"event": "x", "wait": 800}]),
                               preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    time.sleep(0.3)
    process.send_signal(signal.SIGHUP)
    process.communicate(timeout=10)
    assert process.returncode == 0


def test_a_reader_that_goes_away_stops_nothing():
    process = subprocess.Popen(f"'{FAKE}' up | head -n 1; exit ${{PIPESTATUS[0]}}", shell=True,
                               executable="/bin/bash", stdout=subprocess.PIPE,
                               env=environment(FAKE_OP=UP + UP + UP))
    process.communicate(timeout=10)
    assert process.returncode == 0


# ---- At a terminal -----------------------------------------------------------------------------


def test_progress_is_drawn_and_gone_at_the_end():
    copy = [{"event": "begin", "machine": "web", "phase": "unpack"}]
    copy += [{"event": "progress", "machine": "web", "phase": "unpack", "done": i * 10**7,
              "total": 10**8, "wait": 60} for i in range(10)]
    with terminal("up", FAKE_OP=copy, FAKE_STATUS=[WEB]) as screen:
        screen.expect("█.*MB of 100 MB")
        assert screen.wait() == 0
        assert screen.seen.rstrip().endswith("→ 80".encode())


def test_a_quick_command_draws_nothing():
    with terminal("up", FAKE_OP=UP, FAKE_STATUS=[WEB]) as screen:
        assert screen.wait() == 0
        assert b"\x1b[K" not in screen.seen


def test_no_color_gives_plain_lines():
    with Terminal([FAKE, "up"], 24, 80, {**environment(FAKE_OP=UP), "NO_COLOR": "1"}, "/tmp") as screen:
        assert screen.wait() == 0
        assert b"\x1b" not in screen.seen


def test_three_interrupts():
    with terminal("up", FAKE_OP=SLOW, FAKE_SLOW_CANCEL="1") as screen:
        screen.expect("packages")
        screen.send("\x03")
        screen.expect("cancelling")
        screen.send("\x03")
        screen.expect(r"web: provision \(packages\) is being ended and undone")
        screen.send("\x03")
        screen.expect("venv repair")
        assert screen.wait() == 130


def test_destroy_asks():
    for answer, status, word in (("y\r", 0, "destroy flags"), ("n\r", 130, "nothing was destroyed"),
                                 ("\x04", 130, "nothing was destroyed")):
        with terminal("destroy", FAKE_STATUS=[WEB], FAKE_TRACE="1") as screen:
            screen.expect(r"Destroy web.*\[y/N\]")
            screen.send(answer)
            screen.expect(word)
            assert screen.wait() == status


def test_up_asks_for_approval():
    keys = [{"machine": "web", "key": "folders", "value": "~/data:/srv"}]
    with terminal("up", FAKE_APPROVALS=keys, FAKE_TRACE="1", FAKE_OP=[], FAKE_STATUS=[WEB]) as screen:
        screen.expect(r"~/data:/srv")
        screen.expect(r"\[y/N\]")
        screen.send("y\r")
        screen.expect("approve flags=0")
        screen.expect("up flags=0")
        assert screen.wait() == 0
    with terminal("up", FAKE_APPROVALS=keys, FAKE_TRACE="1") as screen:
        screen.expect(r"\[y/N\]")
        screen.send("\r")
        screen.expect("not approved")
        assert screen.wait() == 9
        assert b"up flags" not in screen.seen


def is_raw(screen):
    _, output, _, local, *_ = termios.tcgetattr(screen._master)
    cooked = (bool(output & termios.OPOST), bool(local & termios.ICANON), bool(local & termios.ECHO))
    assert len(set(cooked)) == 1
    return not cooked[0]


@pytest.mark.parametrize("number", [0, signal.SIGTERM, signal.SIGHUP, signal.SIGSEGV, signal.SIGABRT])
def test_the_terminal_is_given_back(number):
    ops = [{"event": "x", "write": "hello", "wait": 100}, {"wait": 500 if not number else 20000}]
    with terminal("ssh", FAKE_OP=ops, FAKE_TRACE="1", LSAN_OPTIONS="detect_leaks=0") as screen:
        screen.expect("resize 24 80")
        screen.expect("hello")
        assert is_raw(screen)
        screen.resize(30, 100)
        screen.expect("resize 30 100")
        if number:
            screen.process.send_signal(number)
        assert screen.wait() == (128 + number if number else 0)
        assert not is_raw(screen)


def test_a_terminal_is_given_when_there_is_one():
    with terminal("exec", "--", "x", FAKE_TRACE="1", FAKE_OP=[]) as screen:
        screen.expect("tty=1")
        screen.wait()
    with terminal("exec", "-T", "--", "x", FAKE_TRACE="1", FAKE_OP=[]) as screen:
        screen.expect("tty=0")
        screen.wait()
    _, err = run("exec", "-t", "--", "x", FAKE_TRACE="1", FAKE_OP=[])
    assert "tty=1" in err


def test_logs_are_made_visible_at_a_terminal_only():
    ops = [{"event": "x", "write": "a\x1b[2Jb\n"}]
    with terminal("logs", FAKE_OP=ops) as screen:
        screen.expect(r"a\\x1b\[2Jb")
        screen.wait()
    assert run("logs", FAKE_OP=ops)[0] == "a\x1b[2Jb\n"


def test_a_console_is_typed_into_and_left():
    with terminal("console") as screen:
        screen.expect(r"The console of 'web'. Ctrl-\] leaves it.")
        wait_for(lambda: is_raw(screen))
        screen.send("hello\x03")
        screen.expect("hello\x03")  # Ctrl-C is the machine's
        screen.send("\x1d")
        assert screen.wait() == 0
        assert not is_raw(screen)
    with terminal("console") as screen:
        screen.expect("leaves it")
        screen.send("bye")
        screen.expect("The console is closed: the machine ended, or another 'venv console' took it.")
        assert screen.wait() == 0


def test_a_console_without_a_terminal():
    with subprocess.Popen([FAKE, "console"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment()) as process:
        process.stdin.write(b"one\x1d\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"one\x1d\n"
        process.stdin.close()
        assert process.wait(timeout=10) == 0
    assert lines(run("console", "--json", stdin=b"one bye")[0]) == [
        {"type": "result", "command": "console", "result": {"machine": "web"}}]
    with subprocess.Popen([FAKE, "console", "--json"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          env=environment()) as process:
        process.stdin.write(b"one\x1b\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline()) == {
            "type": "output", "machine": "web", "stream": "stdout", "text": "one\x1b\n"}
        process.stdin.close()
        assert process.wait(timeout=10) == 0


# ---- Completion --------------------------------------------------------------------------------


KEYS = [{"section": "project", "key": "machines", "type": "map of maps", "of": "machine"},
        {"section": "project", "key": "networks", "type": "map of maps", "of": "network"},
        {"section": "machine", "key": "memory", "type": "size", "doc": "how much: all"},
        {"section": "machine", "key": "oom", "type": "choice", "choices": ["kill", "freeze"]},
        {"section": "machine", "key": "primary", "type": "boolean"},
        {"section": "machine", "key": "env", "type": "map of text"},
        {"section": "machine", "key": "ssh", "type": "map", "of": "ssh"},
        {"section": "machine", "key": "libvirt", "type": "map", "of": "libvirt", "supported": False},
        {"section": "network", "key": "subnet", "type": "text"},
        {"section": "ssh", "key": "port", "type": "port"}]
WORLD = {"FAKE_STATUS": [WEB, {"name": "db"}], "FAKE_KEYS": [{"supported": True, **k} for k in KEYS],
         "FAKE_BOXES": [{"name": "busybox"}, {"name": "mine"}, {"name": "mine"}],
         "FAKE_RECIPES": [{"name": "busybox", "description": "small"}, {"name": "debian/12"}]}


def complete(*words):
    out, _ = run("__complete", "--", *words, **WORLD)
    return [line.split("\t")[0] for line in out.splitlines()]


def test_completion():
    assert complete("st") == ["status", "stats"]
    assert complete("up", "") == ["web", "db"]
    assert complete("up", "w") == ["web"]
    assert complete("up", "db", "") == ["web"]
    assert complete("box", "a") == ["add"]
    assert complete("help", "box", "a") == ["add"]
    assert complete("help", "up", "") == []
    assert complete("up", "--prov") == ["--provider", "--provision"]
    assert complete("up", "--provider", "k") == ["kvm"]
    assert complete("up", "--provider=k") == ["--provider=kvm"]
    assert complete("--color=") == ["--color=auto", "--color=always", "--color=never"]
    assert complete("--file=x", "up", "d") == ["db"]
    assert complete("--file=") == [":files"]
    assert complete("completion", "") == ["bash", "zsh", "fish"]
    assert complete("cp", "d") == ["db:", ":files"]
    assert complete("cp", "db:") == []
    assert complete("-C", "") == [":dirs"]
    assert complete("ssh", "web", "") == []
    assert complete("init", "") == ["busybox", "mine", "debian/12"]
    assert complete("box", "build", "d") == ["debian/12", ":dirs"]
    assert complete("box", "info", "") == ["busybox", "mine"]


def test_completion_of_settings():
    assert complete("up", "--set", "") == ["machines.", "networks.", "memory=", "oom=", "primary=", "env.",
                                           "ssh."]
    assert complete("reload", "--set=m") == ["--set=machines.", "--set=memory="]
    assert complete("up", "--set", "machines.") == ["machines.web.", "machines.db."]
    assert complete("up", "db", "--set", "machines.d") == ["machines.db."]
    assert complete("up", "--set", "machines.web.m") == ["machines.web.memory="]
    assert complete("up", "--set", "machines.web.oom=f") == ["machines.web.oom=freeze"]
    assert complete("up", "--set", "primary=") == ["primary=true", "primary=false"]
    assert complete("up", "--set=oom=k") == ["--set=oom=kill"]
    assert complete("up", "--set", "ssh.") == ["ssh.port="]
    assert complete("up", "--set", "networks.") == []
    assert complete("up", "--set", "networks.a.") == ["networks.a.subnet="]
    for nothing in ("env.", "env.A=", "none.", "none=", "machines.web.machines", "machines=", "ssh.x.", "memory="):
        assert complete("up", "--set", nothing) == []


# What is typed (a tab stands for the key), and the words that the command then gets.
TYPED = [
    ("up w\tX", ["up", "web", "X"]),
    ("up db \tX", ["up", "db", "web", "X"]),
    ("glo\tX", ["global-status", "X"]),
    ("up --provider=c\tX", ["up", "--provider=container", "X"]),
    ("up --set pri\tt\tX", ["up", "--set", "primary=true", "X"]),
    ("up --set=mem\t2G X", ["up", "--set=memory=2G", "X"]),
    ("up --set machines.w\tmem\t2G X", ["up", "--set", "machines.web.memory=2G", "X"]),
    ("cp w\t/x X", ["cp", "web:/x", "X"]),
    ("cp web:/x fi\tX", ["cp", "web:/x", "file", "X"]),
    ("cp a\\ f\tX", ["cp", "a file", "X"]),
    ("init d\tX", ["init", "debian/12", "X"]),
    ("box build d\tX", ["box", "build", "debian/12", "X"]),
    ("box build ./t\t X", ["box", "build", "./there/", "X"]),
    ("--file=fi\tX", ["--file=file", "X"]),
]


@pytest.fixture(name="shell_world")
def make_shell_world(tmp_path):
    """A directory with a few files; `venv` completes, and else prints the words that it got."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin/venv"
    program.write_text(f"#!/bin/sh\ncase $1 in __complete | completion) exec '{FAKE}' \"$@\" ;; esac\n"
                       "printf '<'; printf '[%s]' \"$@\"; echo '>'\n")
    program.chmod(0o755)
    (tmp_path / "work/there").mkdir(parents=True)
    (tmp_path / "work/file").touch()
    (tmp_path / "work/a file").touch()
    env = environment(**WORLD)
    env.update(PATH=f"{tmp_path}/bin:{env['PATH']}", HOME=str(tmp_path), XDG_CONFIG_HOME=str(tmp_path))
    return str(tmp_path / "work"), env


def need_shell(name):
    if not shutil.which(name, path="/usr/bin:/bin"):
        pytest.skip(f"{name} is not installed")


SHELLS = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], 'eval "$(venv completion bash)"'),
    "zsh": (["zsh", "-f", "-i"],
            "unsetopt zle_bracketed_paste; autoload -Uz compinit; compinit -u -D; source <(venv completion zsh)"),
}


@pytest.mark.parametrize("shell", SHELLS)
def test_completion_at_the_keyboard(shell_world, shell):
    need_shell(shell)
    work, env = shell_world
    argv, load = SHELLS[shell]
    with Terminal(argv, 50, 200, env, work) as screen:
        screen.send(f"{load}; PS1='ready'; echo loa''ded\r")
        screen.expect("loaded")
        for typed, words in TYPED:
            screen.expect("ready")
            for part in re.split("(\t)", f"venv {typed}\r"):
                screen.send(part)
                if part == "\t":
                    time.sleep(0.15)  # zsh takes keys that wait already for pasted text
            got = screen.expect(r"<(\[.*\])>").group(1).decode()
            # zsh takes the slash behind a directory away again
            assert got.replace("/]", "]") == "".join(f"[{word.rstrip(chr(47))}]" for word in words), typed


@pytest.mark.parametrize("shell", SHELLS)
def test_completion_lists(shell_world, shell):
    need_shell(shell)
    work, env = shell_world
    argv, load = SHELLS[shell]
    with Terminal(argv, 50, 200, env, work) as screen:
        screen.send(f"{load}; PS1='ready'; echo loa''ded\r")
        screen.expect("loaded")
        screen.expect("ready")
        screen.send("venv --color=\t\t")
        screen.expect("(?s)always.*auto.*never")


def test_completion_in_fish(shell_world):
    need_shell("fish")
    work, env = shell_world

    def complete_in_fish(line):
        script = "venv completion fish | source; complete -C $argv"
        done = subprocess.run(["fish", "-c", script, line], env=env, cwd=work, timeout=30,
                              capture_output=True, check=True)
        return [found.split("\t")[0] for found in done.stdout.decode().splitlines()]

    assert complete_in_fish("venv up w") == ["web"]
    assert complete_in_fish("venv up db ") == ["web"]
    assert complete_in_fish("venv up --provider=c") == ["--provider=container"]
    assert complete_in_fish("venv up --set mem") == ["memory="]
    assert complete_in_fish("venv cp w") == ["web:"]
    assert complete_in_fish("venv cp fi") == ["file"]
    assert complete_in_fish("venv --file=fi") == ["--file=file"]
    assert complete_in_fish("venv box build ./t") == ["./there/"]
    assert complete_in_fish("venv init d") == ["debian/12"]
    assert set(complete_in_fish("venv --color=")) == {"--color=auto", "--color=always", "--color=never"}


if __name__ == "__main__":
    if not FAKE:
        print("VENV_FAKE does not name a program")
        sys.exit(77)
    sys.exit(pytest.main([__file__, "-q", "-p", "no:cacheprovider", *sys.argv[1:]]))
