/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The process gives up what it does not need, before the guest's first instruction: the guest is hostile,
 * and whoever takes a device over finds a process that has the machine's descriptors and nothing else.
 *
 * Theory of operation: jail_process() comes when all files are open and before the first thread is made:
 * namespaces of its own where the host lets it have them, no new privileges, no core dumps, nobody's debugger, no
 * capabilities but those that shared folders and volumes need, no file system but those (Landlock), files as the
 * guest's umask wants them. Then each thread calls jail_thread() with what it does, the main thread last; from there
 * on system calls that are not in its list kill the process.
 *   Capabilities are those of the user namespace that it is in by then: as an ordinary user its own, in which
 * nobody's files have a name but the user's and, if it has volumes, those of the user's sub-ids.
 * Where filters do not work, the machine does not start. Where Landlock is missing it does, and says so.
 */
#ifndef VMM_JAIL_H
#define VMM_JAIL_H

#include <stdbool.h>

#include "util/error.h"

enum jail_thread {
	JAIL_VCPU,   /* KVM_RUN, eventfds */
	JAIL_WORKER, /* devices whose descriptors are read and written */
	JAIL_DISK,
	JAIL_NET,
	JAIL_FOLDER,  /* what serves folders */
	JAIL_VOLUME,  /* the same, with owners */
	JAIL_SOCKETS, /* connects to Unix sockets */
	JAIL_MAIN,    /* control socket, console, KVM's state */
};

struct jail_folder {
	int fd; /* everything below it stays reachable */
	bool read_only, volume;
};

struct jail_closed {
	bool namespaces; /* network, neighbours and the root directory are gone */
	bool files;      /* Landlock: and nothing leads out of the folders */
};

/* What libc would open files for in the midst of the work, before there are threads. */
void jail_libc(void);
int jail_process(const struct jail_folder *folders, size_t n_folders, struct jail_closed *ret,
		 venv_error **err);
/* namespaces.c: 0 or -errno. In a process of one thread. */
int jail_namespaces(void);
/* In the thread itself; 0 or -errno. In builds with sanitizers, which need more, it does nothing. */
int jail_thread(enum jail_thread kind);

#endif
