/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "relay.h"
#include "util/buf.h"

enum { STARTER_FD = 3, RECEIVE_MS = 10000, HELLO_MS = 5000, PAUSE_MS = 50 };

/* ---- ssh ---- */

static bool on_session(void *user, int socket, unsigned session)
{
	struct client *client = relay_client_add(user, socket);

	if (!client)
		return false;
	client->session = session;
	client->first = true;
	return true;
}

static void on_failure(void *user, const venv_error *error)
{
	(void)user;
	(void)dprintf(STDERR_FILENO, "venv-relay: ssh: %s\n", venv_error_message(error));
}

static int open_door(struct relay *relay, venv_error **err)
{
	const json_t *config = relay->config;
	const struct door_config door = {
		.loop = relay->loop,
		.machine_fd = relay->machine_fd,
		.log_fd = STDERR_FILENO,
		.port = (int)venv__json_int(config, "ssh_port", 0),
		.libexec = venv__json_str(config, "libexec"),
		.machine = venv__json_str(config, "machine"),
		.login = venv__json_str(config, "login"),
		.env = relay->env,
		.extra_keys = relay->extra_keys,
		.forward_agent = venv__json_bool(config, "forward_agent", false),
		.opened = on_session,
		.failed = on_failure,
		.user = relay,
	};

	if (!venv__json_bool(config, "ssh", false))
		return 0;
	if (!door.libexec || !door.machine || !door.login)
		return venv__fail(err, VENV_ERR_INVALID, "the start message lacks something");
	return venv__door_open(&door, &relay->door, err);
}

/* ---- First contact ---- */

/* In a process of its own, which says a byte when the agent has answered. */
static _Noreturn void say_hello(const struct relay *relay, int told)
{
	char text[16];
	struct words_out out = { .data = text, .size = sizeof(text) };
	const struct agent_call call = { relay, &out, HELLO_MS, HELLO_MS, -1 };
	struct agent_stream *stream = calloc(1, sizeof(*stream));
	struct words reply;

	relay_let_go(relay, told, &(struct msg_fds)MSG_FDS_INIT);
	words_add(&out, "hello");
	if (!stream || relay_agent_call(&call, stream, &reply, NULL) < 0 ||
	    words_number(&reply, "version", 1000, 0) < 1)
		_exit(1);
	/* a machine that was suspended may have slept long */
	(void)relay_agent_time(relay, NULL);
	_exit(write(told, "", 1) != 1);
}

static void ask_hello(struct relay *relay);

static void on_pause(void *user, int fd, uint32_t events)
{
	(void)fd;
	(void)events;
	ask_hello(user);
}

static void on_hello(void *user, int fd, uint32_t events)
{
	struct relay *relay = user;
	char byte;

	(void)events;
	relay->agent = read(fd, &byte, 1) == 1;
	venv__loop_remove(take_ptr(relay->hello));
	(void)close(fd);
	if (!relay->agent)
		(void)venv__loop_timer(relay->loop, PAUSE_MS, 0, on_pause, relay);
}

static void ask_hello(struct relay *relay)
{
	int ends[2];
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return;
	pid = fork();
	if (pid == 0)
		say_hello(relay, ends[1]);
	(void)close(ends[1]);
	relay->hello = venv__loop_add(relay->loop, ends[0], EPOLLIN, on_hello, relay);
	if (!relay->hello)
		(void)close(ends[0]);
}

/* ---- Start and end ---- */

static int receive(struct relay *relay, venv_error **err)
{
	_cleanup_msg_fds_ struct msg_fds fds = MSG_FDS_INIT;
	int r = venv__msg_receive(STARTER_FD, RECEIVE_MS, &relay->config, &fds, err);

	if (r <= 0)
		return r < 0 ? r : venv__fail(err, VENV_ERR_STATE, "the starter went away");
	relay->machine_fd = venv__msg_fds_take(&fds, 0);
	relay->env = venv__json_strv(relay->config, "env");
	relay->extra_keys = venv__json_strv(relay->config, "extra_keys");
	if (relay->machine_fd < 0)
		return venv__fail(err, VENV_ERR_INVALID, "the start message lacks something");
	return 0;
}

static void on_end(void *user, int fd, uint32_t events)
{
	struct relay *relay = user;

	(void)fd;
	(void)events;
	venv__loop_quit(relay->loop, 0);
}

/* A connection to venv-vmm that says nothing: its end is the machine's. */
static int watch_machine(struct relay *relay, venv_error **err)
{
	relay->vmm_fd = venv__msg_connect(relay->machine_fd, "ctl", err);
	if (relay->vmm_fd < 0)
		return relay->vmm_fd;
	if (!venv__loop_add(relay->loop, relay->vmm_fd, EPOLLIN, on_end, relay))
		return venv__fail_errno(err, errno, "cannot watch the machine");
	return 0;
}

static int start(struct relay *relay, venv_error **err)
{
	int r = receive(relay, err);

	if (r < 0)
		return r;
	relay->loop = venv__loop_new();
	if (!relay->loop)
		return venv__fail_nomem(err);
	relay_sockets_sweep(relay->machine_fd);
	r = watch_machine(relay, err);
	if (r == 0)
		r = relay_control_open(relay, err);
	if (r == 0)
		r = open_door(relay, err);
	if (r == 0)
		ask_hello(relay);
	return r;
}

static void tell_starter(const struct relay *relay, const venv_error *error)
{
	_cleanup_json_ json_t *ready = error ? venv__error_to_json(error)
					     : json_pack("{s:b, s:i}", "ready", 1, "ssh_port",
							 venv__door_port(relay->door));

	if (ready)
		(void)venv__msg_send(STARTER_FD, ready, NULL, 0, NULL);
	(void)close(STARTER_FD);
}

/* Keys pass through us, and bytes of the machine's. */
static void confine(void)
{
	const struct rlimit none = { 0, 0 };

	(void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	(void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	(void)setrlimit(RLIMIT_CORE, &none);
}

int main(void)
{
	struct relay relay = { .machine_fd = -1, .ctl_fd = -1, .vmm_fd = -1 };
	_cleanup_error_ venv_error *error = NULL;

	(void)fcntl(STARTER_FD, F_SETFD, FD_CLOEXEC);
	(void)signal(SIGCHLD, SIG_IGN);
	(void)signal(SIGPIPE, SIG_IGN);
	confine();
	if (start(&relay, &error) < 0) {
		tell_starter(&relay, error);
		return 1;
	}
	tell_starter(&relay, NULL);
	(void)venv__loop_run(relay.loop);
	(void)unlinkat(relay.machine_fd, "relay", 0);
	relay_sockets_sweep(relay.machine_fd);
	return 0;
}
