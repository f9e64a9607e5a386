/* SPDX-License-Identifier: Apache-2.0 */
#include "util/msg.h"

#include <string.h>

#include "container.h"

int container_connect(const struct machine *machine, venv_error **err)
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

/* Takes the reference of request. */
int container_call(const struct machine *machine, json_t *request, const int *fds, size_t n_fds,
		   int timeout_ms, json_t **ret, struct msg_fds *ret_fds, venv_error **err)
{
	_cleanup_json_ json_t *owned = request;
	_cleanup_close_ int fd = -1;

	if (!owned)
		return venv__fail_nomem(err);
	fd = container_connect(machine, err);
	if (fd < 0)
		return fd;
	return venv__msg_call(fd, owned, fds, n_fds, timeout_ms, ret, ret_fds, err);
}
