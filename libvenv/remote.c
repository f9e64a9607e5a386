/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: venv-ssh is the other end of a command's descriptors; its control socket is the
 * handle's: signals and sizes go in, the result comes out. A terminal is a socket pair, whose size is told
 * by a message, because the terminal itself is in the machine.
 *
 * An ssh server hands its one line to the user's login shell, whatever that is. So the line is words in
 * single quotes, which every shell leaves alone, and the first ones are /bin/sh with a script of ours.
 */
#include "remote.h"

#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>

#include "ssh/ssh.h"
#include "util/buf.h"

/* ---- The line ------------------------------------------------------------------------------ */

/* $1: directory; the rest: the command. */
static const char run_script[] = "cd -- \"${1:-$HOME}\" || exit 126; shift; exec \"$@\"";
static const char shell_script[] = "exec \"${SHELL:-/bin/sh}\" -l";
/* Speaks the protocol of scp when there is none. */
static const char scp_script[] =
	"command -v scp >/dev/null || { printf '\\001the machine has no scp: install "
	"openssh-client in it\\n'; exit 127; }; exec scp \"$@\"";

static char *quote(char *const *words)
{
	_cleanup_buf_ struct buf line = { 0 };

	for (char *const *word = words; *word; word++) {
		venv__buf_puts(&line, word == words ? "'" : " '");
		for (const char *c = *word; *c; c++) {
			if (*c == '\'')
				venv__buf_puts(&line, "'\\''");
			else
				venv__buf_add(&line, c, 1);
		}
		venv__buf_puts(&line, "'");
	}
	return venv__buf_steal(&line);
}

static int add_words(char ***words, const char *const *more, size_t n)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < n; i++)
		r = venv__strv_add(words, more[i]);
	return r;
}

static int add_list(char ***words, char *const *list)
{
	int r = 0;

	for (; r == 0 && list && *list; list++)
		r = venv__strv_add(words, *list);
	return r;
}

/* The machine's environment, then the command's, which wins. */
static int add_environment(char ***words, const struct machine *machine,
			   const struct exec_spec *spec)
{
	char *const *of_machine = machine->spec->env;
	int r;

	if ((!of_machine || !*of_machine) && (!spec->env || !*spec->env))
		return 0;
	r = venv__strv_add(words, "env");
	if (r == 0)
		r = add_list(words, of_machine);
	return r == 0 ? add_list(words, spec->env) : r;
}

/* What runs as the user it shall run as. */
static int add_command(char ***words, const struct machine *machine, const struct exec_spec *spec)
{
	const char *const begin[] = { "/bin/sh", "-c", run_script, "venv",
				      spec->directory ? spec->directory : "" };
	const char *const shell[] = { "/bin/sh", "-c", shell_script };
	const char *const scp[] = { "/bin/sh", "-c", scp_script };
	int r = add_words(words, begin, ARRAY_SIZE(begin));

	if (r == 0)
		r = add_environment(words, machine, spec);
	if (r == 0 && !spec->argv)
		return add_words(words, shell, ARRAY_SIZE(shell));
	if (r == 0 && spec->mode) /* "scp", which is in argv, becomes the script's name */
		r = add_words(words, scp, ARRAY_SIZE(scp));
	return r == 0 ? add_list(words, spec->argv) : r;
}

static bool is_number(const char *text)
{
	return *text && text[strspn(text, "0123456789")] == '\0';
}

/* sudo passes words on; su takes a line. */
static int become(char ***words, const struct machine *machine, const char *user,
		  const struct exec_spec *spec)
{
	const char *const by_sudo[] = { "sudo", "-n", "-H", "-u" };
	const char *const by_su[] = { "su", "-s", "/bin/sh", user, "-c" };
	_cleanup_strv_ char **command = NULL;
	_cleanup_free_ char *line = NULL;
	int r;

	if (strcmp(machine->login, "root") != 0 || is_number(user)) {
		r = add_words(words, by_sudo, ARRAY_SIZE(by_sudo));
		if (r == 0)
			r = venv__strv_addf(words, "%s%s", is_number(user) ? "#" : "", user);
		if (r == 0)
			r = venv__strv_add(words, "--");
		return r == 0 ? add_command(words, machine, spec) : r;
	}
	r = add_command(&command, machine, spec);
	if (r < 0)
		return r;
	line = quote(command);
	if (!line)
		return -ENOMEM;
	r = add_words(words, by_su, ARRAY_SIZE(by_su));
	return r == 0 ? venv__strv_add(words, line) : r;
}

char *venv__remote_command(const struct machine *machine, const struct exec_spec *spec)
{
	const char *user =
		spec->user && strcmp(spec->user, machine->login) != 0 ? spec->user : NULL;
	_cleanup_strv_ char **words = NULL;
	int r = user ? become(&words, machine, user, spec) : add_command(&words, machine, spec);

	return r < 0 ? NULL : quote(words);
}

/* ---- The connection ------------------------------------------------------------------------ */

struct link {
	struct ssh_target target;
	char *key, *alias, *host_key, *host_key_path;
	int fd;
};

static void link_done(struct link *link)
{
	free(link->key);
	free(link->alias);
	free(link->host_key);
	free(link->host_key_path);
	if (link->fd >= 0)
		(void)close(link->fd);
}

static int open_link(const struct provider *provider, struct machine *machine, struct link *ret,
		     venv_error **err)
{
	int r = venv__file_read(machine->dir_fd, "keys/host.pub", 65536, &ret->host_key, NULL, err);

	if (r < 0)
		return r;
	ret->host_key[strcspn(ret->host_key, "\n")] = '\0';
	if (asprintf(&ret->key, "%s/keys/user", machine->dir) < 0)
		ret->key = NULL;
	if (asprintf(&ret->host_key_path, "%s/keys/host.pub", machine->dir) < 0)
		ret->host_key_path = NULL;
	if (asprintf(&ret->alias, "venv-%s", machine->id) < 0)
		ret->alias = NULL;
	if (!ret->key || !ret->host_key_path || !ret->alias)
		return venv__fail_nomem(err);
	r = provider->connect(machine, &ret->fd, err);
	if (r < 0)
		return r;
	ret->target = (struct ssh_target){ .fd = ret->fd,
					   .user = machine->login,
					   .alias = ret->alias,
					   .key = ret->key,
					   .host_key = ret->host_key,
					   .host_key_path = ret->host_key_path };
	return 0;
}

static int start(const struct provider *provider, struct machine *machine,
		 const struct exec_spec *spec, const int fds[3], int *ret_control, venv_error **err)
{
	_cleanup_free_ char *command = venv__remote_command(machine, spec);
	struct link link = { .fd = -1 };
	struct ssh_run run = { .command = command,
			       .fds = { fds[0], fds[1], fds[2] },
			       .tty = spec->tty,
			       .rows = spec->rows ? spec->rows : 24,
			       .columns = spec->columns ? spec->columns : 80,
			       .term = spec->term,
			       .control = -1 };
	int r;

	if (!command)
		return venv__fail_nomem(err);
	r = open_link(provider, machine, &link, err);
	if (r == 0)
		r = venv__ssh_start(machine->ctx, &link.target, &run, ret_control, err);
	link_done(&link);
	return r;
}

int venv__remote_exec(const struct provider *provider, struct machine *machine,
		      const struct exec_spec *spec, struct exec_handle *ret, venv_error **err)
{
	int pair[2], control = -1, r;

	if (!spec->tty) {
		r = start(provider, machine, spec, spec->fds, &control, err);
		if (r == 0)
			*ret = (struct exec_handle){ control, -1 };
		return r;
	}
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return venv__fail_errno(err, errno, "cannot make a socket");
	r = start(provider, machine, spec, (const int[]){ pair[1], pair[1], -1 }, &control, err);
	(void)close(pair[1]);
	if (r == 0)
		*ret = (struct exec_handle){ control, pair[0] };
	else
		(void)close(pair[0]);
	return r;
}

static int look(const struct provider *provider, struct machine *machine, const char *command,
		uint16_t port, struct venv_op *op, venv_error **err)
{
	struct link link = { .fd = -1 };
	const struct ssh_run run = {
		.command = command, .fds = { -1, -1, -1 }, .control = -1, .probe_port = port
	};
	int r = open_link(provider, machine, &link, err);

	if (r == 0)
		r = venv__ssh_run(machine->ctx, &link.target, &run, op, err);
	link_done(&link);
	return r;
}

int venv__remote_listens(const struct provider *provider, struct machine *machine, uint16_t port,
			 struct venv_op *op, venv_error **err)
{
	return look(provider, machine, NULL, port, op, err);
}

int venv__remote_answers(const struct provider *provider, struct machine *machine,
			 struct venv_op *op, venv_error **err)
{
	int r = look(provider, machine, "exit 0", 0, op, err);

	if (r <= 0)
		return r;
	return venv__hint(venv__fail(err, VENV_ERR_COMMAND,
				     "the shell of user '%s' ends with status %d there",
				     machine->login, r),
			  err, "set 'user' in venv.yml to one that may log in");
}
