/* SPDX-License-Identifier: Apache-2.0 */
#include <poll.h>

#include "alive.h"

enum { START_TIMEOUT_MS = 60000 };

int venv__alive_started(int socket, struct venv_op *op, json_t **ret, venv_error **err)
{
	_cleanup_json_ json_t *reply = NULL;
	struct pollfd wait[] = { { .fd = socket, .events = POLLIN },
				 { .fd = venv__op_cancel_fd(op), .events = POLLIN } };
	int r;

	do
		r = poll(wait, ARRAY_SIZE(wait), START_TIMEOUT_MS);
	while (r < 0 && errno == EINTR);
	if (r <= 0)
		return venv__fail(err, VENV_ERR_TIMEOUT,
				  "the machine did not start within %d seconds",
				  START_TIMEOUT_MS / 1000);
	if (!wait[0].revents)
		return venv__op_cancelled(op, err);
	r = venv__msg_receive(socket, 0, &reply, NULL, err);
	if (r <= 0)
		return r;
	r = venv__error_from_json(reply, err);
	if (r < 0)
		return r;
	*ret = take_ptr(reply);
	return 1;
}
