"""The console of a machine, as somebody at a terminal has it."""


def talk_at_the_console(venv):
    """Type a line that the machine repeats, and leave."""
    with venv.terminal("console") as console:
        console.expect("Ctrl-")
        venv("exec", "--", "sh", "-c", "(read line </dev/console; echo said $line >/dev/console) >/dev/null 2>&1 &")
        console.send("hello\r")
        console.expect("said hello", timeout=60)
        console.send("\x1d")
        assert console.wait(timeout=10) == 0
    assert "said hello" in venv("logs").stdout
