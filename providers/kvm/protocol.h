/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What venv-vmm is told and answers. Messages as util/msg.h.
 *
 * The library starts it with /dev/null on 0 and 1, its log on 2 and on 3 a socket to itself, and sends
 *
 *   {"op":"start","spawned_us":T,"fds":N,"machine":{…}} + up to 8 descriptors, of N in all
 *   {"op":"fds"} + up to 8 more, until there are N
 *
 * and gets {"ready":true, …as "state"} or {"error":…}. T: when it was started (CLOCK_MONOTONIC). The first
 * descriptor is the machine's directory. In the machine, FD is a number from 0 to N - 1:
 *
 *   {"name":S, "memory":BYTES (a multiple of 2 MiB), "cpus":N, "sockets":N?, "stop_timeout_ms":N,
 *    "kernel":FD, "initrd":FD?, "cmdline":S          a kernel, loaded directly
 *    "firmware":FD, "boot_order":S?                  or firmware; one of both
 *    "kernel_name":S?, "initrd_name":S?, "firmware_name":S?    what messages call them
 *    "state":FD, "memory_file":FD                    a suspended machine that goes on; else absent
 *    "paused":B                                      stands still, devices too, until "resume"
 *    "devices":[{"kind":K,"slot":1…31, …}…],         at most 31; what K needs: below
 *    "network":{"socket":FD,"userns":FD,"netns":FD}  kept as long as it lives: the connection to venv-netd on
 *                                                    which its networks hang, the project's namespaces
 *    "id":S?, "limits":{…}?                          the machine's: its control groups, and their limits
 *                                                    (libvenv/cgroup/cgroup.h); no id: it stays where it is
 *    "ids":{…}?                                      for volumes: the host's ids of the guest's (util/idmap.h)
 *    "debug_exit":B}                                 tests: a port that ends the machine
 *
 * Devices:
 *
 *   {"kind":"rng"}, {"kind":"balloon"}
 *   {"kind":"console","socket":FD}       a stream
 *   {"kind":"blk","images":[{"file":FD,"format":"raw"|"qcow2","name":S}…],"read_only":B?,"serial":S?,
 *    "threads":B?}                       images from the top; each below is open for reading only, and its
 *                                        name is the one by which the image above it names it (and says
 *                                        its format). serial: 20 bytes of it. threads: no io_uring
 *   {"kind":"net","tap":FD,"vhost":FD?,"mac":"02:…","mtu":N,"address":"10.88.0.2"?}
 *                                        a TAP without packet information, with headers of 12 bytes
 *                                        (IFF_VNET_HDR); lower case. address: the guest's, in whose name
 *                                        it is announced when the machine stood still and goes on.
 *                                        vhost: /dev/vhost-net, opened for this network alone
 *   {"kind":"fs","tag":S,"directory":FD,"read_only":B?,"uid":N,"gid":N,"hide_in":FD?}
 *                                        tag: 1 to 36 bytes; uid, gid: in the guest, of the files that are
 *                                        ours. ".machines" at its top does not exist there, or in the
 *                                        directory "hide_in" below it
 *   {"kind":"volume","tag":S,"directory":FD,"read_only":B?}
 *                                        a folder whose files keep their owners, by "ids"
 *   {"kind":"vsock","cid":N,"listener":FD?,"directory":FD?}
 *                                        cid: from 3; who connects to the listener says "CONNECT PORT\n"
 *                                        and is told "OK PORT\n"; directory: of sockets named by their
 *                                        port, to which the guest may connect
 *
 * In the machine's directory it keeps "alive", locked as long as it lives, whose text is as "state" or
 * {"state":"stopped","debug_exit":N?} or {"state":"crashed","reason":S}, with "groups":[PATH…] if there are any to be
 * removed when it has ended; "console.log"; and the socket "ctl":
 *
 *   {"op":"state"} -> {"state":"running"|"paused"|"stopping","pid":N,"started":SECONDS,"version":N,"memory":BYTES}
 *   {"op":"pause"}, {"op":"resume"} -> {}
 *   {"op":"stop","timeout_ms":N?} -> {} when the machine is gone: the power button, after that time force
 *   {"op":"kill"} -> {} when the machine is gone
 *   {"op":"save"} + file for the state, file for the memory -> {}; the machine stays paused, its disks are
 *      flushed and stay as they are until "resume" or "stop"
 *   {"op":"stats"} -> {"exits":{KIND:N…},"timing_us":{PHASE:T…},"cpu_us":T,"resets":N}; times of phases
 *      count from spawned_us: configured, made, loaded, jailed, first_run
 *   {"op":"console"} -> {} + stream socket: what the guest says from now on, what it is told
 *   {"op":"own","slot":N,"uid":N,"gid":N} -> {}: whose a folder's files are in the guest from now on
 *   {"op":"lend"} -> {} + the project's user namespace and network namespace
 *   {"op":"plug"} + a new connection to venv-netd, to be kept instead of the last one -> {}
 *   {"op":"balloon","bytes":N} -> {"bytes":N}: how large it shall be -> how large it is
 *
 * "venv-vmm probe" says on stdout, as one line of JSON, {"ok":true} or {"error":…}: whether this host can
 * run unmodified kernels.
 */
#ifndef VENV_KVM_PROTOCOL_H
#define VENV_KVM_PROTOCOL_H

enum { KVM_PROTOCOL_VERSION = 1, KVM_STARTER_FD = 3, KVM_FDS_MAX = 128, KVM_CPUS_MAX = 32 };

#endif
