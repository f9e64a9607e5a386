/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm_world.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "disk/disk.h"
#include "machine/kvm.h"
#include "providers/kvm/protocol.h"
#include "util/file.h"
#include "util/process.h"
#include "util/sys.h"

int world_skips(void)
{
	_cleanup_error_ venv_error *error = NULL;
	_cleanup_close_ int fd = kvm_open(&error);

	if (fd >= 0)
		return 0;
	print_message("SKIPPED: %s\n", venv_error_message(error));
	return 77;
}

int world_setup(void **state)
{
	struct world *world = calloc(1, sizeof(*world));

	*state = world;
	world->patience_ms = PATIENCE_MS;
	world->socket = world->ctl = world->pidfd = -1;
	(void)snprintf(world->directory, sizeof(world->directory), "/tmp/venv-vmm-XXXXXX");
	if (!mkdtemp(world->directory))
		return -1;
	world->dir_fd = open(world->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return world->dir_fd < 0;
}

int world_teardown(void **state)
{
	struct world *world = *state;
	const int fds[] = { world->socket, world->ctl, world->pidfd, world->dir_fd };

	if (world->pidfd >= 0)
		(void)venv__pidfd_signal(world->pidfd, SIGKILL);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		if (fds[i] >= 0)
			(void)close(fds[i]);
	(void)venv__tree_delete(AT_FDCWD, world->directory, NULL);
	free(world);
	return 0;
}

int world_open(const char *variable, const char *name, int flags)
{
	_cleanup_free_ char *path = NULL;
	int fd;

	assert_true(asprintf(&path, "%s/%s", getenv(variable), name) > 0);
	fd = open(path, flags | O_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

int world_send(struct world *world, json_t *machine, const int *fds, size_t n_fds, json_t **ret,
	       venv_error **err)
{
	_cleanup_free_ char *path = NULL;
	_cleanup_json_ json_t *message = NULL;
	char *argv[] = { (char[]){ "venv-vmm" }, NULL };
	struct spawn spawn = { .argv = argv, .fds = { -1, -1, 2, -1 }, .n_fds = 4 };
	int pair[2], all[MSG_FDS_MAX] = { world->dir_fd };

	assert_true(asprintf(&path, "%s/venv-vmm", getenv("VENV_LIBEXEC")) > 0);
	assert_int_equal(venv__msg_pair(pair), 0);
	spawn.path = path;
	spawn.fds[KVM_STARTER_FD] = pair[1];
	message = json_pack("{s:s, s:I, s:i, s:o}", "op", "start", "spawned_us",
			    (json_int_t)venv__now_us(), "fds", (int)n_fds + 1, "machine", machine);
	assert_non_null(message);
	memcpy(all + 1, fds, n_fds * sizeof(fds[0]));
	assert_int_equal(venv__spawn(&spawn, &world->pid, &world->pidfd, NULL), 0);
	(void)close(pair[1]);
	world->socket = pair[0];
	return venv__msg_call(world->socket, message, all, n_fds + 1, PATIENCE_MS, ret, NULL, err);
}

json_t *world_machine(const char *cmdline)
{
	return json_pack("{s:s, s:I, s:i, s:i, s:s, s:b}", "name", "test", "memory",
			 (json_int_t)MEMORY, "cpus", 1, "kernel", 1, "cmdline", cmdline,
			 "debug_exit", 1);
}

void world_start(struct world *world, json_t *machine)
{
	_cleanup_close_ int kernel = world_open("VENV_GUESTS", "guest_long", O_RDONLY);
	_cleanup_error_ venv_error *error = NULL;
	_cleanup_json_ json_t *ready = NULL;

	if (world_send(world, machine, &kernel, 1, &ready, &error) < 0)
		fail_msg("%s", venv_error_message(error));
	assert_true(venv__json_bool(ready, "ready", false));
	world->ctl = venv__msg_connect(world->dir_fd, "ctl", NULL); /* unless it has ended by now */
}

int world_call(struct world *world, json_t *request, json_t **ret, struct msg_fds *fds)
{
	_cleanup_json_ json_t *message = request;

	assert_true(world->ctl >= 0);
	return venv__msg_call(world->ctl, message, NULL, 0, PATIENCE_MS, ret, fds, NULL);
}

int world_ask(struct world *world, const char *op)
{
	return world_call(world, json_pack("{s:s}", "op", op), NULL, NULL);
}

char *world_log(struct world *world)
{
	char *log = NULL;

	if (venv__file_read(world->dir_fd, "console.log", 1 << 21, &log, NULL, NULL) < 0)
		log = strdup("");
	assert_non_null(log);
	return log;
}

void world_wait_end(struct world *world)
{
	struct pollfd fd = { .fd = world->pidfd, .events = POLLIN };

	if (poll(&fd, 1, world->patience_ms) != 1) {
		_cleanup_free_ char *log = world_log(world);

		fail_msg("the machine does not end; its console: '%s'", log);
	}
	(void)close(take_fd(&world->pidfd));
}

bool world_log_has(struct world *world, const char *text)
{
	_cleanup_free_ char *log = world_log(world);

	return strstr(log, text) != NULL;
}

void world_wait_log(struct world *world, const char *text)
{
	for (int i = 0; i < PATIENCE_MS && !world_log_has(world, text); i++)
		(void)usleep(1000);
	assert_true(world_log_has(world, text));
}

void world_assert_record(struct world *world, const char *text)
{
	_cleanup_free_ char *record = NULL;

	assert_int_equal(venv__file_read(world->dir_fd, "alive", 4096, &record, NULL, NULL), 0);
	if (!strstr(record, text))
		fail_msg("'%s' is not in '%s'", text, record);
}

int world_make_file(struct world *world, const char *name, off_t size)
{
	int fd = openat(world->dir_fd, name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, size), 0);
	return fd;
}

int world_make_overlay(struct world *world, const char *name, const char *backing)
{
	const struct disk_create create = { .format = DISK_QCOW2,
					    .length = 1 << 20,
					    .backing = backing,
					    .backing_format = DISK_RAW };
	int fd = world_make_file(world, name, 0);

	assert_int_equal(venv__disk_create(fd, &create, NULL), 0);
	return fd;
}

int world_reopen(struct world *world, const char *name)
{
	int fd = openat(world->dir_fd, name, O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}
