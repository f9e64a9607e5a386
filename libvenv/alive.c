/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <string.h>

#include "provider.h"
#include "util/msg.h"

enum { RECORD_MAX = 65536 };

static enum machine_state state_of(const char *name)
{
	static const struct {
		const char *name;
		enum machine_state state;
	} names[] = {
		{ "stopped", MACHINE_STOPPED }, /* its process is just ending */
		{ "crashed", MACHINE_CRASHED }, /* likewise */
		{ "starting", MACHINE_STARTING }, { "running", MACHINE_RUNNING },
		{ "paused", MACHINE_PAUSED },     { "frozen", MACHINE_FROZEN },
		{ "stopping", MACHINE_STOPPING },
	};

	for (size_t i = 0; name && i < ARRAY_SIZE(names); i++)
		if (strcmp(names[i].name, name) == 0)
			return names[i].state;
	return MACHINE_STARTING;
}

enum machine_state venv__alive_state(int dir_fd, const char *made, json_t **ret_record)
{
	_cleanup_close_ int fd = openat(dir_fd, "alive", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	_cleanup_json_ json_t *record = NULL;
	_cleanup_free_ char *text = NULL;
	const char *name;
	size_t length;
	bool held;

	if (ret_record)
		*ret_record = NULL;
	if (fd < 0)
		return faccessat(dir_fd, made, F_OK, 0) == 0 ? MACHINE_STOPPED : MACHINE_ABSENT;
	held = venv__lock_is_held(fd);
	if (venv__file_read(dir_fd, "alive", RECORD_MAX, &text, &length, NULL) == 0)
		(void)venv__json_parse(text, length, &record, NULL);
	name = venv__json_str(record, "state");
	if (!held && name && strcmp(name, "stopped") == 0)
		name = NULL;
	else if (!held && name)
		name = "";
	if (ret_record)
		*ret_record = json_incref(record);
	if (!held)
		return name ? MACHINE_CRASHED : MACHINE_STOPPED;
	return state_of(name);
}

int venv__alive_connect(const struct machine *machine, venv_error **err)
{
	_cleanup_error_ venv_error *problem = NULL;
	int fd = venv__msg_connect(machine->dir_fd, "ctl", &problem);

	if (fd >= 0)
		return fd;
	if (problem && (problem->sys_errno == ENOENT || problem->sys_errno == ECONNREFUSED))
		return venv__hint(venv__fail(err, VENV_ERR_STATE, "the machine is not running"),
				  err, "start it with 'venv up'");
	return venv__error_take(take_ptr(problem), err);
}

int venv__alive_call(const struct machine *machine, json_t *request, const int *fds, size_t n_fds,
		     int timeout_ms, json_t **ret, struct msg_fds *ret_fds, venv_error **err)
{
	_cleanup_json_ json_t *owned = request;
	_cleanup_close_ int fd = -1;

	if (!owned)
		return venv__fail_nomem(err);
	fd = venv__alive_connect(machine, err);
	if (fd < 0)
		return fd;
	return venv__msg_call(fd, owned, fds, n_fds, timeout_ms, ret, ret_fds, err);
}
