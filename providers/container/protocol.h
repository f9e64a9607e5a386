/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What venv-keeper answers, on the path socket "ctl" in the machine's directory (from the
 * library) and on the socket that it gives each venv-sess (from ssh). Messages as util/msg.h.
 *
 *   {"op":"state"} -> {"state":"running"|"paused"|"frozen"|"stopping","pid":N,"ssh_port":N,
 *                      "started":SECONDS,"version":N,"oom_kills":N,
 *                      "command_status":N?}  (how the image's command ended, as wait(2) says it)
 *   {"op":"exec","argv":[…]?,"user":S?,"directory":S?,"env":[…]?,
 *    "tty":{"rows":N,"columns":N,"term":S}?}
 *      + without tty: three descriptors that become stdin, stdout, stderr
 *      -> {"pid":N} + with tty: the master of the terminal. Then, on the same connection:
 *      {"op":"signal","signal":N} (to the command's process group), {"op":"resize","rows":N,
 *      "columns":N}; and at the end {"exit":N} or {"signal":N}. When the connection closes first,
 *      the command gets SIGHUP.
 *      argv absent: the user's login shell; {"shell":S} instead of argv: the login shell with -c S.
 *      {"mode":"sftp"} or {"mode":"scp","argv":[…]} instead of argv: venv-enter's own servers.
 *   {"op":"dial","host":S,"port":N} or {"op":"dial","path":S} -> {} + connected socket, made in the
 *      machine's network namespace
 *   {"op":"listen","host":S,"port":N} -> {"port":N} + listening socket in the machine (ssh -R)
 *   {"op":"listen","agent":true,"user":S} -> {"path":S} + listening unix socket (agent forwarding)
 *   {"op":"open"} -> {} + another connection of this kind: a venv-sess has one socket, and each exec
 *      and each listener keeps one (closing it ends them)
 *   {"op":"login"} -> {}: from a venv-sess whose client has logged in
 *   {"op":"ssh"} -> {} + stream socket whose other end is a new venv-sess
 *   {"op":"stop","timeout_ms":N,"signal":N?} -> {} when the machine is gone
 *   {"op":"kill"} -> {} when the machine is gone
 *   {"op":"pause"}, {"op":"resume"} -> {}
 *   {"op":"limits", "memory":B?, "cpus":R?…} -> {}
 *   {"op":"stats"} -> as provider.h
 *   {"op":"lend"} -> {} + the project's user namespace and network namespace
 *   {"op":"console"} -> {} + stream socket: what comes to /dev/console from now on, and what is typed there;
 *      whoever had one is let go
 *   {"op":"plug"} + new connection to netd -> {}
 *
 * A listener goes with its connection, and the agent's path with it.
 * How a venv-sess is started: ssh/wire/door.h.
 */
#ifndef VENV_CONTAINER_PROTOCOL_H
#define VENV_CONTAINER_PROTOCOL_H

enum { CONTAINER_PROTOCOL_VERSION = 1 };

#endif
