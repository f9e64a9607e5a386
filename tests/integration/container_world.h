/* SPDX-License-Identifier: Apache-2.0 */
/* A machine of the container provider without core: directory, box of busybox, spec. */
#ifndef VENV_TEST_CONTAINER_WORLD_H
#define VENV_TEST_CONTAINER_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "provider.h"
#include "util/buf.h"

struct world {
	struct venv ctx;
	struct machine_spec spec;
	struct machine machine;
	struct machine_folder folders[4];
	char *root;   /* temporary directory with everything */
	char *layer;  /* its box */
	char *shared; /* its folder */
	char *layers[4];
	char **before; /* what the host had: processes of ours, cgroups */
};

struct output {     /* what a command gave */
	int status; /* exit status, 128 + signal, -1: the machine died */
	char *text; /* stdout and stderr */
};

int world_setup(void **state);
int world_teardown(void **state); /* destroys, and fails when something stays behind */

void world_up(struct world *world);
void world_down(struct world *world);
enum machine_state world_state(struct world *world);
/* Wait until the machine is in a state, at most some seconds. */
void world_wait(struct world *world, enum machine_state state);
/* "sh -c SCRIPT" in the machine. The text belongs to the world's caller. */
struct output world_run(struct world *world, const char *script);
struct output world_run_as(struct world *world, const char *user, const char *script);
struct output world_exec(struct world *world, const struct exec_spec *spec);
/* The script must succeed and print exactly this. */
void world_expect(struct world *world, const char *script, const char *text);
/* A file in the box (before create) */
void world_box_file(struct world *world, const char *path, const char *text, mode_t mode);
void world_box_link(struct world *world, const char *path, const char *target);

#endif
