/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages to the keeper. Each line of the input is for one of four connections, "a" to "d" (the last
 * two are those of a venv-sess), whose letter it begins with; what follows is the message, and the
 * letter alone closes the connection. "!" answers as a venv-enter that guest root has taken over, with
 * a record of these bytes; "." ends the oldest command. Nothing enters a machine here.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "keeper/keeper.h"
#include "setup/report.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { CONNECTIONS = 4, SESSIONS_FROM = 2, ENTERED_MAX = 64, NO_PID = 0x7fffffff };

static int entered[ENTERED_MAX]; /* the other ends of sockets that a venv-enter would have */
static size_t n_entered;

int keeper_enter(struct keeper *keeper, const struct entry *entry, int *ret_master,
		 venv_error **err)
{
	if (strcmp(entry->argv[0], "venv-enter") != 0 || !entry->argv[1])
		abort();
	if (keeper->state != KEEPER_RUNNING || n_entered == ENTERED_MAX)
		return venv__fail(err, VENV_ERR_STATE, "the machine is ending");
	if (entry->socket >= 0)
		entered[n_entered++] = dup(entry->socket);
	if (entry->tty)
		*ret_master = open("/dev/null", O_RDWR | O_CLOEXEC);
	return NO_PID; /* that no signal reaches */
}

void keeper_stop(struct keeper *keeper, int signal_number, unsigned timeout_ms)
{
	(void)timeout_ms;
	if (signal_number <= 0 || signal_number >= NSIG)
		abort();
	keeper->state = KEEPER_STOPPING;
}

void keeper_kill(struct keeper *keeper)
{
	keeper->state = KEEPER_STOPPING;
}

int keeper_pause(struct keeper *keeper, bool pause, venv_error **err)
{
	if (keeper->state == KEEPER_STOPPING)
		return venv__fail(err, VENV_ERR_STATE, "the machine is ending");
	keeper->state = pause ? KEEPER_PAUSED : KEEPER_RUNNING;
	return 0;
}

int keeper_console_connect(struct keeper *keeper, venv_error **err)
{
	return keeper->state == KEEPER_STOPPING
		       ? venv__fail(err, VENV_ERR_STATE, "the machine is ending")
		       : eventfd(0, EFD_CLOEXEC);
}

void keeper_ssh_request(struct client *client)
{
	keeper_client_reply(client, NULL, NULL, 0);
}

void keeper_ssh_settle(const struct client *client)
{
	(void)client;
}

json_t *keeper_record_json(const struct keeper *keeper)
{
	return json_pack("{s:i}", "state", (int)keeper->state);
}

void keeper_record_write(const struct keeper *keeper)
{
	(void)keeper;
}

int venv__cgroup_limit(struct cgroup *cgroup, const json_t *limits, venv_error **err)
{
	(void)cgroup;
	return json_is_object(limits) ? 0 : venv__fail(err, VENV_ERR_INVALID, "no limits");
}

int venv__cgroup_freeze(struct cgroup *cgroup, bool frozen, venv_error **err)
{
	(void)cgroup;
	(void)frozen;
	(void)err;
	return 0;
}

json_t *venv__cgroup_stats(const struct cgroup *cgroup)
{
	(void)cgroup;
	return json_object();
}

enum cgroup_oom venv__cgroup_oom(const struct cgroup *cgroup)
{
	(void)cgroup;
	return OOM_FAR;
}

/* ---- The loop, until nothing is left to do -------------------------------------------------- */

struct turn {
	struct loop *loop;
	int count;
};

static void on_turn(void *user, int fd, uint32_t events)
{
	struct turn *turn = user;

	(void)fd;
	(void)events;
	if (++turn->count % 3 == 0)
		venv__loop_quit(turn->loop, 0);
}

static void read_answers(const int *peers)
{
	for (int i = 0; i < CONNECTIONS; i++) {
		for (;;) {
			_cleanup_json_ json_t *reply = NULL;
			_cleanup_msg_fds_ struct msg_fds fds = MSG_FDS_INIT;

			if (peers[i] < 0 || venv__msg_receive(peers[i], 0, &reply, &fds, NULL) != 1)
				break;
			if (!json_is_object(reply))
				abort();
		}
	}
}

/* ---- What is done --------------------------------------------------------------------------- */

static void say(struct keeper *keeper, int *peer, bool session, const char *text, size_t length)
{
	int pair[2];
	struct client *client;

	if (!length) {
		if (*peer >= 0)
			(void)close(take_fd(peer));
		return;
	}
	if (*peer < 0) {
		if (venv__msg_pair(pair) < 0 || !(client = keeper_client_add(keeper, pair[0])))
			abort();
		client->session = session;
		*peer = pair[1];
	}
	(void)send(*peer, text, length, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void answer(const char *bytes, size_t length)
{
	struct record record = { .kind = RECORD_READY };
	int fd = -1;

	if (!n_entered)
		return;
	memcpy(&record.kind, bytes,
	       length < sizeof(record) - sizeof(record.magic)
		       ? length
		       : sizeof(record) - sizeof(record.magic));
	if (record.kind != RECORD_ERROR)
		fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	(void)setup_record_send(entered[--n_entered], &record, &fd, fd >= 0 ? 1 : 0);
	(void)close(entered[n_entered]);
	if (fd >= 0)
		(void)close(fd);
}

static bool end_command(struct keeper *keeper)
{
	struct client *oldest = NULL;

	for (struct client *client = keeper->clients; client; client = client->next)
		if (client->pid)
			oldest = client;
	if (oldest)
		keeper_exec_ended(oldest, 0);
	return oldest != NULL;
}

static void one_line(struct keeper *keeper, int *peers, const char *line, size_t length)
{
	int i = *line - 'a';

	if (*line == '!')
		answer(line + 1, length - 1);
	else if (*line == '.')
		(void)end_command(keeper);
	else if (i >= 0 && i < CONNECTIONS)
		say(keeper, &peers[i], i >= SESSIONS_FROM, line + 1, length - 1);
}

static void end(struct keeper *keeper, int *peers)
{
	for (int i = 0; i < CONNECTIONS; i++)
		if (peers[i] >= 0)
			(void)close(peers[i]);
	(void)venv__loop_run(keeper->loop);
	while (end_command(keeper))
		;
	keeper->state = KEEPER_STOPPING;
	while (n_entered)
		(void)close(entered[--n_entered]);
	for (int i = 0; keeper->clients && i < 100; i++)
		(void)venv__loop_run(keeper->loop);
	(void)venv__loop_run(keeper->loop);
	if (keeper->clients)
		abort();
}

static int lowest(void)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	(void)close(fd);
	return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char login[] = "root";
	struct keeper keeper = { .state = KEEPER_RUNNING,
				 .net_fd = -1,
				 .userns_fd = -1,
				 .netns_fd = -1,
				 .ctl_fd = -1,
				 .machine_netns_fd = -1 };
	int peers[CONNECTIONS] = { -1, -1, -1, -1 }, before = lowest(), always;
	struct turn turn = { .count = 0 };

	keeper.plan.login = login;
	keeper.plan.stop_signal = SIGTERM;
	keeper.loop = turn.loop = venv__loop_new();
	always = eventfd(1, EFD_CLOEXEC);
	(void)venv__loop_add(keeper.loop, always, EPOLLIN, on_turn, &turn);
	while (size) {
		const uint8_t *newline = memchr(data, '\n', size);
		size_t length = newline ? (size_t)(newline - data) : size;

		if (length)
			one_line(&keeper, peers, (const char *)data, length);
		(void)venv__loop_run(keeper.loop);
		read_answers(peers);
		data += length + (newline ? 1 : 0);
		size -= length + (newline ? 1 : 0);
	}
	end(&keeper, peers);
	venv__loop_free(keeper.loop);
	(void)close(always);
	if (lowest() != before)
		abort();
	return 0;
}
