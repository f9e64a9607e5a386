"""Cases of vmm.py: networks, shared folders, streams, and all of it at once."""

import hashlib
import os
import re
import socket
import subprocess
import threading
import time

from monitor import BUSYBOX, Failed, disk, expect, tap, vhost

NET = ("virtio_pci", "virtio_net", "af_packet")
FOLDERS = ("virtio_pci", "virtiofs")
STREAMS = ("virtio_pci", "vmw_vsock_virtio_transport")


def echo_tcp(address, port=5000):
    """Gives everything back, when all of it has come, to whoever connects."""
    listener = socket.create_server((address, port))

    def serve():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                data = b""
                while True:
                    more = connection.recv(1 << 16)
                    if not more:
                        break
                    data += more
                connection.sendall(data)

    threading.Thread(target=serve, daemon=True).start()
    return listener


def case_net(bench):
    """The guest pings the host and is pinged; megabytes go both ways, with all offloads; a large MTU is taken."""
    nic = tap("vmm0", "10.9.0.1/24")
    with echo_tcp("10.9.0.1"):
        m = bench.start("""ifconfig lo 127.0.0.1 up; ifconfig eth0 10.9.0.2 netmask 255.255.255.0 up
cat /sys/class/net/eth0/address /sys/class/net/eth0/mtu
ping -c 3 -W 5 10.9.0.1 | grep received
seq 1 1000000 > /tmp/sent; md5sum < /tmp/sent
nc 10.9.0.1 5000 < /tmp/sent > /tmp/back; md5sum < /tmp/back
echo UP; read -r _; poweroff -f
""", modules=NET, devices=[{"kind": "net", "slot": 5, "tap": nic, "mac": "02:00:00:00:0a:02", "mtu": 1500}])
        m.wait("UP")
        ping = subprocess.run([BUSYBOX, "ping", "-c", "3", "-W", "5", "10.9.0.2"], capture_output=True, text=True, check=False)
        os.write(m.console(), b"\n")
        m.end()
    log = m.log()
    expect(log, "^02:00:00:00:0a:02$", "^1500$", "3 packets received")
    sums = re.findall(r"^(\w{32})  -", log, re.M)
    if len(sums) != 2 or sums[0] != sums[1]:
        raise Failed("what came back is not what was sent: %s" % sums)
    if ping.returncode:
        raise Failed("the host does not reach the guest: %s" % ping.stdout)
    return "pings and 7 MB both ways"


def network(with_vhost):
    nic = {"kind": "net", "slot": 5, "tap": tap("vmm0", "10.9.0.1/24"), "mac": "02:00:00:00:0a:02", "mtu": 1500}
    return [{**nic, "vhost": vhost()} if with_vhost else nic]


def through(m, with_vhost, after):
    """Let the script go on: each side pings the other, and frames go the way they should."""
    before = m.log().count("3 packets received")
    os.write(m.console(), b"\n")
    m.wait(after)
    if m.log().count("3 packets received") != before + 1:
        raise Failed("the guest does not reach the host:\n" + m.log()[-2000:])
    ping = subprocess.run([BUSYBOX, "ping", "-c", "3", "-W", "5", "10.9.0.2"], capture_output=True, text=True, check=False)
    if ping.returncode:
        raise Failed("the host does not reach the guest: %s\n%s" % (ping.stdout, m.log()[-2000:]))
    if len(m.vhosts()) != with_vhost:
        raise Failed("threads of vhost: %s" % m.vhosts())


def case_vhost(bench):
    """The kernel carries the frames; saved with vhost the machine goes on without, and the other way round."""
    script = """ifconfig lo 127.0.0.1 up; ifconfig eth0 10.9.0.2 netmask 255.255.255.0 up
seq 1 300000 > /tmp/sent; echo READY
for i in 1 2 3; do
	read -r _; ping -c 3 -W 5 10.9.0.1 | grep received
	nc 10.9.0.1 5001 < /tmp/sent > /tmp/back; cmp /tmp/sent /tmp/back && echo same $i
	echo ROUND $i
done
read -r _; ifconfig eth0 down; rmmod virtio_net; insmod /modules/virtio_net.ko; ifconfig eth0 10.9.0.2 up
ping -c 3 -W 5 10.9.0.1 | grep received; echo ROUND 4; read -r _; poweroff -f
"""
    state, done = (), []
    with echo_tcp("0.0.0.0", 5001):
        for number, with_vhost in enumerate((True, False, True), 1):
            m = bench.start(script, modules=NET, memory=256, state=state, devices=network(with_vhost),
                            id="fedcba9876543210" * 2, limits={"cpu_weight": 50})
            if not state:
                m.wait("READY")
            through(m, with_vhost, "ROUND %d" % number)
            expect(m.log(), "^same %d$" % number)
            done.append("%d vhost" % len(m.vhosts()))
            if number < 3:
                state = os.memfd_create("state"), os.memfd_create("memory")
                m.call("save", state)
                m.call("kill")
                m.end()
    through(m, True, "ROUND 4")
    os.write(m.console(), b"\n")
    m.end()
    return "pings and 2 MB both ways, three times: " + ", ".join(done)


def make_tree(bench):
    tree = bench.path("shared")
    os.mkdir(tree)
    os.mkdir(tree + "/.machines")
    with open(tree + "/hello", "w") as file:
        file.write("hello from the host\n")
    os.chmod(tree + "/hello", 0o644)
    return tree


def folder(slot, tag, tree, **more):
    return {"kind": "fs", "slot": slot, "tag": tag, "directory": os.open(tree, os.O_RDONLY | os.O_DIRECTORY),
            "uid": 1000, "gid": 1000, **more}


def case_folders(bench):
    """A folder to be written and one to be read: owners, kinds of files, sync, what the other side changes."""
    tree = make_tree(bench)
    m = bench.start("""mkdir /rw /ro; mount -t virtiofs rw /rw && mount -t virtiofs -o ro ro /ro
cat /rw/hello; ls -ln /rw/hello; ls -a /rw | grep -c machines
umask 027; mkdir -p /rw/a/b; echo one > /rw/a/b/file; ln -s file /rw/a/b/link; ln /rw/a/b/file /rw/a/b/hard; cat /rw/a/b/link
mv /rw/a/b /rw/c; chmod 0600 /rw/c/file; rmdir /rw/a; touch -d '2001-02-03 04:05:06' /rw/c/file
dd if=/dev/urandom of=/rw/large bs=1M count=6 conv=fsync 2>/dev/null; md5sum /rw/large
mkdir /rw/many; i=0; while [ $i -lt 150 ]; do echo $i > /rw/many/$i; i=$((i+1)); done; ls /rw/many | wc -l
rm -r /rw/many; cp /bin/busybox /rw; /rw/busybox echo runs
echo x > /ro/hello || echo refused; cat /ro/c/link
echo READY; read -r _; cat /rw/later; umount /rw /ro; echo DONE; poweroff -f
""", modules=FOLDERS, devices=[folder(12, "rw", tree), folder(13, "ro", tree, read_only=True)])
    m.wait("READY")
    with open(tree + "/later", "w") as file:
        file.write("written later\n")
    os.write(m.console(), b"\n")
    m.wait("DONE")
    m.end()
    expect(m.log(), "^hello from the host", r"^-rw-r--r-- +1 1000 +1000 +20 .*hello", "^0$", "^one$", "^150$", "^runs$",
           "^refused$", "^written later$")
    st = os.stat(tree + "/c/file")
    if (st.st_mode, st.st_uid, st.st_nlink, int(st.st_mtime)) != (0o100600, os.getuid(), 2, 981173106):
        raise Failed("of the host: %s" % (st,))
    with open(tree + "/large", "rb") as file:
        expect(m.log(), "^%s  /rw/large" % hashlib.md5(file.read()).hexdigest())
    if sorted(os.listdir(tree)) != [".machines", "busybox", "c", "hello", "large", "later"]:
        raise Failed("left behind: %s" % os.listdir(tree))
    if os.readlink(tree + "/c/link") != "file" or os.stat(tree + "/c").st_mode != 0o40750:
        raise Failed("not as the guest made it")
    return "as they should be"


def streams(bench):
    os.mkdir(bench.path("ports"))
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(bench.path("vsock"))
    listener.listen()
    directory = os.open(bench.path("ports"), os.O_RDONLY | os.O_DIRECTORY)
    return listener, {"kind": "vsock", "slot": 30, "cid": 3, "listener": os.dup(listener.fileno()), "directory": directory}


def connect(bench, port):
    """To a port of the guest's. None: nobody is there yet."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(60)
    connection.connect(bench.path("vsock"))
    connection.sendall(b"CONNECT %d\n" % port)
    line = b""
    while not line.endswith(b"\n"):
        byte = connection.recv(1)
        if not byte:
            connection.close()
            return None
        line += byte
    if not line.startswith(b"OK "):
        raise Failed("connect: %r" % line)
    return connection


def case_streams(bench):
    """Megabytes to a port of the guest's and back; the guest asks a port of the host's, and one that is not there."""
    listener, device = streams(bench)
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    server.bind(bench.path("ports/9000"))
    server.listen()
    m = bench.start("""vsock_pipe echo 7000 &
echo question | vsock_pipe send 9000; echo nobody | vsock_pipe send 9001
echo READY; read -r _; poweroff -f
""", modules=STREAMS, programs=[bench.tool("vsock_pipe")], devices=[device])
    server.settimeout(100)
    with server.accept()[0] as connection:
        question = b""
        while not question.endswith(b"\n"):
            question += connection.recv(100)
        connection.sendall(b"answer to " + question)
    m.wait("READY")
    connection = connect(bench, 7000)
    sent = os.urandom(3 << 20)
    thread = threading.Thread(target=lambda: (connection.sendall(sent), connection.shutdown(socket.SHUT_WR)))
    thread.start()
    back = bytearray()
    while len(back) < len(sent):
        more = connection.recv(1 << 16)
        if not more:
            break
        back += more
    thread.join()
    connection.close()
    if bytes(back) != sent:
        raise Failed("%d of %d bytes came back, or others" % (len(back), len(sent)))
    if connect(bench, 7001):
        raise Failed("nobody listens there")
    os.write(m.console(), b"\n")
    m.end()
    expect(m.log(), "^answer to question$", "^send: Connection (reset|refused)")
    listener.close()
    return "3 MiB there and back"


def case_all(bench):
    """All kinds of devices in one machine of two processors: it is restarted while they work, and works again."""
    tree = make_tree(bench)
    with open(bench.path("raw"), "wb") as file:
        file.truncate(16 << 20)
    listener, device = streams(bench)
    m = bench.start("""mount -t virtiofs rw /mnt; ifconfig eth0 10.9.0.2 up; vsock_pipe echo 7000 &
dd if=/dev/hwrng bs=64 count=1 2>/dev/null | wc -c
echo $(grep -c processor /proc/cpuinfo) processors; cat /mnt/hello
if [ ! -e /mnt/again ]; then
	touch /mnt/again
	while :; do dd if=/dev/urandom of=/dev/vda bs=64k count=64 conv=fsync; done >/dev/null 2>&1 &
	while :; do ls -lR /mnt; dd if=/dev/zero of=/mnt/zeroes bs=64k count=64; done >/dev/null 2>&1 &
	ping 10.9.0.1 >/dev/null &
	sleep 3; echo b > /proc/sysrq-trigger; sleep 100
fi
ping -c 2 -W 5 10.9.0.1 | grep received; echo written > /dev/vda; sync; head -n 1 /dev/vda
echo READY; read -r _; poweroff -f
""", cpus=2, memory=256, modules=(*NET, *FOLDERS, *STREAMS, "virtio_blk", "virtio_rng", "virtio_balloon"),
                    programs=[bench.tool("vsock_pipe")],
                    devices=[{"kind": "rng", "slot": 1}, {"kind": "balloon", "slot": 2},
                             disk(3, (bench.path("raw"), "raw", "raw")), folder(12, "rw", tree), device,
                             *network(True)])
    m.wait("READY")
    connection = connect(bench, 7000)
    connection.sendall(b"ping\n")
    if connection.recv(5) != b"ping\n":
        raise Failed("no stream after the restart")
    stats = m.call("stats")
    asked = m.call("balloon", bytes=64 << 20)
    time.sleep(2)
    os.write(m.console(), b"\n")
    m.end()
    expect(m.log(), "2 processors", "2 packets received", "^written$")
    if stats["resets"] != 1 or m.log().count("hello from the host") != 2:
        raise Failed("%s\n%s" % (stats, m.log()[-2000:]))
    listener.close()
    return "restarted at work, all there; balloon %s" % asked


CASES = {name[5:]: value for name, value in globals().items() if name.startswith("case_")}
