/* SPDX-License-Identifier: Apache-2.0 */
/* Reading, writing and removing control groups by descriptors. */
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>

#include "cgroup.h"

enum { READ_MAX = 65536, DEPTH_MAX = 32, REMOVE_TRIES = 200 };

int venv__cgroup_write(int dir_fd, const char *name, const char *text)
{
	_cleanup_close_ int fd = openat(dir_fd, name, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	return write(fd, text, strlen(text)) < 0 ? -errno : 0;
}

int venv__cgroup_write_number(int dir_fd, const char *name, int64_t value)
{
	char text[32];

	(void)snprintf(text, sizeof(text), "%lld", (long long)value);
	return venv__cgroup_write(dir_fd, name, text);
}

char *venv__cgroup_read(int dir_fd, const char *name)
{
	char *text = NULL;

	if (venv__file_read(dir_fd, name, READ_MAX, &text, NULL, NULL) < 0)
		return NULL;
	return text;
}

int64_t venv__cgroup_read_number(int dir_fd, const char *name, int64_t otherwise)
{
	_cleanup_free_ char *text = dir_fd < 0 ? NULL : venv__cgroup_read(dir_fd, name);
	char *end;
	long long value;

	if (!text)
		return otherwise;
	errno = 0;
	value = strtoll(text, &end, 10);
	return end == text || errno ? otherwise : value;
}

int64_t venv__cgroup_read_word(int dir_fd, const char *name, const char *word, int64_t otherwise)
{
	_cleanup_free_ char *text = dir_fd < 0 ? NULL : venv__cgroup_read(dir_fd, name);
	size_t length = strlen(word);

	for (const char *line = text; line && *line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (strncmp(line, word, length) == 0 && line[length] == ' ')
			return strtoll(line + length + 1, NULL, 10);
	}
	return otherwise;
}

int venv__cgroup_make(const char *base, const char *name, char **ret_path)
{
	_cleanup_free_ char *path = venv__path_join(base, name);
	int fd;

	if (!path)
		return -ENOMEM;
	if (mkdir(path, 0755) < 0 && errno != EEXIST)
		return -errno;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	*ret_path = take_ptr(path);
	return fd;
}

/* Groups below a group can only be directories, made by the machine at any depth up to the kernel's
 * limit; what is deeper than ours stays and is reported by its parent that is not empty. */
static void remove_below(int dir_fd, unsigned depth)
{
	int copy = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = copy < 0 ? NULL : fdopendir(copy);
	const struct dirent *entry;

	if (!dir) {
		if (copy >= 0)
			(void)close(copy);
		return;
	}
	while ((entry = readdir(dir))) {
		_cleanup_close_ int fd = -1;

		if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
			continue;
		fd = depth < DEPTH_MAX ? openat(dir_fd, entry->d_name,
						O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
				       : -1;
		if (fd >= 0)
			remove_below(fd, depth + 1);
		(void)unlinkat(dir_fd, entry->d_name, AT_REMOVEDIR);
	}
	(void)closedir(dir);
}

/* A killed process stays in its group until it is reaped or its namespace is gone: a moment. */
static void remove_group(const char *path)
{
	for (int i = 0; i < REMOVE_TRIES; i++) {
		_cleanup_close_ int fd = -1;

		if (rmdir(path) == 0 || errno == ENOENT)
			return;
		if (i > 0)
			(void)poll(NULL, 0, 1);
		fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd >= 0)
			remove_below(fd, 0);
	}
}

static bool is_group_of(const char *path, const char *id)
{
	const char *name = strrchr(path, '/');

	if (strncmp(path, "/sys/fs/cgroup/", 15) != 0 || strstr(path, "/../") || !name ||
	    strncmp(name, "/venv-", 6) != 0)
		return false;
	name += 6;
	return strncmp(name, id, strlen(id)) == 0 &&
	       (name[strlen(id)] == '\0' || strcmp(name + strlen(id), ".scope") == 0);
}

void venv__cgroup_clean(char *const *paths, const char *id)
{
	for (; paths && *paths; paths++) {
		_cleanup_close_ int fd = -1;

		if (!is_group_of(*paths, id))
			continue;
		fd = open(*paths, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd < 0)
			continue;
		(void)venv__cgroup_write(fd, "cgroup.kill", "1");
		remove_group(*paths);
	}
}

char **venv__cgroup_paths(const struct cgroup *cgroup)
{
	char **list = NULL;

	if (cgroup->path && venv__strv_add(&list, cgroup->path) < 0)
		return list;
	for (size_t i = 0; i < CGROUP_V1_MAX; i++)
		if (cgroup->v1[i].path && venv__strv_add(&list, cgroup->v1[i].path) < 0)
			break;
	return list;
}

void venv__cgroup_remove(struct cgroup *cgroup)
{
	_cleanup_free_ char *machine = NULL;

	/* a scope goes with its last process, which is the keeper */
	if (cgroup->path && cgroup->layout == CGROUP_SYSTEMD)
		machine = venv__path_join(cgroup->path, "machine");
	if (machine || cgroup->path)
		remove_group(machine ? machine : cgroup->path);
	for (size_t i = 0; i < CGROUP_V1_MAX; i++)
		if (cgroup->v1[i].path)
			remove_group(cgroup->v1[i].path);
}
