/* SPDX-License-Identifier: Apache-2.0 */
#include "serve.h"

#include <string.h>
#include <sys/socket.h>

const struct serve_op *venv__serve_find(const struct server *server, const json_t *request,
					bool trusted, venv_error **err)
{
	const char *name = venv__json_str(request, "op");

	for (size_t i = 0; name && i < server->n_ops; i++)
		if (strcmp(server->ops[i].name, name) == 0 && (trusted || server->ops[i].open))
			return &server->ops[i];
	(void)venv__fail(err, VENV_ERR_UNSUPPORTED, "%s does not know '%s'", server->program,
			 name ? name : "");
	return NULL;
}

int venv__serve_receive(int fd, json_t **ret, struct msg_fds *fds)
{
	_cleanup_error_ venv_error *error = NULL;
	int r = venv__msg_receive(fd, 0, ret, fds, &error);

	if (r > 0)
		return 1;
	if (r < 0 && venv_error_code(error) == VENV_ERR_INVALID)
		venv__serve_refuse(fd, error);
	else if (r != VENV_ERR_TIMEOUT)
		return -1;
	return 0;
}

void venv__serve_reply(int fd, json_t *reply, const int *fds, size_t n_fds)
{
	_cleanup_json_ json_t *message = reply ? reply : json_object();

	if (fd >= 0 && message && venv__msg_send_now(fd, message, fds, n_fds, NULL) < 0)
		(void)shutdown(fd, SHUT_RDWR);
}

void venv__serve_refuse(int fd, const venv_error *error)
{
	venv__serve_reply(fd, venv__error_to_json(error), NULL, 0);
}
