/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the child that becomes a machine's first process and the keeper tell each other while it is
 * made: fixed records over a seqpacket socket, written without allocation.
 */
#ifndef VENV_SETUP_REPORT_H
#define VENV_SETUP_REPORT_H

#include <stddef.h>
#include <stdint.h>

/* stage name, and what was being done, for the message */
#define SETUP_STAGES(X)                                                                            \
	X(NAMESPACES, "making namespaces")                                                         \
	X(IDS, "becoming root of the machine")                                                     \
	X(STAGING, "preparing mounts")                                                             \
	X(LAYERS, "opening the box's layers")                                                      \
	X(ROOT, "mounting the root file system")                                                   \
	X(DEV, "making /dev")                                                                      \
	X(PROC, "mounting /proc")                                                                  \
	X(SYS, "mounting /sys")                                                                    \
	X(FILES, "writing files in /etc")                                                          \
	X(USERS, "finding the login user")                                                         \
	X(FOLDERS, "mounting a folder")                                                            \
	X(MASKS, "hiding parts of /proc and /sys")                                                 \
	X(PIVOT, "changing the root directory")                                                    \
	X(HOSTNAME, "setting the host name")                                                       \
	X(SECURITY, "giving up rights")                                                            \
	X(INIT, "executing the first program")

enum setup_stage {
#define SETUP_STAGE_ENUM(name, text) STAGE_##name,
	SETUP_STAGES(SETUP_STAGE_ENUM)
#undef SETUP_STAGE_ENUM
		STAGE_COUNT
};

enum record_kind {
	RECORD_ERROR = 1, /* child: stage, number, what */
	RECORD_HELLO,     /* child: exists; + its network and mount namespaces */
	RECORD_USER,      /* child: value = uid, gid of the login user; waits for RECORD_TREES */
	RECORD_READY,  /* child: waits for RECORD_GO; + console master, directory of its devpts */
	RECORD_PID,    /* helper: value[0] = pid of the child */
	RECORD_MAPPED, /* keeper: the id map is written */
	RECORD_TREES,  /* keeper: + mounts of the folders, in order */
	RECORD_GO,     /* keeper: execute */
	RECORD_PTY     /* helper: + master of the terminal */
};

enum { RECORD_FDS_MAX = 64 };

struct record {
	uint32_t magic;
	uint32_t kind;
	uint32_t stage;
	int32_t number; /* errno */
	int64_t value[2];
	char what[192]; /* path or detail */
};

const char *setup_stage_text(unsigned stage);
/* 0 or -errno */
int setup_record_send(int socket, const struct record *record, const int *fds, size_t n_fds);
int setup_record_simple(int socket, enum record_kind kind, int64_t a, int64_t b);
/* 1, 0 at the end of the stream, or -errno. fds: room for max; *n_fds: how many came. */
int setup_record_receive(int socket, struct record *ret, int *fds, size_t max, size_t *n_fds);

#endif
