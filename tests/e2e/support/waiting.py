"""What happens by itself, soon."""

import time


def wait_for(what, seconds=30):
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, f"did not happen in {seconds} s"
        time.sleep(0.05)
