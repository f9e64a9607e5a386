/* SPDX-License-Identifier: Apache-2.0 */
/* venv-relay against a venv-vmm and an agent that say what each test wants. */
#include "test.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "providers/kvm/relay/relay.h"
#include "util/file.h"

struct world {
	char path[32];
	struct relay relay;
	int vmm; /* its listening socket */
	pid_t agent;
};

static int setup(void **state)
{
	struct world *w = test_calloc(1, sizeof(*w));
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	memcpy(w->path, "/tmp/venv-test-XXXXXX", sizeof("/tmp/venv-test-XXXXXX"));
	assert_non_null(mkdtemp(w->path));
	w->relay.vmm_fd = -1;
	w->relay.machine_fd = open(w->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	w->relay.loop = venv__loop_new();
	w->relay.config = json_pack("{s:s}", "login", "dev");
	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s/vsock", w->path);
	w->vmm = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(w->vmm, (const struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(w->vmm, 8), 0);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	if (w->agent)
		(void)waitpid(w->agent, NULL, 0);
	while (w->relay.clients)
		relay_client_close(w->relay.clients);
	venv__loop_free(w->relay.loop);
	json_decref(w->relay.config);
	(void)close(w->relay.machine_fd);
	(void)close(w->vmm);
	assert_int_equal(venv__tree_delete(AT_FDCWD, w->path, NULL), 0);
	test_free(w);
	return 0;
}

/* The next connection is answered by these bytes, and read until its end. */
static void answer(struct world *w, const void *data, size_t length)
{
	w->agent = fork();
	if (w->agent == 0) {
		int fd = accept(w->vmm, NULL, NULL);
		char drop[512];

		if (write(fd, data, length) != (ssize_t)length)
			_exit(1);
		(void)shutdown(fd, SHUT_WR);
		while (read(fd, drop, sizeof(drop)) > 0)
			;
		_exit(0);
	}
}
#define ANSWER(w, text) answer(w, text, sizeof(text) - 1)

#define OK "OK 1\n\3\0\0\0\2\0\0\0ok\0"

static int call(const struct world *w, struct agent_stream *stream, struct words *reply,
		venv_error **err)
{
	char text[] = "hello";
	struct words_out out = { .data = text, .length = sizeof(text), .size = sizeof(text) };
	const struct agent_call how = { &w->relay, &out, 0, 5000, -1 };

	return relay_agent_call(&how, stream, reply, err);
}

static void answers_are_read(void **state)
{
	static const struct {
		const char *text;
		size_t length;
		int code;
		const char *message;
	} cases[] = {
#define CASE(text, code, message) { text, sizeof(text) - 1, code, message }
		CASE(OK, 0, NULL),
		CASE("", VENV_ERR_STATE, "does not answer"),
		CASE("NO\n", VENV_ERR_CORRUPT, "nobody understands"),
		CASE("OK 1111111111111111111111111111111111111111\n", VENV_ERR_CORRUPT, "nobody"),
		CASE("OK 1\n", VENV_ERR_SYSTEM, "cannot reach"),
		CASE("OK 1\n\3\0\0\0\2\0\0\0ok", VENV_ERR_CORRUPT, "nobody understands"),
		CASE("OK 1\n\2\0\0\0\2\0\0\0ok", VENV_ERR_CORRUPT, "nobody understands"),
		CASE("OK 1\n\3\0\0\0\4\0\0\0ok\0", VENV_ERR_CORRUPT, "nobody understands"),
		CASE("OK 1\n\1\0\0\0\2\0\0\0\0", VENV_ERR_CORRUPT, "nobody understands"),
		CASE("OK 1\n\x1b\0\0\0\2\0\0\0error\0number=2\0what=\033[31mx\0",
		     VENV_ERR_NOT_FOUND, "'?[31mx'"),
		CASE("OK 1\n\7\0\0\0\2\0\0\0error\0\0", VENV_ERR_SYSTEM, "the machine"),
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct agent_stream *stream = test_calloc(1, sizeof(*stream));
		struct world *w = *state;
		venv_error *error = NULL;
		struct words reply;
		int r;

		answer(w, cases[i].text, cases[i].length);
		r = call(w, stream, &reply, &error);
		if (cases[i].code != r)
			print_message("case %zu: %s\n", i, venv_error_message(error));
		assert_int_equal(r, cases[i].code);
		if (r == 0)
			(void)close(stream->fd);
		else
			assert_non_null(strstr(venv_error_message(error), cases[i].message));
		venv_error_free(error);
		test_free(stream);
		(void)waitpid(w->agent, NULL, 0);
		w->agent = 0;
	}
}

static void nobody_there_is_told(void **state)
{
	struct agent_stream *stream = test_calloc(1, sizeof(*stream));
	struct world *w = *state;
	struct words reply;

	assert_int_equal(unlinkat(w->relay.machine_fd, "vsock", 0), 0);
	assert_int_equal(call(w, stream, &reply, NULL), VENV_ERR_STATE);
	test_free(stream);
}

static void requests_become_words(void **state)
{
	_cleanup_json_ json_t *request =
		json_pack("{s:s, s:s, s:[s, s], s:[s], s:{s:i, s:i, s:s}}", "op", "exec", "user",
			  "dev", "argv", "ls", "-l", "env", "A=1", "tty", "rows", 30, "columns", 90,
			  "term", "vt100");
	static const char expected[] = "exec\0login=1\0user=dev\0env=A=1\0env=TERM=vt100\0tty=1\0"
				       "rows=30\0columns=90\0arg=ls\0arg=-l";
	char text[256], small[16];
	struct words_out out = { .data = text, .size = sizeof(text) };
	struct words_out short_out = { .data = small, .size = sizeof(small) };

	(void)state;
	assert_true(relay_exec_request(request, &out));
	assert_int_equal(out.length, sizeof(expected));
	assert_memory_equal(text, expected, sizeof(expected));
	assert_false(relay_exec_request(request, &short_out));
}

static json_t *ask(struct world *w, const char *op, int *ret_fd)
{
	_cleanup_json_ json_t *request =
		json_pack("{s:s, s:s, s:i}", "op", op, "host", "127.0.0.1", "port", 80);
	struct msg_fds none = MSG_FDS_INIT;
	_cleanup_msg_fds_ struct msg_fds fds = MSG_FDS_INIT;
	json_t *reply = NULL;
	int pair[2];

	assert_int_equal(venv__msg_pair(pair), 0);
	relay_client_request(relay_client_add(&w->relay, pair[1]), request, &none);
	assert_int_equal(venv__msg_receive(pair[0], 10000, &reply, &fds, NULL), 1);
	if (ret_fd)
		*ret_fd = venv__msg_fds_take(&fds, 0);
	(void)close(pair[0]);
	return reply;
}

static void ports_are_handed_on_as_they_are(void **state)
{
	_cleanup_json_ json_t *reply = NULL;
	struct world *w = *state;
	char text[8] = "";
	int fd = -1;

	ANSWER(w, OK "raw");
	reply = ask(w, "dial", &fd);
	assert_null(json_object_get(reply, "error"));
	assert_true(fd >= 0);
	assert_int_equal(read(fd, text, 3), 3);
	assert_string_equal(text, "raw");
	(void)close(fd);
}

static void what_is_unknown_is_refused(void **state)
{
	_cleanup_json_ json_t *unknown = ask(*state, "pause", NULL),
			      *ssh = ask(*state, "ssh", NULL);
	_cleanup_json_ json_t *facts = ask(*state, "state", NULL);

	assert_non_null(json_object_get(unknown, "error"));
	assert_non_null(json_object_get(ssh, "error")); /* the agent has not answered yet */
	assert_true(json_is_false(json_object_get(facts, "agent")));
}

/* A session is behind bytes of strangers: it may run and dial as who logged in, and nothing else. */
static void sessions_may_not_ask_for_all(void **state)
{
	_cleanup_json_ json_t *request = json_pack("{s:s}", "op", "ssh"), *reply = NULL;
	struct msg_fds none = MSG_FDS_INIT;
	struct world *w = *state;
	struct client *client;
	int pair[2];

	assert_int_equal(venv__msg_pair(pair), 0);
	client = relay_client_add(&w->relay, pair[1]);
	client->session = 1;
	relay_client_request(client, request, &none);
	assert_int_equal(venv__msg_receive(pair[0], 1000, &reply, NULL, NULL), 1);
	assert_non_null(
		strstr(venv__json_str(json_object_get(reply, "error"), "message"), "'ssh'"));
	(void)close(pair[0]);
}

/* A machine that does not answer is asked for long by a process that must not keep others' connections. */
static void connections_end_while_the_clock_is_set(void **state)
{
	_cleanup_json_ json_t *time = json_pack("{s:s}", "op", "time");
	struct msg_fds none = MSG_FDS_INIT;
	struct world *w = *state;
	struct client *other, *asks;
	int others[2], pair[2];
	struct pollfd wait;

	assert_int_equal(venv__msg_pair(others), 0);
	assert_int_equal(venv__msg_pair(pair), 0);
	other = relay_client_add(&w->relay, others[1]);
	asks = relay_client_add(&w->relay, pair[1]);
	relay_client_request(asks, time, &none);
	relay_client_close(other);
	wait = (struct pollfd){ .fd = others[0], .events = POLLIN };
	assert_int_equal(poll(&wait, 1, 2000), 1);
	(void)close(others[0]);
	(void)close(pair[0]);
}

/* What a command says, with the agent's frames in `data`. */
static void carry(const void *data, size_t length, char *out, size_t size, json_t **ret_end)
{
	struct agent_stream *stream = test_calloc(1, sizeof(*stream));
	int agent[2], client[2], pipes[2];
	ssize_t n;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, agent), 0);
	assert_int_equal(venv__msg_pair(client), 0);
	assert_int_equal(pipe(pipes), 0);
	assert_int_equal(write(agent[1], data, length), (ssize_t)length);
	(void)shutdown(agent[1], SHUT_WR);
	stream->fd = agent[0];
	relay_exec_carry(stream, client[1], -1, pipes[1], open("/dev/null", O_WRONLY));
	(void)close(client[1]);
	n = read(pipes[0], out, size - 1);
	out[n > 0 ? n : 0] = '\0';
	if (venv__msg_receive(client[0], 0, ret_end, NULL, NULL) <= 0)
		*ret_end = NULL;
	(void)close(pipes[0]);
	(void)close(client[0]);
	(void)close(agent[0]);
	(void)close(agent[1]);
	test_free(stream);
}

static void commands_say_and_end(void **state)
{
	static const char good[] =
		"\3\0\0\0\4\0\0\0abc"
		"\4\0\0\0\6\0\0\0\377\377\377\377" /* more credit than there is */
		"\0\0\0\0\7\0\0\0"
		"\4\0\0\0\12\0\0\0\0\7\0\0" /* exit(7) */
		"\4\0\0\0\12\0\0\0\0\1\0\0" /* and once more */
		"\0\0\0\0\4\0\0\0\0\0\0\0\5\0\0\0";
	static const char cut[] = "\3\0\0\0\4\0\0\0ab";
	static const char strange[] = "\3\0\0\0\4\0\0\0abc\3\0\0\0\2\0\0\0ok";
	json_t *end = NULL;
	char text[16];

	(void)state;
	carry(good, sizeof(good) - 1, text, sizeof(text), &end);
	assert_string_equal(text, "abc");
	assert_int_equal(venv__json_int(end, "exit", -1), 7);
	json_decref(end);
	carry("\4\0\0\0\12\0\0\0\11\0\0\0", 12, text, sizeof(text), &end);
	assert_int_equal(venv__json_int(end, "signal", -1), 9);
	json_decref(end);
	carry(cut, sizeof(cut) - 1, text, sizeof(text), &end); /* the machine is gone */
	assert_string_equal(text, "");
	assert_null(end);
	carry(strange, sizeof(strange), text, sizeof(text), &end);
	assert_string_equal(text, "abc");
	assert_null(end);
}

static void leftovers_are_removed(void **state)
{
	struct world *w = *state;

	assert_int_equal(mknodat(w->relay.machine_fd, "relay.12", S_IFSOCK | 0600, 0), 0);
	(void)close(openat(w->relay.machine_fd, "relay.log", O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	relay_sockets_sweep(w->relay.machine_fd);
	assert_int_equal(faccessat(w->relay.machine_fd, "relay.12", F_OK, 0), -1);
	assert_int_equal(faccessat(w->relay.machine_fd, "relay.log", F_OK, 0), 0);
	assert_int_equal(faccessat(w->relay.machine_fd, "vsock", F_OK, 0), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(answers_are_read),
		TEST(nobody_there_is_told),
		cmocka_unit_test(requests_become_words),
		TEST(ports_are_handed_on_as_they_are),
		TEST(what_is_unknown_is_refused),
		TEST(sessions_may_not_ask_for_all),
		TEST(connections_end_while_the_clock_is_set),
		cmocka_unit_test(commands_say_and_end),
		TEST(leftovers_are_removed),
	};

	(void)signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("kvm_relay", tests, NULL, NULL);
}
