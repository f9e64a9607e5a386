/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The library's side of the client: start venv-ssh with everything it needs as descriptors, wait
 * for its result or for a cancellation.
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>

#include "client.h"
#include "ssh.h"
#include "util/buf.h"
#include "util/msg.h"
#include "util/process.h"
#include "util/sys.h"

enum { KEY_FILE_MAX = 16384, LEAVE_MS = 1000 };

static int read_key(const struct ssh_target *target, char **ret, venv_error **err)
{
	if (!target->key_text)
		return venv__file_read(AT_FDCWD, target->key, KEY_FILE_MAX, ret, NULL, err);
	*ret = strdup(target->key_text);
	return *ret ? 0 : venv__fail_nomem(err);
}

static int describe(const struct ssh_target *target, const struct ssh_run *run, json_t **ret,
		    venv_error **err)
{
	_cleanup_json_ json_t *config = json_object();
	_cleanup_free_ char *key = NULL;
	int r = read_key(target, &key, err);

	if (r < 0)
		return r;
	if (run->probe_port)
		r = json_object_set_new(config, "probe", json_integer(run->probe_port));
	if (!config || r < 0 || venv__json_set_str(config, "key", key) < 0 ||
	    venv__json_set_str(config, "user", target->user) < 0 ||
	    venv__json_set_str(config, "alias", target->alias) < 0 ||
	    venv__json_set_str(config, "host_key", target->host_key) < 0 ||
	    venv__json_set_str(config, "host_key_path", target->host_key_path) < 0 ||
	    venv__json_set_str(config, "term", run->tty ? run->term : NULL) < 0 ||
	    venv__json_set_str(config, "agent", run->agent) < 0)
		r = VENV_ERR_NOMEM;
	/* a command is bytes, JSON is UTF-8: each byte becomes the character of its number */
	if (r >= 0 && run->command)
		r = json_object_set_new(config, "command", venv__ssh_bytes_to_json(run->command));
	if (r >= 0 && run->env)
		r = json_object_set_new(config, "env", venv__json_from_strv(run->env));
	if (r >= 0 && run->tty)
		r = json_object_set_new(config, "tty",
					json_pack("{s:i,s:i}", "rows", (int)run->rows, "columns",
						  (int)run->columns));
	explicit_bzero(key, strlen(key));
	if (r < 0)
		return venv__fail_nomem(err);
	*ret = take_ptr(config);
	return 0;
}

static int config_file(const struct ssh_target *target, const struct ssh_run *run, venv_error **err)
{
	_cleanup_json_ json_t *config = NULL;
	char *text;
	int fd;
	int r = describe(target, run, &config, err);

	if (r < 0)
		return r;
	text = venv__json_text(config, JSON_COMPACT);
	if (!text)
		return venv__fail_nomem(err);
	fd = venv__memfd_sealed("venv-ssh", text, strlen(text));
	explicit_bzero(text, strlen(text));
	free(text);
	return fd < 0 ? venv__fail_errno(err, -fd, "cannot make a memory file") : fd;
}

/* It must not write to the caller's descriptors after we returned. */
static void wait_gone(int pidfd)
{
	struct pollfd p = { .fd = pidfd, .events = POLLIN };

	if (poll(&p, 1, LEAVE_MS) == 0) {
		(void)venv__pidfd_signal(pidfd, SIGKILL);
		(void)poll(&p, 1, LEAVE_MS);
	}
}

static int result_of(const json_t *reply, venv_error **err)
{
	int64_t status = venv__json_int(reply, "exit", -1),
		number = venv__json_int(reply, "signal", 0);
	int r = venv__error_from_json(reply, err);

	if (r < 0)
		return r;
	if (number > 0 && number < 128)
		return 128 + (int)number;
	if (status < 0 || status > INT32_MAX)
		return venv__fail(err, VENV_ERR_SYSTEM, "venv-ssh gave no result");
	return (int)status;
}

static int wait_result(int socket, struct venv_op *op, venv_error **err)
{
	struct pollfd fds[2] = { { .fd = socket, .events = POLLIN },
				 { .fd = venv__op_cancel_fd(op), .events = POLLIN } };
	_cleanup_json_ json_t *reply = NULL;
	int r;

	while (poll(fds, 2, -1) < 0)
		if (errno != EINTR)
			return venv__fail_errno(err, errno, "cannot wait for venv-ssh");
	if (fds[1].revents && !fds[0].revents)
		return venv__op_cancelled(op, err) < 0
			       ? VENV_ERR_CANCELLED
			       : venv__fail(err, VENV_ERR_CANCELLED, "cancelled");
	r = venv__msg_receive(socket, -1, &reply, NULL, err);
	if (r == 0)
		return venv__fail(err, VENV_ERR_SYSTEM, "venv-ssh ended without a result");
	return r < 0 ? r : result_of(reply, err);
}

static int start(struct venv *ctx, const struct ssh_target *target, const struct ssh_run *run,
		 int socket, int *ret_pidfd, venv_error **err)
{
	_cleanup_free_ char *path = venv__context_program(ctx, "venv-ssh");
	_cleanup_close_ int config = -1;
	char name[] = "venv-ssh";
	char *argv[] = { name, NULL };
	struct spawn spawn = { .path = path, .program_fd = -1, .argv = argv };
	pid_t pid;

	if (!path)
		return venv__fail_nomem(err);
	config = config_file(target, run, err);
	if (config < 0)
		return config;
	memcpy(spawn.fds, run->fds, sizeof(run->fds));
	spawn.fds[CLIENT_SERVER_FD] = target->fd;
	spawn.fds[CLIENT_RESULT_FD] = socket;
	spawn.fds[CLIENT_CONFIG_FD] = config;
	spawn.fds[CLIENT_CONTROL_FD] = run->control;
	spawn.n_fds = CLIENT_CONTROL_FD + 1;
	return venv__spawn(&spawn, &pid, ret_pidfd, err);
}

int venv__ssh_start(struct venv *ctx, const struct ssh_target *target, const struct ssh_run *run,
		    int *ret_control, venv_error **err)
{
	_cleanup_close_ int ours = -1, theirs = -1, pidfd = -1;
	struct ssh_run both = *run;
	int ends[2], r;

	r = venv__msg_pair(ends);
	if (r < 0)
		return venv__fail_errno(err, -r, "cannot make a socket");
	ours = ends[0];
	theirs = ends[1];
	both.control = theirs;
	r = start(ctx, target, &both, theirs, &pidfd, err);
	if (r == 0)
		*ret_control = take_fd(&ours);
	return r;
}

int venv__ssh_run(struct venv *ctx, const struct ssh_target *target, const struct ssh_run *run,
		  struct venv_op *op, venv_error **err)
{
	_cleanup_close_ int ours = -1, theirs = -1, pidfd = -1;
	int ends[2], r;

	r = venv__msg_pair(ends);
	if (r < 0)
		return venv__fail_errno(err, -r, "cannot make a socket");
	ours = ends[0];
	theirs = ends[1];
	r = start(ctx, target, run, theirs, &pidfd, err);
	if (r < 0)
		return r;
	(void)close(take_fd(&theirs));
	r = wait_result(ours, op, err);
	(void)close(take_fd(&ours)); /* tells it to leave, if it still runs */
	if (r < 0)
		wait_gone(pidfd);
	return r;
}
