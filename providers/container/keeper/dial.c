/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sockets made inside for ssh's forwardings. venv-enter makes them, since names, addresses and
 * paths are the machine's. It may take long to connect, so the answer is awaited in the event
 * loop.
 */
#include <string.h>

#include "../enter/enter.h"
#include "../setup/report.h"
#include "keeper.h"

struct dial {
	struct client *client;
	struct keeper *keeper;
	struct loop_source *source;
	int socket;
	bool listens, agent;
};

static bool is_client(const struct keeper *keeper, const struct client *wanted)
{
	for (const struct client *client = keeper->clients; client; client = client->next)
		if (client == wanted)
			return true;
	return false;
}

static void answer(const struct dial *dial, const struct record *record, int fd)
{
	_cleanup_error_ venv_error *error = NULL;
	json_t *reply = NULL;

	if (!record || record->kind == RECORD_ERROR || fd < 0) {
		int number = record && record->number ? record->number : EIO;

		if (record && record->number == ENOENT && !dial->listens)
			(void)venv__fail(&error, VENV_ERR_NOT_FOUND, "no such host: '%s'",
					 record->what);
		else
			(void)venv__fail_errno(&error, number, "%s",
					       record ? record->what : "no socket");
		keeper_client_fail(dial->client, error);
		return;
	}
	if (dial->agent && !dial->client->agent)
		dial->client->agent = strdup(record->what);
	if (dial->agent)
		reply = json_pack("{s:s}", "path", record->what);
	else if (dial->listens)
		reply = json_pack("{s:I}", "port", (json_int_t)record->value[0]);
	keeper_client_reply(dial->client, reply, &fd, 1);
}

static void on_answer(void *user, int socket, uint32_t events)
{
	struct dial *dial = user;
	struct record record;
	int fd = -1, r;

	(void)events;
	r = setup_record_receive(socket, &record, &fd, 1, NULL);
	if (is_client(dial->keeper, dial->client))
		answer(dial, r == 1 ? &record : NULL, fd);
	if (fd >= 0)
		(void)close(fd);
	venv__loop_remove(dial->source);
	(void)close(socket);
	free(dial);
}

static int start(struct dial *dial, char *const *argv, venv_error **err)
{
	struct entry entry = { .argv = argv, .fds = { -1, -1, -1 } };
	char *const no_environment[] = { NULL };
	int pair[2], master = -1, r = venv__msg_pair(pair);

	if (r < 0)
		return venv__fail_errno(err, -r, "cannot make a socket");
	entry.envp = no_environment;
	entry.socket = pair[1];
	r = keeper_enter(dial->keeper, &entry, &master, err);
	(void)close(pair[1]);
	dial->socket = pair[0];
	if (r >= 0)
		dial->source =
			venv__loop_add(dial->keeper->loop, pair[0], EPOLLIN, on_answer, dial);
	if (r >= 0 && dial->source)
		return 0;
	(void)close(pair[0]);
	return r < 0 ? r : venv__fail_nomem(err);
}

static void begin(struct client *client, char *const *argv, bool listens, bool agent)
{
	_cleanup_error_ venv_error *error = NULL;
	struct dial *dial = calloc(1, sizeof(*dial));

	if (dial)
		*dial = (struct dial){ .client = client,
				       .keeper = client->keeper,
				       .socket = -1,
				       .listens = listens,
				       .agent = agent };
	if (!dial)
		(void)venv__fail_nomem(&error);
	if (dial && start(dial, argv, &error) == 0)
		return;
	free(dial);
	keeper_client_fail(client, error);
}

void keeper_dial(struct client *client, const json_t *request)
{
	char program[] = "venv-enter", dial[] = "dial", dial_path[] = "dial-path", port[16];
	_cleanup_free_ char *host = NULL;
	const char *path = venv__json_str(request, "path"), *name = venv__json_str(request, "host");
	char *argv[] = { program, path ? dial_path : dial, NULL, NULL, NULL };

	(void)snprintf(port, sizeof(port), "%d", (int)venv__json_int(request, "port", 0));
	host = strdup(path ? path : name ? name : "localhost");
	argv[2] = host;
	if (!path)
		argv[3] = port;
	begin(client, argv, false, false);
}

void keeper_listen(struct client *client, const json_t *request)
{
	char program[] = "venv-enter", listen[] = "listen", agent[] = "listen-agent", port[16];
	char user_option[] = "-u";
	bool is_agent = venv__json_bool(request, "agent", false);
	const char *given = venv__json_str(request, is_agent ? "user" : "host");
	_cleanup_free_ char *text = strdup(given      ? given
					   : is_agent ? client->keeper->plan.login
						      : "");
	char *argv[] = { program, is_agent ? agent : listen, NULL, NULL, NULL };

	(void)snprintf(port, sizeof(port), "%d", (int)venv__json_int(request, "port", 0));
	argv[2] = is_agent ? user_option : text;
	argv[3] = is_agent ? text : port;
	begin(client, argv, true, is_agent);
}

void keeper_agent_end(struct client *client)
{
	char program[] = "venv-enter", mode[] = "unlisten-agent";
	char *argv[] = { program, mode, client->agent, NULL };
	char *const no_environment[] = { NULL };
	struct entry entry = { .argv = argv, .envp = no_environment, .fds = { -1, -1, -1 } };
	int master = -1;

	entry.socket = -1;
	/* a machine that ends takes its /tmp along, or keeps an empty directory */
	if (client->agent && client->keeper->state == KEEPER_RUNNING)
		(void)keeper_enter(client->keeper, &entry, &master, NULL);
	free(take_ptr(client->agent));
}
