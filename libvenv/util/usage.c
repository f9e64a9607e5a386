/* SPDX-License-Identifier: Apache-2.0 */
#include "usage.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "file.h"
#include "sys.h"

enum {
	WAITING_MAX = 65536,
	LOOK_EVERY = 256
}; /* directories; entries between looks at the clock */

struct walk {
	struct tree_usage *usage;
	int top;
	char **waiting; /* paths below top of directories that are still to be read */
	size_t n_waiting, capacity;
	unsigned entries;
	uint64_t deadline_us;
	bool over;
};

static void look_at_clock(struct walk *walk)
{
	if (walk->entries++ % LOOK_EVERY == 0 && venv__now_us() >= walk->deadline_us)
		walk->over = walk->usage->partial = true;
}

static void count(const struct walk *walk, const struct stat *st)
{
	uint64_t links = st->st_nlink && !S_ISDIR(st->st_mode) ? st->st_nlink : 1;

	walk->usage->bytes += (uint64_t)st->st_blocks * 512 / links;
}

static bool grow(struct walk *walk)
{
	size_t capacity = walk->capacity ? walk->capacity * 2 : 64;
	char **waiting = capacity > WAITING_MAX
				 ? NULL
				 : reallocarray(walk->waiting, capacity, sizeof(*waiting));

	if (!waiting)
		return false;
	walk->waiting = waiting;
	walk->capacity = capacity;
	return true;
}

/* Takes path. */
static void put_off(struct walk *walk, char *path)
{
	if (!path || strlen(path) >= PATH_MAX ||
	    (walk->n_waiting == walk->capacity && !grow(walk))) {
		walk->usage->partial = true;
		free(path);
		return;
	}
	walk->waiting[walk->n_waiting++] = path;
}

static void read_entry(struct walk *walk, int fd, const char *path, const char *name)
{
	struct stat st;

	look_at_clock(walk);
	if (walk->over || fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return; /* gone meanwhile */
	count(walk, &st);
	if (S_ISDIR(st.st_mode))
		put_off(walk, strcmp(path, ".") == 0 ? strdup(name) : venv__path_join(path, name));
}

static void read_directory(struct walk *walk, const char *path)
{
	int fd = venv__open_beneath(walk->top, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	_cleanup_closedir_ DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *entry;

	if (!dir) {
		walk->usage->denied |= fd == -EACCES;
		walk->usage->partial |= fd != -ENOENT;
		if (fd >= 0)
			(void)close(fd);
		return;
	}
	while (!walk->over && (entry = readdir(dir)))
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			read_entry(walk, fd, path, entry->d_name);
}

void venv__tree_usage(int dir_fd, const char *name, unsigned budget_ms, struct tree_usage *ret)
{
	_cleanup_close_ int top =
		openat(dir_fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct walk walk = { .usage = ret,
			     .top = top,
			     .deadline_us = venv__now_us() + (uint64_t)budget_ms * 1000 };
	struct stat st;

	*ret = (struct tree_usage){ .partial = top < 0 };
	if (top < 0)
		return;
	if (fstat(top, &st) == 0)
		count(&walk, &st);
	put_off(&walk, strdup("."));
	while (walk.n_waiting && !walk.over) {
		_cleanup_free_ char *path = walk.waiting[--walk.n_waiting];

		read_directory(&walk, path);
	}
	while (walk.n_waiting)
		free(walk.waiting[--walk.n_waiting]);
	free(walk.waiting);
}
