"""Ports, names, and what a machine must not reach."""

import os
import socket
import socketserver
import threading
import time

import pytest

WEB = "sh", "-c", "mkdir -p /www && echo works > /www/index.html && httpd -p 80 -h /www"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def fetch(port, host="127.0.0.1"):
    deadline = time.monotonic() + 5
    while True:
        try:
            with socket.create_connection((host, port), 3) as connection:
                connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
                data = b""
                while chunk := connection.recv(65536):
                    data += chunk
            if data:
                return data
        except OSError:
            pass
        assert time.monotonic() < deadline, f"nothing at {host}:{port}"
        time.sleep(0.05)


@pytest.mark.nested
def test_a_port(project, venv):
    port = free_port()
    project.write(f"box: busybox\nports: [ {port}:80 ]\n")
    venv("up")
    venv("exec", "--", *WEB)
    assert b"works" in fetch(port)
    (entry,) = venv.json("port")
    assert (entry["host"], entry["guest"]) == (port, 80)
    venv("halt")
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", port), 1).close()


def test_a_service_on_the_machines_own_loopback(project, venv):
    port = free_port()
    project.write(f"box: busybox\nports: [ {port}:8000 ]\n")
    venv("up")
    venv("exec", "--", "sh", "-c", "mkdir /www; echo inner > /www/index.html; httpd -p 127.0.0.1:8000 -h /www")
    assert b"inner" in fetch(port)


def test_automatic_and_next_ports(project, venv):
    port = free_port()
    project.write(f"""box: busybox
ports:
  - {{ host: auto, guest: 80, name: web }}
  - {{ host: {port}, guest: 81, if_taken: next }}
""")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        venv("up")
    ports = {p["guest"]: p["host"] for p in venv.json("port")}
    assert ports[80] > 0 and ports[81] != port
    venv("exec", "--", *WEB)
    assert b"works" in fetch(ports[80])


def test_a_taken_port_is_told_before_anything_is_made(project, venv, as_user):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        project.write(f"box: busybox\nports:\n  - {port}:80\n")
        result = venv.fails("up", status=11)
    assert str(port) in result.stderr and "venv.yml:3:" in result.stderr
    # who it is: by name when it is one's own process, else by its user
    holder = f"(pid {os.getpid()})" if as_user.uid == os.geteuid() else "a program of user 'root'"
    assert "is taken by" in result.stderr and holder in result.stderr, result
    assert "if_taken: next" in result.stderr
    assert project.machines() == []


def test_a_port_that_another_project_has(project, venv):
    port = free_port()
    project.write(f"name: first\nbox: busybox\nports: [ {port}:80 ]\n")
    venv("up")
    project.file("../second/venv.yml", f"box: busybox\nports: [ {port}:80 ]\n")
    result = venv.fails("up", cwd=os.path.join(venv.sandbox, "second"), status=11)
    assert "project 'first'" in result.stderr, result


def test_udp(project, venv, guest_program):
    port = free_port()
    project.file("guest", guest_program, 0o755)
    project.write(f"box: busybox\nports: [ {{ host: {port}, guest: 5353, protocol: udp }} ]\n")
    venv("up")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as early:
        early.bind(("127.0.0.1", 0))
        source = early.getsockname()
        early.sendto(b"nobody is there yet", ("127.0.0.1", port))
        time.sleep(0.2)
    venv("exec", "--", "sh", "-c", "/workspace/guest udp-echo 5353 > /dev/null 2>&1 < /dev/null &")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.bind(source)  # what was refused once is no verdict for ever
        client.settimeout(0.5)
        for _ in range(20):
            client.sendto(b"ping", ("127.0.0.1", port))
            try:
                assert client.recvfrom(100)[0] == b"ping"
                break
            except (TimeoutError, ConnectionRefusedError):
                continue
        else:
            raise AssertionError("no answer")


class Greeter(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.sendall(b"host service\n")


@pytest.fixture
def host_service():
    with socketserver.ThreadingTCPServer(("0.0.0.0", 0), Greeter) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.server_address[1]
        server.shutdown()


def own_addresses():
    """This host's addresses beyond loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
            return [probe.getsockname()[0]]
        except OSError:
            return []


@pytest.mark.nested
def test_the_host_is_closed(project, venv, host_service):
    project.write("box: busybox\n")
    venv("up")
    for address in ["127.0.0.1", "10.88.0.1", "10.0.2.2", "169.254.169.254", "0.0.0.0", *own_addresses()]:
        result = venv("exec", "--", "nc", "-w", "1", address, str(host_service), check=False, stdin=b"")
        assert "host service" not in result.stdout, address
    # root in the machine who makes his loopback a route
    venv("exec", "--", "sh", "-c", "ip addr del 127.0.0.1/8 dev lo; "
         "ip route add 127.0.0.0/8 via $(ip route | sed -n 's/default via \\([^ ]*\\).*/\\1/p'); true")
    for address in ("127.0.0.1", "127.0.0.5"):
        result = venv("exec", "--", "nc", "-w", "1", address, str(host_service), check=False)
        assert "host service" not in result.stdout, address


def test_host_access(project, venv, host_service):
    project.write("box: busybox\nhost_access: true\n")
    with venv.terminal("approve") as terminal:
        terminal.expect(r"\[y/N\]|y/n|yes")
        terminal.send("y\n")
        assert terminal.wait() == 0
    venv("up")
    result = venv("exec", "--", "nc", "-w", "2", "host.venv.internal", str(host_service), check=False)
    assert "host service" in result.stdout


def test_networks_keep_machines_apart(project, venv):
    project.write("""box: busybox
networks: { backend: { subnet: 192.168.56.0/24, mode: internal } }
machines:
  a: { networks: [ project, { name: backend, address: 192.168.56.10 } ] }
  b: { networks: [ { name: backend, address: 192.168.56.11 } ] }
  c: {}
""")
    venv("up")
    assert venv("exec", "a", "--", "ping", "-c", "1", "-W", "2", "192.168.56.11").status == 0
    assert venv("exec", "c", "--", "ping", "-c", "1", "-W", "1", "192.168.56.10", check=False).status != 0


def test_no_network_at_all(project, venv):
    project.write("box: busybox\nnetworks: []\n")
    venv("up")
    assert "eth0" not in venv("exec", "--", "ip", "addr").stdout
    assert venv("ssh", "-c", "echo still").stdout == "still\n"
