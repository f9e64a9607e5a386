/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file "alive": locked by the keeper for its whole life, and its text, one line of JSON, says
 * what the machine is; so `status` asks nobody. When the lock is free and the text does not say
 * "stopped", the keeper was killed, and the text tells what it left.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "keeper.h"
#include "util/sys.h"

/* A keeper that is ending still holds the lock for a moment after it answered. */
enum { LOCK_TRIES = 2000, LOCK_PAUSE_US = 1000, RECORD_SIZE = 2048 };

int keeper_record_lock(struct keeper *keeper, venv_error **err)
{
	_cleanup_json_ json_t *before = NULL;
	_cleanup_free_ char *text = NULL;
	_cleanup_strv_ char **groups = NULL;
	size_t length;
	int r = -EAGAIN;

	keeper->alive_fd = openat(keeper->machine_fd, "alive",
				  O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (keeper->alive_fd < 0)
		return venv__fail_errno(err, errno, "cannot open 'alive'");
	for (int i = 0; i < LOCK_TRIES && r == -EAGAIN; i++) {
		if (i > 0)
			(void)usleep(LOCK_PAUSE_US);
		r = venv__lock_try(keeper->alive_fd, true);
	}
	if (r == -EAGAIN)
		return venv__fail(err, VENV_ERR_STATE, "the machine is running already");
	if (r < 0)
		return venv__fail_errno(err, -r, "cannot lock 'alive'");
	if (venv__file_read(keeper->machine_fd, "alive", 65536, &text, &length, NULL) == 0 &&
	    venv__json_parse(text, length, &before, NULL) == 0) {
		groups = venv__json_strv(before, "groups");
		venv__cgroup_clean(groups, keeper->plan.id);
	}
	return 0;
}

const char *keeper_state_name(enum keeper_state state)
{
	static const char *const names[] = { "starting", "running", "paused", "frozen",
					     "stopping" };

	return names[state];
}

json_t *keeper_record_json(const struct keeper *keeper)
{
	json_t *record = json_pack(
		"{s:s, s:i, s:i, s:I, s:i, s:I}", "state", keeper_state_name(keeper->state), "pid",
		(int)keeper->init_pid, "ssh_port", venv__door_port(keeper->door), "started",
		(json_int_t)keeper->started, "version", CONTAINER_PROTOCOL_VERSION, "oom_kills",
		(json_int_t)keeper->oom_kills);

	if (record && keeper->command_status >= 0)
		(void)json_object_set_new(record, "command_status",
					  json_integer(keeper->command_status));
	return record;
}

/* In place and of one size, so that a reader sees the old or the new text. */
void keeper_record_write(const struct keeper *keeper)
{
	_cleanup_json_ json_t *record = keeper_record_json(keeper);
	_cleanup_strv_ char **groups = venv__cgroup_paths(&keeper->cgroup);
	_cleanup_free_ char *text = NULL;
	char line[RECORD_SIZE];
	size_t length;

	if (!record)
		return;
	(void)json_object_set_new(record, "keeper", json_integer(getpid()));
	if (groups)
		(void)json_object_set_new(record, "groups", venv__json_from_strv(groups));
	text = venv__json_text(record, JSON_COMPACT);
	length = text ? strlen(text) : 0;
	if (!length || length >= sizeof(line))
		return;
	memset(line, ' ', sizeof(line));
	memcpy(line, text, length);
	line[sizeof(line) - 1] = '\n';
	if (pwrite(keeper->alive_fd, line, sizeof(line), 0) < 0)
		keeper_console_say((struct keeper *)(uintptr_t)keeper, "cannot write 'alive': %s",
				   strerror(errno));
}
