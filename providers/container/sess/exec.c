/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Session channels: commands, shells, sftp and scp.
 *
 * Theory of operation: requests of the client (env, pty-req, …) are collected until one of them
 * starts something; that is accepted at once and asked of the keeper. Without a terminal the three
 * streams are pipes made here, with one its master comes with the answer. The keeper's connection
 * stays: it carries signals and window sizes to the command and its end back, and when it is closed
 * the command gets SIGHUP. The channel is closed when the command has ended *and* its output has:
 * as with sshd, a background process that keeps the output open keeps the channel open (but not a
 * terminal). If the keeper refuses, its reason goes to the client's stderr, with exit status 125.
 */
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>

#include "sess.h"
#include "util/sys.h"

enum { PIPE_SIZE = 256 * 1024, TERMINAL_GRACE_MS = 250, TERMINAL_SIZE_MAX = 65535 };

static const struct {
	const char *name;
	int number;
} signals[] = {
	{ "ABRT", SIGABRT }, { "ALRM", SIGALRM },   { "FPE", SIGFPE },   { "HUP", SIGHUP },
	{ "ILL", SIGILL },   { "INT", SIGINT },     { "KILL", SIGKILL }, { "PIPE", SIGPIPE },
	{ "QUIT", SIGQUIT }, { "SEGV", SIGSEGV },   { "TERM", SIGTERM }, { "USR1", SIGUSR1 },
	{ "USR2", SIGUSR2 }, { "BUS", SIGBUS },     { "SYS", SIGSYS },   { "TRAP", SIGTRAP },
	{ "XCPU", SIGXCPU }, { "XFSZ", SIGXFSZ },   { "STOP", SIGSTOP }, { "CONT", SIGCONT },
	{ "TSTP", SIGTSTP }, { "WINCH", SIGWINCH },
};

static bool env_name_ok(const char *name)
{
	if (strncmp(name, "LD_", 3) == 0 || !*name || (*name >= '0' && *name <= '9'))
		return false;
	for (; *name; name++)
		if (!(*name == '_' || (*name >= '0' && *name <= '9') ||
		      (*name >= 'A' && *name <= 'Z') || (*name >= 'a' && *name <= 'z')))
			return false;
	return true;
}

/* JSON carries UTF-8 only. */
static bool is_utf8(const char *text)
{
	_cleanup_json_ json_t *value = json_string(text);

	return value != NULL;
}

static int on_env(ssh_session session, ssh_channel channel, const char *name, const char *value,
		  void *user)
{
	_cleanup_free_ char *assignment = NULL;
	struct chan *chan = user;

	(void)session;
	(void)channel;
	if (chan->started || !env_name_ok(name) || !is_utf8(value) ||
	    venv__strv_count(chan->env) >= ENV_MAX)
		return -1;
	chan->env_size += strlen(name) + strlen(value) + 2;
	if (chan->env_size > ENV_SIZE_MAX || asprintf(&assignment, "%s=%s", name, value) < 0) {
		assignment = NULL;
		return -1;
	}
	return venv__env_set(&chan->env, assignment);
}

static unsigned size_ok(int value, unsigned otherwise)
{
	return value > 0 && value <= TERMINAL_SIZE_MAX ? (unsigned)value : otherwise;
}

/* NOLINTNEXTLINE(readability-function-size): the parameters are libssh's */
static int on_pty(ssh_session session, ssh_channel channel, const char *term, int columns, int rows,
		  int width, int height, void *user)
{
	struct chan *chan = user;

	(void)session;
	(void)channel;
	(void)width;
	(void)height;
	if (chan->started || chan->tty || strlen(term) > 128 || !is_utf8(term))
		return -1;
	chan->term = strdup(*term ? term : "dumb");
	chan->tty = chan->term != NULL;
	chan->rows = size_ok(rows, 24);
	chan->columns = size_ok(columns, 80);
	return chan->tty ? 0 : -1;
}

static void tell(const struct chan *chan, json_t *message)
{
	_cleanup_json_ json_t *owned = message;

	if (message && chan->control >= 0 && !chan->ended)
		(void)venv__msg_send(chan->control, message, NULL, 0, NULL);
}

static void tell_size(const struct chan *chan)
{
	tell(chan, json_pack("{s:s,s:i,s:i}", "op", "resize", "rows", (int)chan->rows, "columns",
			     (int)chan->columns));
}

static int on_window_change(ssh_session session, ssh_channel channel, int columns, int rows,
			    int width, int height, void *user)
{
	struct chan *chan = user;

	(void)session;
	(void)channel;
	(void)width;
	(void)height;
	if (!chan->tty)
		return -1;
	chan->rows = size_ok(rows, chan->rows);
	chan->columns = size_ok(columns, chan->columns);
	tell_size(chan);
	return 0;
}

static void on_signal(ssh_session session, ssh_channel channel, const char *name, void *user)
{
	struct chan *chan = user;

	(void)session;
	(void)channel;
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		if (strcmp(signals[i].name, name) == 0)
			tell(chan,
			     json_pack("{s:s,s:i}", "op", "signal", "signal", signals[i].number));
}

static void on_agent(ssh_session session, ssh_channel channel, void *user)
{
	struct chan *chan = user;

	(void)session;
	(void)channel;
	forward_agent(chan->sess); /* the client asks only when its user wants it */
	chan->agent = chan->sess->agent_path != NULL;
}

static void end_with(struct chan *chan, const char *message, const char *hint)
{
	if (asprintf(&chan->failure, "venv: %s\n%s%s%s", message, hint ? "hint: " : "",
		     hint ? hint : "", hint ? "\n" : "") < 0)
		chan->failure = NULL;
	chan->status = OUR_FAILURE;
	chan->ended = true;
	chan->ended_us = venv__now_us();
}

/* It did not even start. */
static void fail(struct chan *chan, const char *message, const char *hint)
{
	end_with(chan, message, hint);
	venv__sink_close(&chan->in);
	venv__source_close(&chan->out);
	venv__source_close(&chan->err);
}

static void open_terminal(struct chan *chan, struct keeper_reply *reply)
{
	int fd = venv__msg_fds_take(&reply->fds, 0);

	if (fd < 0) {
		fail(chan, "the keeper sent no terminal", NULL);
		return;
	}
	(void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	chan->out.fd = fd;
	venv__sink_open(&chan->in, fcntl(fd, F_DUPFD_CLOEXEC, 0));
	tell_size(chan); /* it may have changed since it was asked */
}

static void on_started(void *user, struct keeper_reply *reply)
{
	struct chan *chan = user;

	chan->call = NULL;
	if (reply->error) {
		fail(chan, venv_error_message(reply->error), venv_error_hint(reply->error));
		return;
	}
	chan->control = take_fd(&reply->connection);
	if (chan->tty)
		open_terminal(chan, reply);
}

/* Three pipes; the command's ends go to ret, ours into the channel. */
static int make_pipes(struct chan *chan, int ret[3])
{
	int ours[3] = { -1, -1, -1 };

	for (int i = 0; i < 3; i++) {
		int ends[2];

		if (pipe2(ends, O_CLOEXEC) < 0) {
			for (int k = 0; k < i; k++) {
				(void)close(ret[k]);
				(void)close(ours[k]);
			}
			return -errno;
		}
		ret[i] = ends[i == 0 ? 0 : 1];
		ours[i] = ends[i == 0 ? 1 : 0];
		(void)fcntl(ours[i], F_SETFL, O_NONBLOCK);
		(void)fchmod(ret[i], 0666); /* so that its user can open /dev/stderr and the like */
		if (i < 2)
			(void)fcntl(ours[i], F_SETPIPE_SZ, PIPE_SIZE);
	}
	venv__sink_open(&chan->in, ours[0]);
	chan->out.fd = ours[1];
	chan->err.fd = ours[2];
	return 0;
}

static char **environment(const struct chan *chan)
{
	const struct sess *sess = chan->sess;
	char **env = venv__strv_copy(sess->config.env);
	int r = env ? 0 : -ENOMEM;

	for (char **p = chan->env; r == 0 && p && *p; p++)
		r = venv__env_set(&env, *p);
	if (r == 0 && sess->client)
		r = venv__env_set(&env, sess->client);
	if (r == 0 && sess->connection)
		r = venv__env_set(&env, sess->connection);
	if (r == 0 && chan->agent)
		r = venv__strv_addf(&env, "SSH_AUTH_SOCK=%s", sess->agent_path);
	if (r == 0 && chan->tty)
		r = venv__strv_addf(&env, "TERM=%s", chan->term);
	if (r == 0)
		return env;
	venv__strv_free(env);
	return NULL;
}

static void complete(const struct chan *chan, json_t *request, json_t *env)
{
	const struct sess *sess = chan->sess;

	(void)json_object_set_new(request, "op", json_string("exec"));
	(void)json_object_set_new(request, "env", env);
	if (!sess->config.login || strcmp(sess->user, sess->config.login) != 0)
		(void)venv__json_set_str(request, "user", sess->user);
	if (chan->tty)
		(void)json_object_set_new(request, "tty",
					  json_pack("{s:i,s:i,s:s}", "rows", (int)chan->rows,
						    "columns", (int)chan->columns, "term",
						    chan->term));
}

/* Whether the keeper would take it, said before a connection to it is there or not. */
static bool fits(const json_t *request)
{
	return json_dumpb(request, NULL, 0, JSON_COMPACT) <= MSG_MAX;
}

/* Takes request: what to run. 0 or -1, as libssh wants it. */
static int start(struct chan *chan, json_t *request)
{
	_cleanup_strv_ char **env = chan->started ? NULL : environment(chan);
	_cleanup_json_ json_t *owned = request;
	int fds[3], r = 0;

	if (chan->started || !env)
		return -1;
	chan->started = true;
	if (!request) {
		fail(chan, "the command is not valid UTF-8", NULL);
		return 0;
	}
	complete(chan, request, venv__json_from_strv(env));
	if (!fits(request)) {
		fail(chan,
		     "the command and its environment are too long: hand it over as a file, or "
		     "through its input",
		     NULL);
		return 0;
	}
	if (!chan->tty)
		r = make_pipes(chan, fds);
	if (r < 0) {
		fail(chan, "no more descriptors in this connection", NULL);
		return 0;
	}
	chan->call = keeper_ask(&chan->sess->keeper, take_ptr(owned), fds, chan->tty ? 0 : 3,
				on_started, chan);
	if (!chan->call)
		fail(chan, "the machine is stopping", NULL);
	return 0;
}

static int on_exec(ssh_session session, ssh_channel channel, const char *command, void *user)
{
	_cleanup_strv_ char **words = sess_scp_words(command);
	struct chan *chan = user;
	json_t *request;

	(void)session;
	(void)channel;
	if (words && !chan->tty)
		request = venv__json_pack("{s:s,s:o*}", "mode", "scp", "argv",
					  venv__json_from_strv(words));
	else
		request = json_pack("{s:s}", "shell", command);
	return start(chan, request);
}

static int on_shell(ssh_session session, ssh_channel channel, void *user)
{
	(void)session;
	(void)channel;
	return start(user, json_object());
}

static int on_subsystem(ssh_session session, ssh_channel channel, const char *name, void *user)
{
	struct chan *chan = user;

	(void)session;
	(void)channel;
	if (strcmp(name, "sftp") != 0 || chan->tty)
		return -1;
	return start(chan, json_pack("{s:s}", "mode", "sftp"));
}

void exec_callbacks(struct ssh_channel_callbacks_struct *callbacks)
{
	callbacks->channel_env_request_function = on_env;
	callbacks->channel_pty_request_function = on_pty;
	callbacks->channel_pty_window_change_function = on_window_change;
	callbacks->channel_signal_function = on_signal;
	callbacks->channel_auth_agent_req_function = on_agent;
	callbacks->channel_exec_request_function = on_exec;
	callbacks->channel_shell_request_function = on_shell;
	callbacks->channel_subsystem_request_function = on_subsystem;
}

static void on_control(void *user, short revents)
{
	_cleanup_json_ json_t *message = NULL;
	struct chan *chan = user;
	int r;

	(void)revents;
	r = venv__msg_receive(chan->control, 0, &message, NULL, NULL);
	if (r == VENV_ERR_TIMEOUT)
		return;
	(void)close(take_fd(&chan->control));
	if (r <= 0) {
		end_with(chan, "the machine was stopped", NULL);
		return;
	}
	chan->signal = (int)venv__json_int(message, "signal", 0);
	chan->status = (int)venv__json_int(message, "exit", OUR_FAILURE);
	chan->ended = true;
	chan->ended_us = venv__now_us();
}

void exec_poll(struct chan *chan, struct poll_set *set)
{
	if (chan->control >= 0)
		sess_poll_add(set, chan->control, POLLIN, on_control, chan);
	if (chan->ended && chan->tty && chan->out.fd >= 0)
		set->timeout_ms = TERMINAL_GRACE_MS / 4;
}

/*
 * The command of a terminal has ended, but something else holds it open: let go, after all output.
 */
static bool terminal_is_idle(const struct chan *chan)
{
	struct pollfd p = { .fd = chan->out.fd, .events = POLLIN };

	return chan->tty && venv__now_us() - chan->ended_us > TERMINAL_GRACE_MS * 1000 &&
	       venv__source_waits(&chan->out, chan->channel) && poll(&p, 1, 0) == 0;
}

static void send_end(const struct chan *chan)
{
	const char *name = "TERM";

	if (!chan->signal) {
		(void)ssh_channel_request_send_exit_status(chan->channel, chan->status);
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		if (signals[i].number == chan->signal)
			name = signals[i].name;
	(void)ssh_channel_request_send_exit_signal(chan->channel, name, 0, "", "");
}

void exec_run(struct chan *chan)
{
	if (!chan->ended)
		return;
	if (chan->out.fd >= 0 && terminal_is_idle(chan))
		venv__source_close(&chan->out);
	if (chan->out.fd >= 0 || chan->err.fd >= 0 || chan->out.length || chan->err.length)
		return;
	if (chan->failure && ssh_channel_window_size(chan->channel) > strlen(chan->failure))
		(void)ssh_channel_write_stderr(chan->channel, chan->failure,
					       (uint32_t)strlen(chan->failure));
	(void)ssh_channel_send_eof(chan->channel);
	chan->eof_sent = true;
	send_end(chan);
	chan_finish(chan);
}
