/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Users of a machine, read from the /etc/passwd and /etc/group in its root: bounded, without NSS,
 * so that no library of the machine is loaded by a program of ours.
 */
#ifndef VENV_ENTER_ACCOUNT_H
#define VENV_ENTER_ACCOUNT_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum { ACCOUNT_GROUPS_MAX = 64, ACCOUNT_FILE_MAX = 1024 * 1024 };

struct account {
	uid_t uid;
	gid_t gid;
	char name[64]; /* "" when only a number is known */
	char home[256];
	char shell[256];
};

/*
 * Find a user: "name", "name:group", "1000", "1000:1000"; a number needs no entry.
 * @param root_fd the root directory of the machine
 * @return 0; -ENOENT: no such user or group; -EINVAL: not a valid form; another -errno
 */
int enter_account_find(int root_fd, const char *text, struct account *ret);
/* The groups that the user is a member of, without its own; how many. */
size_t enter_account_groups(int root_fd, const struct account *account,
			    gid_t ret[ACCOUNT_GROUPS_MAX]);

/* A file of the machine, links within its root followed. NULL: not a regular file of at most max
 * bytes. Freed by the caller. */
char *enter_read_text(int root_fd, const char *path, off_t max);

/* For tests: the same on texts, which are modified. NULL: no such file. */
int enter_account_parse(char *passwd, char *group, const char *text, struct account *ret);

#endif
