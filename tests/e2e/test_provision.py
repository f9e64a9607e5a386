"""Provisioning, readiness, several machines."""

import os
import time

import pytest

SMALL = "box: busybox\nnetworks: []\n"


@pytest.mark.nested
def test_steps_run_once_in_order(project, venv):
    project.write(SMALL + """provision:
  - run: echo one >> /workspace/seen
  - name: two
    run: |
      echo "$VENV_MACHINE $VENV_PROJECT" >> /workspace/seen
  - { script: three.sh, args: [a, "b c"] }
  - { copy: conf, to: /etc/x.conf, mode: "0640" }
  - { run: echo always >> /workspace/seen, when: always }
  - { run: echo never >> /workspace/seen, when: never }
""")
    project.file("three.sh", "#!/bin/sh\necho \"three $# $2\" >> /workspace/seen\n")
    project.file("conf", "value\n")
    result = venv("up")
    assert "two" in result.stdout + result.stderr
    name = os.path.basename(project.path)
    assert project.read("seen") == f"one\ndefault {name}\nthree 2 b c\nalways\n"
    assert venv("exec", "--", "sh", "-c", "cat /etc/x.conf; stat -c %a /etc/x.conf").stdout == "value\n640\n"
    venv("up")
    assert project.read("seen").endswith("always\nalways\n")
    project.file("three.sh", "#!/bin/sh\necho changed >> /workspace/seen\n")
    venv("up")
    assert "changed" in project.read("seen")
    assert project.read("seen").count("one") == 1
    venv("up", "--provision")
    assert project.read("seen").count("one") == 2
    venv("provision")
    assert project.read("seen").count("one") == 3
    assert "never" not in project.read("seen")


def test_a_failing_step_tells_and_goes_on_there(project, venv):
    project.write(SMALL + """provision:
  - run: echo one >> /workspace/seen
  - name: second step
    run: |
      echo some output
      echo the reason >&2
      test -e /workspace/ok
      echo two >> /workspace/seen
""")
    result = venv.fails("up", status=13)
    assert "second step" in result.stderr and "status 1" in result.stderr
    assert "the reason" in result.stderr
    assert "venv.yml:5:" in result.stderr
    project.file("ok")
    venv("up")
    assert project.read("seen") == "one\ntwo\n"


def test_no_provision(project, venv):
    project.write(SMALL + "provision: [ { run: touch /workspace/ran } ]\n")
    venv("up", "--no-provision")
    assert not os.path.exists(os.path.join(project.path, "ran"))


def test_reboot_in_the_middle(project, venv):
    project.write(SMALL + """provision:
  - run: touch /tmp/volatile /root/stays
  - { reboot: true }
  - run: test -e /root/stays && echo after > /workspace/seen
""")
    venv("up")
    assert project.read("seen") == "after\n"
    venv("up")


def test_hostile_output_of_a_step_is_made_visible(project, venv):
    project.write(SMALL + "provision: [ { name: evil, run: \"printf '\\\\033]0;owned\\\\007\\\\033[2J'\" } ]\n")
    result = venv("up")
    assert b"\x1b]" not in result.out + result.err
    assert b"\x07" not in result.out + result.err
    assert "owned" in result.stdout + result.stderr


def test_ready_by_command_and_by_port(project, venv):
    project.write(SMALL + """machines:
  a: { ready: { run: test -e /workspace/flag, every: 100ms, within: 20s } }
""".replace("100ms", "1s"))
    project.file("flag")
    venv("up")
    project.write(SMALL + """machines:
  a: { ready: { run: "false", every: 1s, within: 2s } }
""")
    began = time.monotonic()
    result = venv.fails("up", status=12)
    assert 1 < time.monotonic() - began < 15
    assert "ready" in result.stderr and "venv.yml:4:" in result.stderr


def test_ready_by_port(project, venv):
    project.write(SMALL + """ready: { tcp: 7777, within: 20s }
provision:
  - run: (sleep 1; exec nc -ll -p 7777 -e cat) > /dev/null 2>&1 < /dev/null &
""")
    venv("up")


def test_needs_and_parallel_machines(project, venv):
    project.write("""box: busybox
machines:
  web: { needs: { db: provisioned }, primary: true }
  db: { provision: [ { run: "sleep 1; date +%s > /workspace/db" } ] }
  other: {}
""")
    venv("up")
    assert {m["name"]: m["state"] for m in venv.json("status")} == {
        "web": "running", "db": "running", "other": "running"}
    assert venv("exec", "web", "--", "nslookup", "db").status == 0
    assert venv("exec", "--", "hostname").stdout == "web\n"
    assert venv("exec", "web", "--", "ping", "-c", "1", "-W", "2", "other").status == 0
    venv("halt", "db")
    assert {m["name"]: m["state"] for m in venv.json("status")}["db"] == "stopped"
    venv("up", "web")  # brings what it needs
    assert {m["name"]: m["state"] for m in venv.json("status")}["db"] == "running"


def test_one_failure_stops_only_what_depends(project, venv):
    project.write(SMALL + """machines:
  bad: { provision: [ { run: exit 3 } ] }
  waits: { needs: { bad: provisioned } }
  good: {}
""")
    result = venv.fails("up", status=13)
    states = {m["name"]: m["state"] for m in venv.json("status")}
    assert states == {"bad": "running", "waits": "not created", "good": "running"}
    assert "needs 'bad'" in result.stderr


def test_machines_that_the_file_forgot(project, venv):
    project.write(SMALL + "machines: { a: {}, b: {} }\n")
    venv("up")
    project.write(SMALL + "machines: { a: {} }\n")
    assert {m["name"] for m in venv.json("status")} == {"a", "b"}
    venv("destroy", "-f", "b")
    venv("destroy", "-f")
    assert project.machines() == []


def test_a_step_makes_the_login_user(project, venv, as_user):
    project.write("box: busybox\nnetworks: []\nuser: dev\n")
    result = venv("up")
    shown = result.stdout + result.stderr
    if as_user.is_root:
        assert "no user 'dev' yet" in shown and "venv reload" in shown
    result = venv.fails("ssh", "--", "true")
    assert "no user 'dev'" in result.stderr and "as: root" in result.stderr
    result = venv.fails("exec", "-u", "nosuch", "--", "true")
    assert "no user 'nosuch'" in result.stderr and "hint: " in result.stderr
    project.write("box: busybox\nnetworks: []\nuser: dev\nprovision:\n"
                  "  - run: echo dev:x:1000:1000::/:/bin/sh >> /etc/passwd\n"
                  "  - { run: id -u > /tmp/who, as: dev }\n")
    venv("up")
    assert venv("exec", "--", "cat", "/tmp/who").stdout == "1000\n"
    assert venv("ssh", "--", "id", "-u").stdout == "1000\n"
    assert "no user" not in str(venv("reload"))
    if as_user.is_root:
        assert venv("exec", "--", "stat", "-c", "%u", "/workspace").stdout == "1000\n"


def test_plan_names_the_steps_that_changed(project, venv):
    text = "box: busybox\nprovision:\n  - { name: one, run: 'true' }\n  - { name: two, run: %s }\n"
    project.write(text % "'true'")
    venv("up")
    project.write(text % "'false || true'")
    shown = venv("plan").stdout
    assert "provision: changed: two" in shown and "one" not in shown and "{" not in shown, shown
    project.write((text % "'true'").replace("name: two", "name: three"))
    shown = venv("plan").stdout
    assert "provision: new: three" in shown and "provision: no longer there: two" in shown, shown
    project.write(text % "'true'" + "ports: [ 8080:80 ]\nenv: { A: b }\n")
    shown = venv("plan").stdout
    assert "ports: nothing → {address: 127.0.0.1, guest: 80, host: 8080" in shown and '"' not in shown, shown
    assert "env: nothing → {A: b}" in shown, shown
