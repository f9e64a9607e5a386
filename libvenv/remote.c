/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: venv-ssh is the other end of a command's descriptors; its control socket is the
 * handle's: sizes go in, the result comes out. A terminal is a socket pair, whose size is told by a
 * message, because the terminal itself is in the machine. Signals take a connection of their own.
 *
 * An ssh server hands its one line to the user's login shell, whatever that is. So the line is words in
 * single quotes, which every shell leaves alone, and the first ones are /bin/sh with a script of ours.
 */
#include "remote.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "ssh/ssh.h"
#include "util/buf.h"
#include "util/sys.h"

/* ---- The line ------------------------------------------------------------------------------ */

/* $1: directory; the rest: the command. */
static const char run_script[] = "cd -- \"${1:-$HOME}\" || exit 126; shift; exec \"$@\"";
static const char shell_script[] = "exec \"${SHELL:-/bin/sh}\" -l";
/* Speaks the protocol of scp when there is none. */
static const char scp_script[] =
	"command -v scp >/dev/null || { printf '\\001the machine has no scp: install "
	"openssh-client in it\\n'; exit 127; }; exec scp \"$@\"";

/* $1: the mark, $2: the signal. */
static const char signal_script[] =
	"for p in /proc/[0-9]*; do tr '\\0' '\\n' < $p/environ | grep -qx \"VENV_RUN=$1\" && "
	"kill -s \"$2\" \"${p#/proc/}\"; done 2>/dev/null";

enum { SIGNAL_MS = 3000 };

/* What a line is made from. */
struct line {
	const struct machine *machine;
	const struct exec_spec *spec;
	const char *mark; /* or NULL */
};

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
static int add_environment(char ***words, const struct line *line)
{
	char *const *of_machine = line->machine->spec->env, *const *own = line->spec->env;
	int r;

	if ((!of_machine || !*of_machine) && (!own || !*own) && !line->mark)
		return 0;
	r = venv__strv_add(words, "env");
	if (r == 0)
		r = add_list(words, of_machine);
	if (r == 0)
		r = add_list(words, own);
	return r == 0 && line->mark ? venv__strv_addf(words, "VENV_RUN=%s", line->mark) : r;
}

/* What runs as the user it shall run as. */
static int add_command(char ***words, const struct line *line)
{
	const struct exec_spec *spec = line->spec;
	const char *const begin[] = { "/bin/sh", "-c", run_script, "venv",
				      spec->directory ? spec->directory : "" };
	const char *const shell[] = { "/bin/sh", "-c", shell_script };
	const char *const scp[] = { "/bin/sh", "-c", scp_script };
	int r = add_words(words, begin, ARRAY_SIZE(begin));

	if (r == 0)
		r = add_environment(words, line);
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
static int become(char ***words, const char *user, const struct line *line)
{
	const char *const by_sudo[] = { "sudo", "-n", "-H", "-u" };
	const char *const by_su[] = { "su", "-s", "/bin/sh", user, "-c" };
	_cleanup_strv_ char **command = NULL;
	_cleanup_free_ char *text = NULL;
	int r;

	if (strcmp(line->machine->login, "root") != 0 || is_number(user)) {
		r = add_words(words, by_sudo, ARRAY_SIZE(by_sudo));
		if (r == 0)
			r = venv__strv_addf(words, "%s%s", is_number(user) ? "#" : "", user);
		if (r == 0)
			r = venv__strv_add(words, "--");
		return r == 0 ? add_command(words, line) : r;
	}
	r = add_command(&command, line);
	if (r < 0)
		return r;
	text = quote(command);
	if (!text)
		return -ENOMEM;
	r = add_words(words, by_su, ARRAY_SIZE(by_su));
	return r == 0 ? venv__strv_add(words, text) : r;
}

char *venv__remote_command(const struct machine *machine, const struct exec_spec *spec,
			   const char *mark)
{
	const struct line line = { machine, spec, mark };
	bool other = spec->user && strcmp(spec->user, machine->login) != 0;
	_cleanup_strv_ char **words = NULL;
	int r = other ? become(&words, spec->user, &line) : add_command(&words, &line);

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
		 const struct exec_spec *spec, const int fds[3], struct exec_handle *ret,
		 venv_error **err)
{
	_cleanup_free_ char *command =
		venv__remote_command(machine, spec, *ret->mark ? ret->mark : NULL);
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
		r = venv__ssh_start(machine->ctx, &link.target, &run, &ret->control, err);
	link_done(&link);
	return r;
}

int venv__remote_exec(const struct provider *provider, struct machine *machine,
		      const struct exec_spec *spec, struct exec_handle *ret, venv_error **err)
{
	struct exec_handle handle = { .control = -1, .tty = -1 };
	_cleanup_close_ int there = -1;
	int pair[2], r = venv__random_id(handle.mark);

	if (r < 0)
		return venv__fail_errno(err, -r, "cannot get random bytes");
	if (spec->tty) {
		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
			return venv__fail_errno(err, errno, "cannot make a socket");
		handle.tty = pair[0];
		there = pair[1];
	}
	r = start(provider, machine, spec,
		  spec->tty ? (const int[]){ there, there, -1 } : spec->fds, &handle, err);
	if (r == 0)
		*ret = handle;
	else if (handle.tty >= 0)
		(void)close(handle.tty);
	return r;
}

void venv__remote_signal(const struct provider *provider, struct machine *machine, const char *mark,
			 int number)
{
	struct exec_handle handle = { .control = -1, .tty = -1 };
	char *argv[] = { NULL, NULL, NULL, NULL, NULL, NULL, NULL };
	const struct exec_spec spec = { .argv = argv, .user = "root", .directory = "/" };
	const char *name = sigabbrev_np(number);
	const char *const words[] = { "/bin/sh", "-c", signal_script, "venv", mark, name };
	struct pollfd wait = { .events = POLLIN };

	if (!name)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		argv[i] = (char *)(uintptr_t)words[i];
	if (start(provider, machine, &spec, (const int[]){ -1, -1, -1 }, &handle, NULL) < 0)
		return;
	wait.fd = handle.control;
	(void)poll(&wait, 1, SIGNAL_MS);
	(void)close(handle.control);
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
