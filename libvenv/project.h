/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Projects and the records of their machines on disk.
 *
 *   <project>/.machines/{.gitignore,project.json}       only the project's uuid: it travels with a move
 *   <data>/projects/<uuid>/project.json                 path, device and inode of the directory
 *   <data>/projects/<uuid>/machines/<name>              pointer: the id of that machine
 *   <data>/projects/<uuid>/locks/<name>                 operation lock, with a note of who holds it
 *   <data>/projects/<uuid>/{approved.json,volumes/,net} approvals, named volumes, netd's socket
 *   <data>/machines/<id>/{spec.json,state.json,…}       the machine
 *   <data>/trash/<id>/                                  being destroyed
 *
 * What a guest can write (the project's directory) only ever names a uuid; everything that is believed
 * lies below <data>. The operation lock lies with the project, because it must exist before the machine
 * does: two `up` at once make one machine.
 */
#ifndef VENV_PROJECT_H
#define VENV_PROJECT_H

#include "context.h"
#include "provider.h"
#include "spec.h"

struct venv_project {
	struct venv *ctx;
	struct project_spec *spec;
	char *uuid; /* NULL until the project is known */
	int dir_fd; /* <data>/projects/<uuid>, or -1 */
};

/* Find the project's uuid; a project that has none stays without (uuid NULL). */
int venv__project_find(struct venv_project *project, venv_error **err);
/* The same, giving it one when it has none. */
int venv__project_ensure(struct venv_project *project, venv_error **err);
/* Is dir_fd a directory that this project.json describes? */
bool venv__project_is_here(const json_t *record, int dir_fd);
/* Was the directory of that project moved or deleted since a command last ran in it, at *ret_path? */
bool venv__project_is_gone(struct venv *ctx, const char *uuid, char **ret_path);

/* A machine's record. id NULL: there is no such machine. */
struct record {
	char *id;
	char *dir; /* absolute */
	int dir_fd;
	json_t *spec;  /* spec.json: what it was made from */
	json_t *state; /* state.json: what happened to it */
};
#define RECORD_INIT                                                                                \
	{                                                                                          \
		NULL, NULL, -1, NULL, NULL                                                         \
	}
void venv__machine_done(struct record *record);
#define _cleanup_record_ _cleanup_(venv__machine_done)

/* The record of a machine of a project; 0 with id NULL when there is none. */
int venv__machine_find(struct venv_project *project, const char *name, struct record *ret,
		       venv_error **err);
/* The record of any machine by id; VENV_ERR_NOT_FOUND. */
int venv__machine_open(struct venv *ctx, const char *id, struct record *ret, venv_error **err);
/* Make directory, pointer and spec.json of a new machine; spec, which has its "id", is written as it
 * is. */
int venv__machine_create(struct venv_project *project, const char *name, json_t *spec,
			 struct record *ret, venv_error **err);
/* Remove the directory that a create left which was killed before it wrote spec.json. The machine's lock is held. */
int venv__machine_sweep(struct venv_project *project, const char *name, venv_error **err);
/* Write state.json. */
int venv__machine_save(struct record *record, enum write_mode how, venv_error **err);
/* Move the machine to the trash, forget it, and empty the trash. */
int venv__machine_remove(struct venv_project *project, const char *name,
			 const struct record *record, venv_error **err);
/* What commands that were killed left there. */
int venv__trash_empty(struct venv *ctx, venv_error **err);
/* Ids of all machines of this user. */
int venv__machine_ids(struct venv *ctx, char ***ret, venv_error **err);
/* Names of machines that exist for a project though its file does not name them. */
int venv__machine_orphans(struct venv_project *project, char ***ret, venv_error **err);

enum lock_wait { LOCK_WAIT, LOCK_FAIL };
/*
 * Take the operation lock of a machine and leave a note of who holds it and why. When another process
 * holds it: wait, telling for whom through the operation, or fail with VENV_ERR_BUSY.
 * @return a descriptor (close it to let go) or a negative code
 */
int venv__operation_lock(struct venv_project *project, const char *name, const char *why,
			 enum lock_wait wait, struct venv_op *op, venv_error **err);
/* Who holds it: "venv up (pid 123)", owned by the caller; NULL when nobody does. */
char *venv__operation_holder(struct venv_project *project, const char *name);

#endif
