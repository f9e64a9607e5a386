/* SPDX-License-Identifier: Apache-2.0 */
/* A machine of venv-vmm as the library starts it: the program, its directory, its socket; guests of tests/guest/. */
#ifndef VENV_TEST_VMM_WORLD_H
#define VENV_TEST_VMM_WORLD_H

#include "tests/unit/test.h"

#include <sys/types.h>

#include "util/error.h"
#include "util/json.h"
#include "util/msg.h"

enum { PATIENCE_MS = 30000, MEMORY = 16 << 20 };

struct world {
	char directory[64];
	int dir_fd;
	int socket, ctl;
	pid_t pid;
	int pidfd;
	int patience_ms; /* of world_wait_end() */
};

/* 77, which says why, when this host has no /dev/kvm to test with; else 0: what main() returns or goes on with. */
int world_skips(void);
int world_setup(void **state);
int world_teardown(void **state);

/* A file below the directory that the environment names. */
int world_open(const char *variable, const char *name, int flags);
/* Files of the machine's directory: of that many bytes; an overlay of `backing`; to be read. */
int world_make_file(struct world *world, const char *name, off_t size);
int world_make_overlay(struct world *world, const char *name, const char *backing);
int world_reopen(struct world *world, const char *name);

/* A machine whose kernel is descriptor 1. */
json_t *world_machine(const char *cmdline);
/* Starts the program and sends it this machine. fds: after the directory. */
int world_send(struct world *world, json_t *machine, const int *fds, size_t n_fds, json_t **ret,
	       venv_error **err);
/* The same with guest_long, which must work. */
void world_start(struct world *world, json_t *machine);

int world_call(struct world *world, json_t *request, json_t **ret, struct msg_fds *fds);
int world_ask(struct world *world, const char *op);
void world_wait_end(struct world *world);
char *world_log(struct world *world); /* what its console has said; the caller's */
bool world_log_has(struct world *world, const char *text);
void world_wait_log(struct world *world, const char *text);
void world_assert_record(struct world *world, const char *text);

#endif
