"""The main job: init, up, exec, ssh, status, halt, destroy."""

import os
import shutil
import time

import pytest

from support import image
from support.console import talk_at_the_console
from support.waiting import wait_for

SMALL = "box: busybox\n"


@pytest.mark.nested
def test_the_main_job(project, venv):
    venv("init", "busybox")
    venv("up")
    assert venv("exec", "--", "echo", "hello").stdout == "hello\n"
    assert venv("ssh", "-c", "echo over ssh").stdout == "over ssh\n"
    (machine,) = venv.json("status")
    assert machine["name"] == "default" and machine["state"] == "running"
    venv("halt")
    (machine,) = venv.json("status")
    assert machine["state"] == "stopped"
    venv("up")
    venv("destroy", "-f")
    (machine,) = venv.json("status")
    assert machine["state"] == "not created"
    assert project.machines() == []


@pytest.mark.nested
def test_what_a_machine_wrote_survives_halt_and_not_destroy(project, venv):
    project.write(SMALL)
    venv("up")
    venv("exec", "--", "sh", "-c", "echo kept > /root/file; mkdir -m 700 /root/dir; touch /root/dir/x")
    venv("halt")
    venv("up")
    assert venv("exec", "--", "cat", "/root/file").stdout == "kept\n"
    venv("destroy", "-f")
    venv("up")
    assert venv("exec", "--", "ls", "/root/file", check=False).status == 1


def test_up_twice_changes_nothing(project, venv):
    project.write(SMALL)
    venv("up")
    before = venv("exec", "--", "stat", "-c", "%y", "/proc/1").stdout
    venv("up")
    assert venv("exec", "--", "stat", "-c", "%y", "/proc/1").stdout == before


def test_what_only_virtual_machines_can_is_told(project, venv):
    project.write({"box": "busybox", "networks": []})
    venv("up")
    for command in (["suspend"], ["snapshot", "save", "a"]):
        failed = venv.fails(*command)
        assert "provider 'container'" in failed.stderr and "hint:" in failed.stderr, failed
    assert venv.json("snapshot", "list") == []
    assert "has no snapshot 'a'" in venv.fails("snapshot", "restore", "a").stderr
    assert venv.json("status")[0]["state"] == "running"


def test_reload_starts_anew(project, venv):
    project.write(SMALL + "env: { COLOUR: red }\n")
    venv("up")
    assert venv("exec", "--", "sh", "-c", "echo $COLOUR").stdout == "red\n"
    project.write(SMALL + "env: { COLOUR: blue }\n")
    result = venv("up")
    assert "reload" in result.stdout + result.stderr
    venv("reload")
    assert venv("exec", "--", "sh", "-c", "echo $COLOUR").stdout == "blue\n"


def test_what_a_machine_made_of_its_root_directory_stays(project, venv):
    """Owner and mode of "/", even when they keep the host's user out."""
    project.write(SMALL)
    venv("up")
    venv("exec", "--", "sh", "-c", "chown 1000:1000 / && chmod 711 /")
    venv("halt")
    venv("up")
    assert venv("exec", "--", "stat", "-c", "%u:%g %a", "/").stdout == "1000:1000 711\n"
    venv("exec", "--", "chmod", "700", "/")
    venv("reload")
    assert venv("exec", "--", "stat", "-c", "%u:%g %a", "/").stdout == "1000:1000 700\n"


def test_what_only_a_new_machine_can_have_is_never_dropped(project, venv):
    project.write(SMALL)
    venv("up")
    project.write("box: other/one\nprovider: container\nversion: '>= 1'\nhostname: x\n")
    for command in ("up", "reload", "up"):
        said = venv(command).stdout
        assert all(key in said for key in ("box", "provider", "version")) and "'venv destroy" in said, said
        (plan,) = venv.json("plan")
        remake = {change["key"]: change.get("remake", False) for change in plan["changes"]}
        assert remake["box"] and remake["provider"] and remake["version"]
    assert "hostname" not in remake
    assert "needs 'venv destroy' and 'venv up'" in venv("plan").stdout


def test_status_of_commands_is_passed_on(project, venv):
    project.write(SMALL)
    venv("up")
    assert venv("exec", "--", "sh", "-c", "exit 7", check=False).status == 7
    assert venv("ssh", "-c", "exit 9", check=False).status == 9
    assert venv("exec", "--", "sh", "-c", "kill -9 $$", check=False).status == 137
    assert venv("exec", "--", "/nonexistent", check=False).status == 127


def test_own_failures_of_exec_are_125(project, venv):
    project.write(SMALL)
    result = venv.fails("exec", "--", "true", status=125)
    assert "venv up" in result.stderr


@pytest.mark.parametrize("how", ["exec", "ssh"])
def test_binary_data_both_ways(project, venv, how):
    project.write(SMALL)
    venv("up")
    data = os.urandom(3_000_001)
    argv = ("exec", "--", "cat") if how == "exec" else ("ssh", "-c", "cat")
    assert venv(*argv, stdin=data).out == data


def test_output_and_errors_are_apart(project, venv):
    project.write(SMALL)
    venv("up")
    for argv in (("exec", "--", "sh", "-c", "echo out; echo err >&2"),
                 ("ssh", "-c", "echo out; echo err >&2")):
        result = venv(*argv)
        assert (result.stdout, result.stderr) == ("out\n", "err\n")


def test_a_terminal(project, venv):
    project.write(SMALL)
    venv("up")
    with venv.terminal("ssh", rows=31, columns=97) as terminal:
        terminal.expect(r"[#$] ")
        terminal.send("stty size; tty\n")
        terminal.expect(r"31 97")
        terminal.expect(r"/dev/pts/\d")
        terminal.resize(40, 120)
        time.sleep(0.3)
        terminal.send("stty size\n")
        terminal.expect(r"40 120")
        terminal.send("sleep 100\n")
        time.sleep(0.3)
        terminal.send("\x03")
        terminal.expect(r"[#$] ")
        terminal.send("exit 3\n")
        assert terminal.wait() == 3


def test_ssh_lands_in_the_directory_one_stands_in(project, venv):
    project.write(SMALL)
    project.file("src/lib/x", "")
    venv("up")
    inner = os.path.join(project.path, "src", "lib")
    assert venv("ssh", "-c", "pwd", cwd=inner).stdout == "/workspace/src/lib\n"
    assert venv("exec", "--", "pwd", cwd=inner).stdout == "/workspace/src/lib\n"


def test_pause_and_resume(project, venv, as_user):
    project.write(SMALL)
    venv("up")
    result = venv("pause", check=False)
    if result.status:
        assert "hint" in result.stderr or "control" in result.stderr
        pytest.skip("no control groups for this user here: " + result.stderr.strip())
    (machine,) = venv.json("status")
    assert machine["state"] == "paused"
    assert "resume" in venv.fails("exec", "--", "true").stderr
    venv("resume")
    venv("exec", "--", "true")


def test_destroy_of_a_paused_machine(project, venv):
    project.write(SMALL)
    venv("up")
    venv("pause", check=False)
    venv("destroy", "-f")


def test_destroy_asks(project, venv):
    project.write(SMALL)
    venv("up")
    venv.fails("destroy")
    with venv.terminal("destroy") as terminal:
        terminal.expect(r"\[y/N\]|\(y/N\)|y/n|yes")
        terminal.send("n\n")
        terminal.wait()
    (machine,) = venv.json("status")
    assert machine["state"] == "running"


def test_ctrl_c_ends_following_a_log(project, venv):
    project.write(SMALL)
    venv("up")
    with venv.terminal("logs", "-f") as terminal:
        venv("exec", "--", "sh", "-c", "echo hello >/dev/console")
        terminal.expect("hello")
        terminal.send("\x03")
        assert terminal.wait(timeout=5) == 0


@pytest.mark.parametrize("command", [["exec", "nobody", "--", "true"], ["ssh", "nobody"]])
def test_an_unknown_machine_is_not_blamed_on_another(project, venv, command):
    project.write("box: busybox\nmachines: { db: {}, web: {} }\n")
    assert venv.fails(*command).stderr.startswith("error: venv.yml names no machine 'nobody'")


def test_a_failed_up_does_not_say_that_all_is_well(project, venv):
    project.write(SMALL + "ready: { run: 'false', every: 100ms, within: 500ms }\n")
    result = venv.fails("up", "--timings", status=12)
    assert "default runs, but" in result.stdout and "is up" not in result.stdout
    (line,) = [line for line in result.stdout.splitlines() if " ready " in line]
    assert float(line.split()[2]) >= 500


def test_logs(project, venv):
    project.write(SMALL)
    venv("up")
    venv("exec", "--", "sh", "-c", "echo to the console > /dev/console")
    wait_for(lambda: "to the console" in venv("logs").stdout)


@pytest.mark.nested
def test_the_console_is_seen_and_typed_at(project, venv):
    project.write(SMALL)
    assert "does not exist yet" in venv.fails("console").stderr
    venv("up")
    with venv.terminal("console") as first:
        first.expect("Ctrl-")
        with venv.terminal("console") as second:
            second.expect("Ctrl-")
            first.expect("another 'venv console' took it")
    talk_at_the_console(venv)
    with venv.terminal("console") as console:
        console.expect("Ctrl-")
        venv("halt")
        console.expect("the machine ended")
        assert console.wait(timeout=5) == 0
    assert "machine 'default' is stopped" in venv.fails("console").stderr


def test_stats(project, venv):
    project.write(SMALL)
    venv("up")
    (stats,) = venv.json("stats")
    assert stats["state"] == "running"


def test_stats_without_control_groups(project, venv):
    """Where nothing but the disk can be counted, the machine is shown all the same."""
    project.write(SMALL)
    venv("up")
    venv("exec", "--", "sh", "-c", "head -c 3000000 /dev/urandom > /file; sync")
    (stats,) = venv.json("stats")
    assert stats["disk"] >= 3_000_000
    if "memory" in stats:
        pytest.skip("this user has control groups")
    assert not {"memory", "cpu_us", "pids"} & set(stats)
    _, row = venv("stats").stdout.splitlines()
    assert row.startswith("default") and " 3." in row
    assert "no machine" not in venv("stats").stdout


def test_ten_cycles(project, venv):
    project.write(SMALL + "ports: [ { host: auto, guest: 80 } ]\n")
    for _ in range(10):
        venv("up")
        venv("exec", "--", "true")
        venv("destroy", "-f")


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_hundred_cycles(project, venv):
    project.write(SMALL + "ports: [ { host: auto, guest: 80 } ]\n")
    for _ in range(100):
        venv("up")
        venv("ssh", "-c", "true")
        venv("destroy", "-f")


def test_a_directory_that_is_not_ours(venv, project):
    """The second try fails as the first one did, and nothing is remembered of it."""
    project.write("box: busybox\n")
    os.chmod(project.path, 0o555)
    if venv.account.is_root:
        pytest.skip("root may write anywhere")
    for _ in range(2):
        assert "belongs to another user" in venv.fails("up", status=9).stderr
    os.chmod(project.path, 0o755)
    assert project.machines() == []
    assert os.listdir(os.path.join(project.data, "projects")) == []


def test_disk_use(project, venv):
    """Also of files in directories that the user on the host may not open."""
    project.write("box: busybox\nvolumes: [data:/data]\n")
    venv("up")
    before = venv.json("stats")[0]["disk"]
    assert before < 1 << 20
    venv("exec", "--", "sh", "-ec", "mkdir -m 700 /kept; cd /kept; head -c 5000000 /dev/urandom > file; ln file again; "
                                    "chown -R 1000:1000 /kept; head -c 5000000 /dev/urandom > /data/other; sync")
    (stats,) = venv.json("stats")
    assert 5_000_000 <= stats["disk"] - before < 6_000_000
    assert "disk_partial" not in stats
    assert " 5.0" in venv("stats").stdout


def test_sudo_and_not_are_not_mixed_in_a_project(venv, project):
    """Two users would each have machines there, and the second take the project's identity from the first."""
    if os.geteuid() != 0:
        pytest.skip("only root can make files another user's")
    project.write(SMALL)
    machines = os.path.join(project.path, ".machines")
    record = project.file(".machines/project.json", '{"version": 1, "uuid": "%032x"}' % 7)
    shutil.chown(machines, 4711, 4711)
    for command in ("up", "status"):
        result = venv.fails(command, status=9)
        assert "another user (id 4711)" in result.stderr and "hint: " in result.stderr
    assert project.read(".machines/project.json").endswith("7\"}"), record
    shutil.rmtree(machines)


def served(venv, project, config, layer):
    image.layout(project, "served", [layer], config)
    venv("box", "add", "--name", "served", "served")
    project.write("box: served\ncommand: image\nnetworks: []\nfolders: [.:/workspace]\n")
    venv("up")


def test_the_service_of_an_image_is_stopped_by_its_own_signal(project, venv):
    with open(image.busybox_root(venv.path), "rb") as file:
        layer = file.read()
    service = ("echo >/workspace/up; trap 'echo term >/workspace/term' TERM; "
               "trap 'sleep 0.5; echo done >/workspace/done; exit 0' QUIT; while :; do sleep 0.1; done")
    served(venv, project, {"Cmd": ["/bin/sh", "-c", service], "StopSignal": "SIGQUIT"}, layer)
    wait_for(lambda: os.path.exists(os.path.join(project.path, "up")))
    venv("halt")
    assert project.read("done") == "done\n"
    assert not os.path.exists(os.path.join(project.path, "term"))
    assert "ended with status 0" in venv("logs").stdout
    venv("destroy", "-f")


def test_what_a_daemon_does_when_it_ends_is_not_cut_short(project, venv):
    project.write(SMALL)
    venv("up")
    daemon = "trap 'sleep 0.5; echo done >/workspace/done; exit' TERM; echo >/workspace/up; while :; do sleep 0.1; done"
    venv("exec", "--", "sh", "-c", f"({daemon}) </dev/null >/dev/null 2>&1 &")
    wait_for(lambda: os.path.exists(os.path.join(project.path, "up")))
    with venv.terminal("ssh") as terminal:  # nor does a shell, which ignores the request, keep the machine up
        terminal.expect(r"[#$] ")
        before = time.monotonic()
        venv("halt")
        assert time.monotonic() - before < 10
        terminal.wait()
    assert project.read("done") == "done\n"


def test_a_moved_project_did_not_change(project, venv):
    project.write("box: busybox\nnetworks: []\nprovision: [{ script: ./x.sh }]\n")
    project.file("x.sh", "true\n", mode=0o755)
    venv("up")
    moved = project.path + "-moved"
    os.rename(project.path, moved)
    try:
        for command in ("up", "reload", "up"):
            result = str(venv(command, cwd=moved))
            assert "changed" not in result, result
            assert "nothing to do" in str(venv("plan", cwd=moved))
    finally:
        os.rename(moved, project.path)
    venv("plan")


def test_two_boxes_of_the_same_content(project, venv):
    """Each name knows its own source, and a pin that is there is not said to be missing."""
    project.write("box: busybox\nnetworks: []\n")
    venv("box", "build", "busybox")
    path = os.path.join(os.path.dirname(os.path.dirname(venv.path)), "share/venv/boxes/busybox/rootfs.tar")
    venv("box", "add", "--name", "other", path)
    venv("box", "add", "--name", "other@2", path)
    assert venv.json("box", "info", "other")["source"] == path
    assert venv.json("box", "info", "busybox")["source"] != path
    # another version of it, made and thrown away
    venv.run(["tar", "-cf", project.file("three.tar"), "-C", "/etc", "hostname"])
    venv("box", "add", "--name", "other@3", "three.tar")
    project.write("box: other\nnetworks: []\n")
    venv("up")
    venv("destroy", "-f")
    project.write("box: other\nnetworks: []\nversion: '~> 2'\n")
    shown = str(venv("up"))
    assert "pins version 3 of box 'other', which is not what venv.yml wants: version 2" in shown, shown
