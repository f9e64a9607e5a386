/* SPDX-License-Identifier: Apache-2.0 */
/* What is done to one machine, and how several machines are done together. */
#ifndef VENV_LIFECYCLE_H
#define VENV_LIFECYCLE_H

#include "box/box.h"
#include "project.h"

/*
 * One machine opened for work: its record, what core prepares for the provider, and what must be let
 * go afterwards. A machine that does not exist has record.id NULL.
 */
struct work {
	struct venv_project *project;
	struct venv_op *op;
	const struct machine_spec *spec;
	const struct provider *provider;
	struct record record;
	struct box box;
	struct net_attachment net;
	struct machine machine;
	char *login;
	char *disks[2], *kernel; /* for a virtual machine: made of the box's layers; its kernel */
	int lock_fd;
	bool goes_on; /* what is started was suspended */
};
void venv__work_init(struct work *work, struct venv_project *project,
		     const struct machine_spec *spec, struct venv_op *op);
void venv__work_done(struct work *work);
#define _cleanup_work_ _cleanup_(venv__work_done)

/* Open the record and prepare what observing and talking to a machine needs. Absent is fine. */
int venv__work_open(struct work *work, venv_error **err);
/* The same from the record alone, for machines of other projects: spec, project and provider are filled
 * in as far as the record tells; the strings are the record's. */
int venv__work_open_record(struct work *work, venv_error **err);
/* The same of the machine that is so named (NULL: the primary one), which exists, and its state. */
int venv__work_open_named(struct venv_project *project, const char *name, struct venv_op *op,
			  struct work *work, enum machine_state *ret, venv_error **err);
/* The error of a machine that does not run, with what to do. */
int venv__work_not_running(const struct work *work, enum machine_state state, venv_error **err);
/* The same for a machine that must be running; says what to do when it is not. */
int venv__work_open_running(struct venv_project *project, const char *name, struct venv_op *op,
			    struct work *work, venv_error **err);
/* The state as it is now. */
int venv__work_observe(struct work *work, enum machine_state *ret, venv_error **err);
/* Remove what is left of a machine whose making or destroying was killed: its state is absent, its lock held. */
int venv__work_sweep(struct work *work, venv_error **err);
/* Find the id map, which create, start, stop, destroy and stats need, and looking at the state does
 * not: it may take the time of a name service. */
int venv__work_map(struct work *work, venv_error **err);
/* choose.c: the box that the file names, built from its recipe where there is none; it stays in work. */
int venv__work_resolve_box(struct work *work, venv_error **err);
/* The first provider that accepts the machine; wanted is its name, or NULL for what the file says. */
int venv__work_choose_provider(struct work *work, const char *wanted, venv_error **err);
/* Prepare image, folders, volumes and login for a start. */
int venv__work_prepare(struct work *work, venv_error **err);
int venv__folders_open(struct work *work, venv_error **err); /* part of it */
void venv__folders_done(struct machine *machine);
/* Add what the user should know about them. 0 or -ENOMEM */
int venv__folders_warn(const struct work *work, char ***warnings);
/* Has it a server of ssh at port 22 of its network? Else its provider's process is one. */
bool venv__work_has_sshd(const struct work *work);
/* Attach to the project's network (nothing for networks: []). */
int venv__work_attach(struct work *work, const char *id, venv_error **err);
/* For a machine that runs: when the project's network process died, start another one. */
int venv__work_rejoin(struct work *work, venv_error **err);
/* Who ssh logs in as. Owned by the caller. */
char *venv__login_name(const struct machine_spec *spec, const char *image_user);

/* The steps that the verbs are made of; the lock is held, the record open. */
int venv__work_start(struct work *work, venv_error **err);
int venv__work_stop(struct work *work, enum stop_how how, venv_error **err);
/*
 * Limits that this host cannot enforce for this user, and folders to be careful with: told now, and kept in
 * record.state for `venv status`, which the caller saves.
 */
int venv__work_warn(struct work *work, venv_error **err);
/* What state.json says that it is, beside the boot that this holds in. */
int venv__work_set_state(struct work *work, const char *state, venv_error **err);
/* suspend.c */
int venv__work_suspend(struct work *work, venv_error **err);
/* Start a suspended machine as it was started then, whatever the file says by now. */
int venv__work_go_on(struct work *work, venv_error **err);
/* It went on: wait until it can be talked to, and put its clock right. */
int venv__work_awake(struct work *work, venv_error **err);
/* Stop a machine in any state. One that is suspended goes on first, to shut down by itself, unless it is
 * killed: that gives up what it did. */
int venv__work_halt(struct work *work, enum machine_state state, enum stop_how how,
		    venv_error **err);
/* After a command that was killed while it let the machine stand still: let it go on. */
int venv__work_unfreeze(struct work *work, enum machine_state state, venv_error **err);
/* Wait until a machine that is reached by ssh alone lets us in; once for each start. */
int venv__work_contact(struct work *work, venv_error **err);
int venv__work_provision(struct work *work, uint32_t flags, venv_error **err);
int venv__work_wait_ready(struct work *work, venv_error **err);
/* Digest of a step with the files that it names; VENV_ERR_NOT_FOUND when one is missing. */
int venv__step_digest(const struct step_spec *step, char ret[65], venv_error **err);
/* Steps that `up` would run: list of names. */
json_t *venv__steps_pending(const struct machine_spec *spec, const json_t *state);

/* The last lines of a machine's console, owned by the caller; NULL when there are none. */
char *venv__console_tail(const struct record *record, unsigned lines);
/* Remember how long the console is: what comes from now on is of this start. */
void venv__console_mark(struct work *work);

/* ---- Several machines ---------------------------------------------------------------------- */

struct graph;
struct node;

/* The work on one machine. May tell milestones by venv__graph_reached() before it ends. */
typedef int (*node_fn)(struct node *node, struct venv_project *project,
		       const struct machine_spec *spec, struct venv_op *op, void *user,
		       venv_error **err);

enum graph_order { GRAPH_NEEDS_FIRST, GRAPH_NEEDS_LAST, GRAPH_ANY };

/* Tell that a machine is so far that those who wait for this may go on. */
void venv__graph_reached(struct node *node, enum need_kind kind);
/* Run fn for the machines, in parallel where `needs` allow; the first error is returned, all of them
 * are reported as events. */
int venv__graph_run(struct venv_project *project, const struct machine_spec *const *machines,
		    size_t n, enum graph_order order, node_fn fn, void *user, struct venv_op *op,
		    venv_error **err);

/*
 * What differs between the file and what the machine was started with, as from venv__spec_diff(). First
 * its record follows the project to where it is now: paths are absolute there. NULL: out of memory.
 */
json_t *venv__work_diff(struct work *work, const json_t *now);

/* approve.c: 0, or VENV_ERR_DENIED naming what was not approved. */
int venv__approval_check(struct venv_project *project, venv_error **err);
/* Only for the ssh agent: it is lent by each session, whatever the file said at the start. */
int venv__approval_check_agent(struct venv_project *project, const char *machine, venv_error **err);

#endif
