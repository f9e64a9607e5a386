/* SPDX-License-Identifier: Apache-2.0 */
/*
 * venv__ssh_run() as a command, for tests against any server:
 *
 *   ssh_run [-t] [-A AGENT] [-u USER] [-e NAME=VALUE]... PORT KEY HOST_KEY_FILE [COMMAND]
 *
 * Exit status: the command's; 255 with the error on stderr when there is none. With -t, window
 * sizes "rows columns" are read from descriptor 9, if it is open.
 */
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>

#include "ssh/ssh.h"
#include "util/buf.h"
#include "util/msg.h"

struct venv_op;

/* The library's own, reduced to what run.c needs. */
char *venv__context_program(const struct venv *ctx, const char *name)
{
	const char *dir = getenv("VENV_LIBEXEC");
	char *path;

	(void)ctx;
	return dir && asprintf(&path, "%s/%s", dir, name) >= 0 ? path : NULL;
}

static int cancel_pipe[2] = { -1, -1 };

int venv__op_cancel_fd(const struct venv_op *op)
{
	(void)op;
	return cancel_pipe[0];
}

int venv__op_cancelled(struct venv_op *op, venv_error **err)
{
	(void)op;
	return venv__fail(err, VENV_ERR_CANCELLED, "cancelled");
}

static void on_alarm(int number)
{
	(void)number;
	(void)!write(cancel_pipe[1], "x", 1);
}

static int connect_port(int port)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_port = htons((uint16_t)port),
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	return connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ? -1 : fd;
}

/* Pass window sizes and signals ("resize R C", "signal N", a line each) from descriptor 9 on. */
static void *pass_control(void *user)
{
	int control = *(const int *)user;
	FILE *lines = fdopen(9, "r");
	char word[16];
	int a, b = 0;

	while (lines && fscanf(lines, "%15s %d", word, &a) == 2) {
		json_t *message;

		if (strcmp(word, "resize") == 0 && fscanf(lines, "%d", &b) == 1)
			message = json_pack("{s:s,s:i,s:i}", "op", word, "rows", a, "columns", b);
		else
			message = json_pack("{s:s,s:i}", "op", word, "signal", a);
		(void)venv__msg_send(control, message, NULL, 0, NULL);
		json_decref(message);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	struct ssh_target target = { .user = "tester", .alias = "test" };
	struct ssh_run run = {
		.fds = { 0, 1, 2 }, .rows = 24, .columns = 80, .term = "xterm", .control = -1
	};
	_cleanup_free_ char *host_key = NULL;
	_cleanup_error_ venv_error *error = NULL;
	_cleanup_strv_ char **env = NULL;
	int option, r, control[2];
	pthread_t thread;

	while ((option = getopt(argc, argv, "+tA:u:e:c:")) != -1) {
		if (option == 't')
			run.tty = true;
		else if (option == 'A')
			run.agent = optarg;
		else if (option == 'u')
			target.user = optarg;
		else if (option == 'e')
			(void)venv__strv_add(&env, optarg);
		else if (option == 'c')
			(void)alarm((unsigned)strtoul(optarg, NULL, 10));
		else
			return 2;
	}
	if (argc - optind < 3 || pipe(cancel_pipe) < 0)
		return 2;
	(void)signal(SIGALRM, on_alarm);
	run.env = env;
	target.fd = connect_port((int)strtol(argv[optind], NULL, 10));
	target.key = argv[optind + 1];
	target.host_key_path = argv[optind + 2];
	if (venv__file_read(AT_FDCWD, argv[optind + 2], 4096, &host_key, NULL, &error) < 0)
		return 2;
	target.host_key = host_key;
	run.command = argv[optind + 3];
	if (fcntl(9, F_GETFD) >= 0 && venv__msg_pair(control) == 0) {
		run.control = control[1];
		(void)pthread_create(&thread, NULL, pass_control, &control[0]);
	}
	r = venv__ssh_run(NULL, &target, &run, NULL, &error);
	if (r >= 0)
		return r;
	(void)fprintf(stderr, "error: %s\n", venv_error_message(error));
	if (venv_error_hint(error))
		(void)fprintf(stderr, "hint: %s\n", venv_error_hint(error));
	return 255;
}
