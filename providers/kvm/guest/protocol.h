/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a virtual machine made of a rootfs box is told at its start, and what its agent answers.
 *
 * Words: texts that each end with a NUL, one after the other; most are KEY=VALUE.
 *
 * The initramfs holds /init (ours), /venv-enter, /config and modules/. /config is words:
 *
 *   version=N  module=FILE… (in the order of loading)  later=FILE… (the rest may be waited for no longer)
 *   root=SERIAL (of the root disk)
 *   hostname=S  hosts=LINE…  dns=ADDRESS?  net=MAC ADDRESS/PREFIX MTU GATEWAY|- NAME…
 *   folder=TAG ro|rw PATH…  env=NAME=VALUE…  login=USER
 *   init=WORD…  (systemd of the image becomes process 1) or command=WORD… (it runs beside ours) with
 *   command_user=S command_directory=S command_signal=N command_is_machine=0|1 (its end is the machine's)
 *   stop_ms=N (how long everybody has to end)
 *
 * The agent listens on vsock port AGENT_PORT and answers who connects from the host. A connection carries
 * one request. Both sides send frames: length (u32), type (u8), three zeros, then length bytes; numbers
 * are little-endian. First AGENT_REQUEST: words, the op first; then AGENT_REPLY: "ok" and more, or "error",
 * number=ERRNO, what=S.
 *
 *   hello                      ok version=N command_status=N? (as wait(2) says it)
 *   exec user=S? directory=S? mode=exec|sftp|scp? shell=S? login=0|1 tty=0|1 rows=N columns=N
 *     env=NAME=VALUE… arg=WORD…
 *                              ok; then to the agent IN, SIGNAL, SIZE; from it OUT, ERR, CREDIT, DEAF, EXIT.
 *                              An IN, OUT or ERR without bytes is its end. At most AGENT_WINDOW bytes of IN
 *                              are under way: CREDIT gives back what the command took; DEAF: it reads no
 *                              more. EXIT may come before the ends of OUT and ERR. When the connection
 *                              closes before EXIT, the command gets SIGHUP.
 *   dial host=S port=N | path=S         ok; then the connection is the stream, without frames
 *   listen host=S port=N | agent=USER   ok port=N id=S path=S?; as long as the connection stays
 *   accept id=S                         ok, when somebody connects; then the stream without frames
 *   time seconds=N nanoseconds=N        ok: the clock is set
 *   sync                                ok
 *   poweroff                            ok: as the power button
 */
#ifndef VENV_KVM_GUEST_PROTOCOL_H
#define VENV_KVM_GUEST_PROTOCOL_H

enum {
	AGENT_VERSION = 1,
	AGENT_PORT = 7070,
	AGENT_HEADER = 8,
	AGENT_FRAME_MAX = 128 * 1024, /* of bytes behind the header */
	AGENT_DATA_MAX = 32 * 1024,   /* of one IN, OUT or ERR */
	AGENT_WINDOW = 256 * 1024,
};

enum agent_type {
	AGENT_REQUEST = 1,
	AGENT_REPLY,
	AGENT_IN,
	AGENT_OUT,
	AGENT_ERR,
	AGENT_CREDIT, /* u32 bytes */
	AGENT_DEAF,
	AGENT_SIGNAL, /* u32 */
	AGENT_SIZE,   /* u32 rows, u32 columns */
	AGENT_EXIT,   /* u32, as wait(2) says it */
	AGENT_TYPES
};

#endif
