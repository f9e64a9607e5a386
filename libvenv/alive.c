/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>

#include "alive.h"
#include "util/sys.h"

enum {
	RECORD_MAX = 65536,
	EXEC_MS = 60000,
	LEND_MS = 20000,
	END_TRIES = 1000,
	END_PAUSE_US = 2000
};

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

/*
 * It is who listens on the socket: the kernel has that from listen(). Somebody else has its number only when it
 * ended, and then nobody holds our connection.
 */
int venv__alive_kill(const struct machine *machine, venv_error **err)
{
	_cleanup_close_ int fd = venv__alive_connect(machine, err), pidfd = -1;
	struct ucred peer = { .pid = 0 };
	socklen_t length = sizeof(peer);
	struct pollfd wait = { .fd = fd };
	int r;

	if (fd < 0)
		return fd;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) < 0 || peer.pid <= 0)
		return venv__fail(err, VENV_ERR_STATE, "nobody knows which process it is");
	pidfd = venv__pidfd_open(peer.pid);
	if (pidfd < 0 || poll(&wait, 1, 0) != 0)
		return venv__fail(err, VENV_ERR_STATE, "the machine's process has ended");
	r = venv__pidfd_signal(pidfd, SIGKILL);
	return r < 0 ? venv__fail_errno(err, -r, "cannot end the machine's process") : 0;
}

bool venv__alive_ended(const struct machine *machine, alive_gone_fn gone)
{
	for (int i = 0; i < END_TRIES; i++) {
		if (gone(machine))
			return true;
		(void)usleep(END_PAUSE_US);
	}
	return false;
}

int venv__alive_end(const struct machine *machine, json_t *request, int timeout_ms,
		    alive_gone_fn gone, venv_error **err)
{
	_cleanup_error_ venv_error *problem = NULL;
	int r = venv__alive_call(machine, request, NULL, 0, timeout_ms, NULL, NULL, &problem);

	/* who does not answer may be ending */
	if ((r == 0 || r == VENV_ERR_STATE || r == VENV_ERR_SYSTEM) &&
	    venv__alive_ended(machine, gone))
		return 0;
	if (r == 0)
		return venv__fail(err, VENV_ERR_TIMEOUT, "its process does not end");
	return venv__error_take(take_ptr(problem), err);
}

int venv__alive_force(const struct machine *machine, int timeout_ms, alive_gone_fn gone,
		      venv_error **err)
{
	_cleanup_error_ venv_error *problem = NULL;
	int r = venv__alive_end(machine, json_pack("{s:s}", "op", "kill"), timeout_ms, gone,
				&problem);

	if (r == VENV_ERR_TIMEOUT && venv__alive_kill(machine, NULL) == 0 &&
	    venv__alive_ended(machine, gone))
		return 0;
	return r < 0 ? venv__error_take(take_ptr(problem), err) : 0;
}

static json_t *exec_request(const struct exec_spec *spec)
{
	json_t *request = json_pack("{s:s}", "op", "exec"), *tty;

	if (!request)
		return NULL;
	if (spec->argv)
		(void)json_object_set_new(request, "argv", venv__json_from_strv(spec->argv));
	if (spec->env)
		(void)json_object_set_new(request, "env", venv__json_from_strv(spec->env));
	(void)venv__json_set_str(request, "mode", spec->mode);
	(void)venv__json_set_str(request, "user", spec->user);
	(void)venv__json_set_str(request, "directory", spec->directory);
	if (spec->tty) {
		tty = json_pack("{s:i, s:i}", "rows", spec->rows ? (int)spec->rows : 24, "columns",
				spec->columns ? (int)spec->columns : 80);
		(void)venv__json_set_str(tty, "term", spec->term);
		(void)json_object_set_new(request, "tty", tty);
	}
	return request;
}

int venv__alive_exec(int control, const struct exec_spec *spec, struct exec_handle *ret,
		     venv_error **err)
{
	_cleanup_json_ json_t *request = exec_request(spec);
	_cleanup_msg_fds_ struct msg_fds received = MSG_FDS_INIT;
	_cleanup_close_ int owned = control, null_fd = -1;
	int fds[3], r;

	if (!request)
		return venv__fail_nomem(err);
	for (size_t i = 0; i < 3 && !spec->tty; i++) {
		if (spec->fds[i] < 0 && null_fd < 0)
			null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
		fds[i] = spec->fds[i] >= 0 ? spec->fds[i] : null_fd;
	}
	r = venv__msg_call(owned, request, fds, spec->tty ? 0 : 3, EXEC_MS, NULL, &received, err);
	if (r < 0)
		return r;
	ret->control = take_fd(&owned);
	ret->tty = venv__msg_fds_take(&received, 0);
	return 0;
}

int venv__alive_lend(struct machine *machine, int *ret_userns_fd, int *ret_netns_fd,
		     venv_error **err)
{
	_cleanup_msg_fds_ struct msg_fds fds = MSG_FDS_INIT;
	int r = venv__alive_call(machine, json_pack("{s:s}", "op", "lend"), NULL, 0, LEND_MS, NULL,
				 &fds, err);

	if (r < 0)
		return r;
	if (fds.count < 2)
		return venv__fail(err, VENV_ERR_SYSTEM, "the machine's process lent nothing");
	*ret_userns_fd = venv__msg_fds_take(&fds, 0);
	*ret_netns_fd = venv__msg_fds_take(&fds, 1);
	return 0;
}

int venv__alive_console(struct machine *machine, int *ret_fd, venv_error **err)
{
	_cleanup_msg_fds_ struct msg_fds fds = MSG_FDS_INIT;
	int r = venv__alive_call(machine, json_pack("{s:s}", "op", "console"), NULL, 0, LEND_MS,
				 NULL, &fds, err);

	if (r < 0)
		return r;
	*ret_fd = venv__msg_fds_take(&fds, 0);
	return *ret_fd < 0 ? venv__fail(err, VENV_ERR_SYSTEM, "the machine's process lent nothing")
			   : 0;
}
