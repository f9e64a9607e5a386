/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a machine writes: the directory "upper". As an ordinary user, files of sub-ids lie in
 * directories of sub-ids, so what this process may not do, the keeper program does in a user
 * namespace with the machine's map.
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "container.h"
#include "util/process.h"
#include "util/usage.h"

enum { BUDGET_MS = 500 };

static int give(const struct machine *machine, int fd, const char *name, mode_t mode,
		venv_error **err)
{
	if (machine->map->root && fchown(fd, machine->map->uid, machine->map->gid) < 0)
		return venv__fail_errno(err, errno, "cannot give '%s' to the machine", name);
	return fchmod(fd, mode) < 0
		       ? venv__fail_errno(err, errno, "cannot set the mode of '%s'", name)
		       : 0;
}

/*
 * Made whole or not at all: once it is there it is the machine's, whose owner and mode of "/" stay as its
 * root left them, and may even forbid us to open it.
 */
static int make_owned(const struct machine *machine, int parent_fd, const char *name, mode_t mode,
		      venv_error **err)
{
	_cleanup_close_ int fd = -1;
	struct stat st;
	int r;

	if (fstatat(parent_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode))
		return 0;
	r = venv__dir_make_at(parent_fd, "new", 0700, &fd, err);
	if (r == 0)
		r = give(machine, fd, name, mode, err);
	if (r == 0 && renameat(parent_fd, "new", parent_fd, name) < 0)
		r = venv__fail_errno(err, errno, "cannot make the directory '%s'", name);
	return r;
}

/*
 * "/" is root's and for all to pass, whatever the box says of it, as with Docker and containerd: archives
 * of a directory from mktemp say 0700, and then nobody but root could live in the machine.
 */
int container_upper_make(const struct machine *machine, venv_error **err)
{
	_cleanup_close_ int upper = -1;
	int r = venv__dir_make_at(machine->dir_fd, "upper", 0755, &upper, err);

	if (r == 0)
		r = make_owned(machine, upper, "fs", 0755, err);
	return r < 0 ? r : make_owned(machine, upper, "work", 0700, err);
}

/* Run "venv-keeper VERB … upper" to its end; out becomes its output, or -1. Its status, or a code. */
static int ask_keeper(const struct machine *machine, char *verb, int out, venv_error **err)
{
	_cleanup_free_ char *path = venv__context_program(machine->ctx, "venv-keeper");
	const struct idmap *map = machine->map;
	char name[] = "venv-keeper", upper[] = "upper", ids[4][16];
	char *argv[] = { name, verb, ids[0], ids[1], ids[2], ids[3], upper, NULL };
	struct spawn spawn = {
		.path = path, .argv = argv, .fds = { -1, out, -1, machine->dir_fd }, .n_fds = 4
	};
	pid_t pid;

	(void)snprintf(ids[0], sizeof(ids[0]), "%u", map->uid);
	(void)snprintf(ids[1], sizeof(ids[1]), "%u", map->gid);
	(void)snprintf(ids[2], sizeof(ids[2]), "%u", map->sub_uid);
	(void)snprintf(ids[3], sizeof(ids[3]), "%u", map->sub_gid);
	pid = path ? venv__child_start(&spawn, err) : venv__fail_nomem(err);
	return pid < 0 ? (int)pid : venv__child_wait(pid);
}

int container_upper_remove(const struct machine *machine, venv_error **err)
{
	_cleanup_error_ venv_error *problem = NULL;
	char verb[] = "remove";
	int r = venv__tree_delete(machine->dir_fd, "upper", &problem);

	if (r == 0 || machine->map->root)
		return r == 0 ? 0 : venv__error_take(take_ptr(problem), err);
	r = ask_keeper(machine, verb, -1, err);
	if (r <= 0)
		return r;
	return venv__fail(err, VENV_ERR_SYSTEM, "cannot remove what the machine wrote (status %d)",
			  r);
}

static bool ask_usage(const struct machine *machine, struct tree_usage *ret)
{
	_cleanup_close_ int read_end = -1, write_end = -1;
	unsigned long long bytes;
	char verb[] = "usage", text[64];
	int ends[2], partial;
	ssize_t n;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return false;
	read_end = ends[0];
	write_end = ends[1];
	if (ask_keeper(machine, verb, write_end, NULL) != 0)
		return false;
	(void)close(take_fd(&write_end));
	n = read(read_end, text, sizeof(text) - 1);
	text[n > 0 ? n : 0] = '\0';
	if (sscanf(text, "%llu %d", &bytes, &partial) != 2)
		return false;
	*ret = (struct tree_usage){ .bytes = bytes, .partial = partial != 0 };
	return true;
}

void container_upper_usage(const struct machine *machine, json_t *stats)
{
	struct tree_usage usage, all;

	venv__tree_usage(machine->dir_fd, "upper", BUDGET_MS, &usage);
	if (usage.denied && machine->map && !machine->map->root && ask_usage(machine, &all))
		usage = all;
	(void)json_object_set_new(stats, "disk", json_integer((json_int_t)usage.bytes));
	if (usage.partial)
		(void)json_object_set_new(stats, "disk_partial", json_true());
}
