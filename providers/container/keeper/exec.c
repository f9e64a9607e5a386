/* SPDX-License-Identifier: Apache-2.0 */
/* Commands in the machine: "exec", and the image's own service. */
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "keeper.h"

enum { ARGUMENTS_MAX = 16 };

/* argv of venv-enter for a request: mode, options, "--", the command. */
static char **enter_arguments(const struct keeper *keeper, const json_t *request)
{
	const char *mode = venv__json_str(request, "mode"),
		   *shell = venv__json_str(request, "shell");
	const char *user = venv__json_str(request, "user");
	const char *directory = venv__json_str(request, "directory");
	_cleanup_strv_ char **command = venv__json_strv(request, "argv");
	_cleanup_strv_ char **argv = NULL;
	const char *words[ARGUMENTS_MAX];
	size_t n = 0;

	words[n++] = "venv-enter";
	words[n++] = mode ? mode : "exec";
	words[n++] = "-u";
	words[n++] = user ? user : keeper->plan.login;
	if (request != keeper->plan.command) /* which is a service */
		words[n++] = "-l";
	if (directory) {
		words[n++] = "-d";
		words[n++] = directory;
	}
	if (shell) {
		words[n++] = "-c";
		words[n++] = shell;
	}
	if (json_object_get(request, "tty"))
		words[n++] = "-t";
	words[n++] = "--";
	for (size_t i = 0; i < n; i++)
		if (venv__strv_add(&argv, words[i]) < 0)
			return NULL;
	for (char **word = command; word && *word; word++)
		if (venv__strv_add(&argv, *word) < 0)
			return NULL;
	return take_ptr(argv);
}

static char **environment(const struct keeper *keeper, const json_t *request)
{
	_cleanup_strv_ char **env = venv__strv_copy(keeper->plan.env);
	_cleanup_strv_ char **more = venv__json_strv(request, "env");
	const char *term = venv__json_str(json_object_get(request, "tty"), "term");

	for (char **entry = more; entry && *entry; entry++)
		if (strchr(*entry, '=') && venv__env_set(&env, *entry) < 0)
			return NULL;
	if (json_object_get(request, "tty")) {
		char text[128];

		(void)snprintf(text, sizeof(text), "TERM=%s", term ? term : "xterm-256color");
		if (venv__env_set(&env, text) < 0)
			return NULL;
	}
	return take_ptr(env);
}

static int start(struct keeper *keeper, const json_t *request, const int fds[3], int *ret_master,
		 venv_error **err)
{
	_cleanup_strv_ char **argv = enter_arguments(keeper, request),
			    **env = environment(keeper, request);
	const json_t *tty = json_object_get(request, "tty");
	struct entry entry = { .argv = argv, .envp = env, .socket = -1, .tty = tty != NULL };

	if (!argv || !env)
		return venv__fail_nomem(err);
	memcpy(entry.fds, fds, sizeof(entry.fds));
	entry.rows = (unsigned)venv__json_int(tty, "rows", 24);
	entry.columns = (unsigned)venv__json_int(tty, "columns", 80);
	return keeper_enter(keeper, &entry, ret_master, err);
}

void keeper_exec(struct client *client, const json_t *request, struct msg_fds *fds)
{
	const int given[3] = { fds->count > 0 ? fds->fd[0] : -1, fds->count > 1 ? fds->fd[1] : -1,
			       fds->count > 2 ? fds->fd[2] : -1 };
	_cleanup_error_ venv_error *error = NULL;
	int master = -1;
	pid_t pid = start(client->keeper, request, given, &master, &error);

	if (pid < 0) {
		keeper_client_fail(client, error);
		return;
	}
	client->pid = pid;
	client->master = master;
	keeper_client_reply(client, json_pack("{s:i}", "pid", (int)pid), &master,
			    master >= 0 ? 1 : 0);
}

void keeper_exec_message(struct client *client, const json_t *message)
{
	const char *op = venv__json_str(message, "op");
	int64_t number = venv__json_int(message, "signal", 0);

	if (op && strcmp(op, "signal") == 0 && number > 0 && number < NSIG) {
		/* the group of the leader, which is not reaped yet: the id is still its own */
		(void)kill(-client->pid, (int)number);
	} else if (op && strcmp(op, "resize") == 0 && client->master >= 0) {
		struct winsize size = {
			.ws_row = (unsigned short)venv__json_int(message, "rows", 24),
			.ws_col = (unsigned short)venv__json_int(message, "columns", 80),
		};

		(void)ioctl(client->master, TIOCSWINSZ, &size);
	}
}

void keeper_exec_ended(struct client *client, int status)
{
	int number = WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status);

	client->pid = 0;
	if (client->master >= 0)
		(void)close(take_fd(&client->master));
	keeper_client_reply(client,
			    json_pack("{s:i}", WIFSIGNALED(status) ? "signal" : "exit", number),
			    NULL, 0);
	keeper_client_close(client);
}

/* The client went away: its command is hung up on, as by a terminal that closes. */
void keeper_exec_hangup(struct client *client)
{
	if (client->master >= 0)
		(void)close(take_fd(&client->master));
	(void)kill(-client->pid, SIGHUP);
	(void)kill(-client->pid, SIGCONT);
}

/* `command: image`: the image's entrypoint, beside us, with the console as its output. */
int keeper_command_start(struct keeper *keeper, venv_error **err)
{
	struct client *client;
	int master = -1, slave;
	int out[3] = { -1, -1, -1 };
	pid_t pid;

	keeper->command_status = -1;
	if (!keeper->plan.command)
		return 0;
	slave = ioctl(keeper->console_fd, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (slave >= 0)
		(void)fchmod(slave, 0622); /* so that its user can open /dev/stderr and the like */
	out[1] = out[2] = slave;
	client = keeper_client_add(keeper, -1);
	pid = client ? start(keeper, keeper->plan.command, out, &master, err)
		     : venv__fail_nomem(err);
	if (slave >= 0)
		(void)close(slave);
	if (pid < 0) {
		if (client)
			keeper_client_close(client);
		return venv__wrap((int)pid, err, "the image's command");
	}
	client->pid = pid;
	return 0;
}

bool keeper_command_stop(struct keeper *keeper)
{
	int number = (int)venv__json_int(keeper->plan.command, "stop_signal", SIGTERM);

	for (const struct client *client = keeper->clients; client; client = client->next)
		if (client->fd < 0 && !client->dead && client->pid)
			return kill(client->pid, number) == 0;
	return false;
}

void keeper_hang_up(struct keeper *keeper)
{
	for (const struct client *client = keeper->clients; client; client = client->next) {
		if (!client->pid || client->master < 0)
			continue;
		(void)kill(-client->pid, SIGHUP);
		(void)kill(-client->pid, SIGCONT);
	}
}
