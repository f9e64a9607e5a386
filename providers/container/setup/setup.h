/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a machine's first process is made. The keeper calls setup_clone(); everything else here
 * runs in the child, between clone3() and execve(), in the order of setup_child() (child.c).
 */
#ifndef VENV_SETUP_H
#define VENV_SETUP_H

#include <sys/types.h>

#include "../keeper/plan.h"
#include "report.h"
#include "secure.h"

/* A directory of the host. As root the keeper made a detached mount of it (the child may not walk
 * to it); else the child opens the path itself and compares it with the keeper's descriptor. */
struct setup_tree {
	const char *path;
	int fd;
	bool detached;
};

struct setup {
	const struct plan *plan;
	int sync;                  /* the child's end */
	int init_fd;               /* sealed venv-init, or -1: plan->init */
	int userns_fd;             /* the project's user namespace, or -1 */
	int cgroup_fd;             /* v2 group to be cloned into, or -1 */
	const int *cgroup_procs;   /* descriptors of cgroup.procs of v1 to enter, ended by -1 */
	struct setup_tree *layers; /* topmost first, ended by a NULL path */
	struct setup_tree upper;   /* directory that holds fs and work */
	int *folder_trees;         /* room for one per folder: filled by the child */
	const struct filter *filter;
	/* made by the child */
	int staging_fd, root_fd, proc_fd, devpts_fd, console_fd, console_master_fd;
	unsigned n_helpers; /* not reaped yet */
};

/*
 * Start the child as a child of the caller, by way of a helper that has ended when this returns.
 * @param keeper_end the keeper's end of setup->sync, which the child must not keep
 * @return its pid, or -errno; *ret_stage is where it failed
 */
pid_t setup_clone(struct setup *setup, int keeper_end);

/* fork() into a control group (-1: none). 0 in the child, or -errno */
pid_t setup_clone_into(int cgroup_fd);

/* Report a failure and end. */
_Noreturn void setup_fail(const struct setup *setup, enum setup_stage stage, int number,
			  const char *what);

_Noreturn void setup_child(struct setup *setup);
void setup_staging(struct setup *setup); /* root.c */
void setup_root(struct setup *setup);
void setup_pivot(struct setup *setup);
void setup_dev(struct setup *setup);  /* dev.c */
void setup_proc(struct setup *setup); /* proc.c */
void setup_sys(struct setup *setup);
void setup_masks(struct setup *setup);
void setup_files(struct setup *setup);   /* files.c */
void setup_folders(struct setup *setup); /* folders.c */
void setup_folders_end(struct setup *setup);
/* A detached mount of a tree, or end. */
int setup_tree_take(struct setup *setup, struct setup_tree *tree, enum setup_stage stage);
/* A detached mount of an empty directory that cannot be written. fd or -errno */
int setup_empty(const struct setup *setup);
/* A directory in the top of the root; what else has that name is replaced, no link followed. */
int setup_top_directory(const struct setup *setup, const char *name, mode_t mode);

#endif
