/* SPDX-License-Identifier: Apache-2.0 */
/* The loop: streams, control messages, agent connections, until the command has ended. */
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "remote.h"

enum { PACKETS_PER_TURN = 16, FIXED_FDS = 6 };

static const struct {
	const char *name;
	int number;
} signals[] = {
	{ "HUP", SIGHUP },   { "INT", SIGINT },     { "QUIT", SIGQUIT }, { "ILL", SIGILL },
	{ "TRAP", SIGTRAP }, { "ABRT", SIGABRT },   { "BUS", SIGBUS },   { "FPE", SIGFPE },
	{ "KILL", SIGKILL }, { "USR1", SIGUSR1 },   { "SEGV", SIGSEGV }, { "USR2", SIGUSR2 },
	{ "PIPE", SIGPIPE }, { "ALRM", SIGALRM },   { "TERM", SIGTERM }, { "CONT", SIGCONT },
	{ "STOP", SIGSTOP }, { "TSTP", SIGTSTP },   { "XCPU", SIGXCPU }, { "XFSZ", SIGXFSZ },
	{ "SYS", SIGSYS },   { "WINCH", SIGWINCH },
};

int remote_signal_number(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		if (strcmp(signals[i].name, name) == 0)
			return signals[i].number;
	return UNKNOWN_SIGNAL;
}

const char *remote_signal_name(int number)
{
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		if (signals[i].number == number)
			return signals[i].name;
	return NULL;
}

/* ---- callbacks of the command's channel ---- */

static int on_data(ssh_session session, ssh_channel channel, void *data, uint32_t length,
		   int is_stderr, void *user)
{
	struct remote *remote = user;

	(void)session;
	(void)channel;
	return (int)venv__sink_take(is_stderr ? &remote->err : &remote->out, data, length);
}

static void on_eof(ssh_session session, ssh_channel channel, void *user)
{
	struct remote *remote = user;

	(void)session;
	(void)channel;
	remote->out.eof = true;
	remote->err.eof = true;
}

static void on_close(ssh_session session, ssh_channel channel, void *user)
{
	struct remote *remote = user;

	on_eof(session, channel, user);
	remote->closed = true;
}

static void on_status(ssh_session session, ssh_channel channel, int status, void *user)
{
	struct remote *remote = user;

	(void)session;
	(void)channel;
	remote->status = status;
}

static void on_signal(ssh_session session, ssh_channel channel, const char *name, int core,
		      const char *message, const char *language, void *user)
{
	struct remote *remote = user;

	(void)session;
	(void)channel;
	(void)core;
	(void)message;
	(void)language;
	remote->signal = remote_signal_number(name);
}

/* ---- agent connections ---- */

static int on_agent_data(ssh_session session, ssh_channel channel, void *data, uint32_t length,
			 int is_stderr, void *user)
{
	struct agent *agent = user;

	(void)session;
	(void)channel;
	return is_stderr ? (int)length : (int)venv__sink_take(&agent->in, data, length);
}

static void on_agent_eof(ssh_session session, ssh_channel channel, void *user)
{
	struct agent *agent = user;

	(void)session;
	(void)channel;
	agent->in.eof = true;
}

static void on_agent_close(ssh_session session, ssh_channel channel, void *user)
{
	struct agent *agent = user;

	(void)session;
	(void)channel;
	agent->closed = true;
}

static int connect_agent(const char *path)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	if (fd < 0 || strlen(path) >= sizeof(address.sun_path)) {
		if (fd >= 0)
			(void)close(fd);
		return -1;
	}
	memcpy(address.sun_path, path, strlen(path) + 1);
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
		(void)close(fd);
		return -1;
	}
	(void)fcntl(fd, F_SETFL, O_NONBLOCK);
	return fd;
}

ssh_channel remote_on_agent(ssh_session session, void *user)
{
	struct remote *remote = user;
	struct agent *agent = remote->agents;
	int fd;

	while (agent < remote->agents + AGENTS_MAX && agent->used)
		agent++;
	fd = agent < remote->agents + AGENTS_MAX ? connect_agent(remote->agent) : -1;
	if (fd < 0)
		return NULL;
	*agent = (struct agent){
		.channel = ssh_channel_new(session),
		.callbacks = { .userdata = agent,
			       .channel_data_function = on_agent_data,
			       .channel_eof_function = on_agent_eof,
			       .channel_close_function = on_agent_close },
		.in = { .fd = fd, .is_socket = true, .shut = true },
		.out = { .fd = fcntl(fd, F_DUPFD_CLOEXEC, 0) },
	};
	ssh_callbacks_init(&agent->callbacks);
	if (!agent->channel ||
	    ssh_set_channel_callbacks(agent->channel, &agent->callbacks) != SSH_OK) {
		venv__sink_close(&agent->in);
		venv__source_close(&agent->out);
		return NULL;
	}
	agent->used = true;
	return agent->channel;
}

static void agent_end(struct agent *agent)
{
	venv__sink_close(&agent->in);
	venv__source_close(&agent->out);
	(void)ssh_channel_close(agent->channel);
	(void)ssh_remove_channel_callbacks(agent->channel, &agent->callbacks);
	ssh_channel_free(agent->channel);
	agent->used = false;
}

static void agent_run(struct agent *agent, bool readable)
{
	enum flow_state state;

	venv__sink_run(&agent->in, agent->channel);
	state = agent->closed ? FLOW_BROKEN
			      : venv__source_run(&agent->out, agent->channel, readable);
	if (state == FLOW_ENDED && !agent->eof_sent) {
		(void)ssh_channel_send_eof(agent->channel);
		agent->eof_sent = true;
	}
	if (state == FLOW_BROKEN || (state == FLOW_ENDED && agent->in.fd < 0))
		agent_end(agent);
}

/* ---- the loop ---- */

static void on_control(struct remote *remote)
{
	_cleanup_json_ json_t *message = NULL;
	int r = venv__msg_receive(CLIENT_CONTROL_FD, 0, &message, NULL, NULL);
	const char *op = venv__json_str(message, "op"), *name;

	if (r == VENV_ERR_TIMEOUT)
		return;
	if (r <= 0) {
		remote->control = false;
		return;
	}
	name = remote_signal_name((int)venv__json_int(message, "signal", 0));
	if (op && strcmp(op, "resize") == 0)
		(void)ssh_channel_change_pty_size(remote->channel,
						  (int)venv__json_int(message, "columns", 80),
						  (int)venv__json_int(message, "rows", 24));
	else if (op && strcmp(op, "signal") == 0 && name)
		(void)ssh_channel_request_send_signal(remote->channel, name);
}

/* @return false when the connection is gone */
static bool on_packets(struct remote *remote)
{
	struct pollfd p = { .fd = CLIENT_SERVER_FD, .events = POLLIN };

	for (int i = 0; i < PACKETS_PER_TURN; i++) {
		if (ssh_event_dopoll(remote->event, 0) == SSH_ERROR ||
		    !ssh_is_connected(remote->session))
			return false;
		if (poll(&p, 1, 0) <= 0)
			break;
	}
	return true;
}

static void pump(struct remote *remote, const struct pollfd *fds)
{
	if (fds[2].revents)
		on_control(remote);
	if (fds[4].revents || remote->out.eof)
		venv__sink_run(&remote->out, remote->channel);
	if (fds[5].revents || remote->err.eof)
		venv__sink_run(&remote->err, remote->channel);
	if (!remote->closed &&
	    venv__source_run(&remote->in, remote->channel, fds[3].revents != 0) == FLOW_ENDED &&
	    !remote->eof_sent) {
		(void)ssh_channel_send_eof(remote->channel);
		remote->eof_sent = true;
	}
	for (size_t i = 0; i < AGENTS_MAX; i++)
		if (remote->agents[i].used)
			agent_run(&remote->agents[i], fds[FIXED_FDS + 2 * i].revents != 0);
}

static struct pollfd wanted(bool wants, int fd, short events)
{
	return (struct pollfd){ .fd = wants ? fd : -1, .events = events };
}

static void collect(const struct remote *remote, struct pollfd fds[FIXED_FDS + 2 * AGENTS_MAX])
{
	bool flushed = venv__flow_flushed(remote->session);

	fds[0] = wanted(true, CLIENT_SERVER_FD, flushed ? POLLIN : POLLIN | POLLOUT);
	fds[1] = wanted(true, CLIENT_RESULT_FD, 0);
	fds[2] = wanted(remote->control, CLIENT_CONTROL_FD, POLLIN);
	fds[3] = wanted(!remote->closed && venv__source_waits(&remote->in, remote->channel),
			remote->in.fd, POLLIN);
	fds[4] = wanted(venv__sink_waits(&remote->out), remote->out.fd, POLLOUT);
	fds[5] = wanted(venv__sink_waits(&remote->err), remote->err.fd, POLLOUT);
	for (size_t i = 0; i < AGENTS_MAX; i++) {
		const struct agent *agent = &remote->agents[i];

		fds[FIXED_FDS + 2 * i] =
			wanted(agent->used && venv__source_waits(&agent->out, agent->channel),
			       agent->out.fd, POLLIN);
		fds[FIXED_FDS + 2 * i + 1] =
			wanted(agent->used && venv__sink_waits(&agent->in), agent->in.fd, POLLOUT);
	}
}

static int end_of(struct remote *remote, venv_error **err)
{
	if (remote->left)
		return venv__fail(err, VENV_ERR_CANCELLED, "cancelled");
	if (remote->signal > 0 || remote->status >= 0)
		return 0;
	return venv__fail(err, VENV_ERR_NETWORK,
			  "ssh to '%s': the connection ended before the command did",
			  remote->alias);
}

int remote_run(struct remote *remote, venv_error **err)
{
	struct pollfd fds[FIXED_FDS + 2 * AGENTS_MAX];
	bool connected = true;

	remote->event = ssh_event_new();
	if (!remote->event || ssh_event_add_session(remote->event, remote->session) != SSH_OK)
		return venv__fail_nomem(err);
	memset(fds, 0, sizeof(fds));
	pump(remote, fds);
	/* when all is said, what libssh still holds must reach the streams */
	while (!(remote->closed || !connected) || remote->out.fd >= 0 || remote->err.fd >= 0) {
		collect(remote, fds);
		if (!connected)
			fds[0].fd = -1;
		if (poll(fds, ARRAY_SIZE(fds), -1) < 0) {
			if (errno == EINTR)
				continue;
			return venv__fail_errno(err, errno, "cannot wait");
		}
		if (fds[1].revents) {
			remote->left = true;
			break;
		}
		if (fds[0].revents && connected && !on_packets(remote)) {
			connected = false;
			on_close(remote->session, remote->channel, remote);
		}
		pump(remote, fds);
	}
	return end_of(remote, err);
}

int remote_prepare_channel(struct remote *remote)
{
	remote->callbacks = (struct ssh_channel_callbacks_struct){
		.userdata = remote,
		.channel_data_function = on_data,
		.channel_eof_function = on_eof,
		.channel_close_function = on_close,
		.channel_exit_status_function = on_status,
		.channel_exit_signal_function = on_signal,
	};
	ssh_callbacks_init(&remote->callbacks);
	return ssh_set_channel_callbacks(remote->channel, &remote->callbacks);
}
