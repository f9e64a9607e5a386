/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Removing or counting what a machine of an ordinary user wrote: files of sub-ids lie in
 * directories of sub-ids, so a child in a user namespace with the machine's map does it.
 */
#include "upper.h"

#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "util/idmap.h"
#include "util/msg.h"
#include "util/process.h"
#include "util/usage.h"

enum { DIRECTORY_FD = 3, BUDGET_MS = 500 };

static int remove_tree(const char *name)
{
	_cleanup_error_ venv_error *error = NULL;

	if (venv__tree_delete(DIRECTORY_FD, name, &error) == 0)
		return 0;
	(void)fprintf(stderr, "%s\n", venv_error_message(error));
	return 1;
}

static int print_usage(const char *name)
{
	struct tree_usage usage;

	venv__tree_usage(DIRECTORY_FD, name, BUDGET_MS, &usage);
	return dprintf(STDOUT_FILENO, "%llu %d\n", (unsigned long long)usage.bytes, usage.partial) <
	       0;
}

static _Noreturn void worker(int socket, int (*work)(const char *name), const char *name)
{
	char byte = unshare(CLONE_NEWUSER) < 0 ? (char)errno : 0;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	if (write(socket, &byte, 1) != 1 || read(socket, &byte, 1) != 1)
		_exit(1);
	if (setgroups(0, NULL) < 0 || setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0)
		_exit(1);
	_exit(work(name));
}

int keeper_upper(int argc, char **argv)
{
	_cleanup_error_ venv_error *error = NULL;
	struct idmap map = { 0 };
	char byte = 0;
	int pair[2];
	pid_t pid;

	if (argc != 7 || (strcmp(argv[1], "remove") != 0 && strcmp(argv[1], "usage") != 0))
		return 2;
	map.root = geteuid() == 0;
	map.uid = (uid_t)strtoul(argv[2], NULL, 10);
	map.gid = (gid_t)strtoul(argv[3], NULL, 10);
	map.sub_uid = (uid_t)strtoul(argv[4], NULL, 10);
	map.sub_gid = (gid_t)strtoul(argv[5], NULL, 10);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return 1;
	pid = fork();
	if (pid == 0)
		worker(pair[1], strcmp(argv[1], "usage") == 0 ? print_usage : remove_tree, argv[6]);
	(void)close(pair[1]);
	if (pid < 0 || read(pair[0], &byte, 1) != 1 || byte)
		return 1;
	if (venv__idmap_write(&map, pid, &error) < 0) {
		(void)fprintf(stderr, "%s\n", venv_error_message(error));
		return 1;
	}
	if (write(pair[0], &byte, 1) != 1)
		return 1;
	return venv__child_wait(pid);
}
