/* SPDX-License-Identifier: Apache-2.0 */
/* Start-up of venv-ssh: configuration, streams, rights; and the one message at its end. */
#include <fcntl.h>
#include <openssl/crypto.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>

#include "../wire/confine.h"
#include "remote.h"

enum { CONFIG_MAX = 64 << 20 };

static char *copy(const json_t *config, const char *key)
{
	const char *text = venv__json_str(config, key);

	return text ? strdup(text) : NULL;
}

static int read_config(struct remote *remote)
{
	_cleanup_json_ json_t *config = NULL;
	const json_t *tty;
	struct stat st;
	char *text;
	ssize_t n;

	if (fstat(CLIENT_CONFIG_FD, &st) < 0 || st.st_size <= 0 || st.st_size > CONFIG_MAX)
		return -1;
	text = malloc((size_t)st.st_size);
	n = text ? pread(CLIENT_CONFIG_FD, text, (size_t)st.st_size, 0) : -1;
	(void)close(CLIENT_CONFIG_FD);
	if (n > 0)
		(void)venv__json_parse(text, (size_t)n, &config, NULL);
	free(text);
	remote->user = copy(config, "user");
	remote->alias = copy(config, "alias");
	remote->key = copy(config, "key");
	remote->host_key = copy(config, "host_key");
	remote->host_key_path = copy(config, "host_key_path");
	remote->command = venv__ssh_bytes_from_json(json_object_get(config, "command"));
	remote->term = copy(config, "term");
	remote->agent = copy(config, "agent");
	remote->env = venv__json_strv(config, "env");
	remote->probe = (int)venv__json_int(config, "probe", 0);
	tty = json_object_get(config, "tty");
	remote->tty = tty != NULL;
	remote->rows = (int)venv__json_int(tty, "rows", 24);
	remote->columns = (int)venv__json_int(tty, "columns", 80);
	if (remote->tty && !remote->term)
		remote->term = strdup("xterm");
	return remote->user && remote->alias && remote->key ? 0 : -1;
}

/*
 * The streams are shared with whoever started us, so their flags are not ours to change: pipes and
 * terminals are opened again for a description of our own; what cannot be is written in small
 * pieces.
 */
static void use_stream(struct flow_sink *sink, int fd)
{
	struct stat st;
	char path[32];
	int own = -1;

	sink->fd = fd;
	if (fstat(fd, &st) < 0)
		return;
	sink->is_socket = S_ISSOCK(st.st_mode);
	if (S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode)) {
		(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		own = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	}
	if (own >= 0) {
		(void)close(fd);
		sink->fd = own;
	} else {
		sink->small = S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode);
	}
}

static void send_result(const struct remote *remote, int r, const venv_error *error)
{
	_cleanup_json_ json_t *result = NULL;

	if (r < 0)
		result = venv__error_to_json(error);
	else if (remote->signal > 0)
		result = json_pack("{s:i}", "signal", remote->signal);
	else
		result = json_pack("{s:i}", "exit", remote->status);
	if (result)
		(void)venv__msg_send(CLIENT_RESULT_FD, result, NULL, 0, NULL);
}

static int run(struct remote *remote, venv_error **err)
{
	int r;

	(void)OPENSSL_init_crypto(CRYPTO_QUICK_START, NULL);
	if (read_config(remote) < 0)
		return venv__fail(err, VENV_ERR_INVALID,
				  "venv-ssh was started without its configuration");
	use_stream(&remote->out, STDOUT_FILENO);
	use_stream(&remote->err, STDERR_FILENO);
	remote->in.fd = STDIN_FILENO;
	remote->control = true;
	r = venv__confine(remote->agent ? CONFINE_CONNECT_UNIX : 0);
	if (r < 0)
		return venv__fail_errno(err, -r, "venv-ssh cannot give up its rights");
	r = remote_connect(remote, err);
	if (r == 0 && remote->probe)
		return remote_probe(remote, err);
	if (r == 0)
		r = remote_start(remote, err);
	if (r == 0)
		r = remote_run(remote, err);
	return r;
}

int main(void)
{
	static struct remote remote = {
		.out = FLOW_SINK_INIT(false),
		.err = FLOW_SINK_INIT(true),
		.in = FLOW_SOURCE_INIT(false),
		.status = -1,
	};
	_cleanup_error_ venv_error *error = NULL;
	int r;

	(void)signal(SIGPIPE, SIG_IGN);
	r = run(&remote, &error);
	send_result(&remote, r, error);
	if (remote.session)
		ssh_disconnect(remote.session);
	return 0;
}
