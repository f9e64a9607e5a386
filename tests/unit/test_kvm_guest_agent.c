/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's answers, with this host's own processes in the place of a machine's. */
#include "test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "providers/kvm/guest/guest.h"
#include "util/file.h"

/* process 1's own, which is not run here */
void guest_say(const char *format, ...)
{
	(void)format;
}

/* The agent's end of a connection, in a process of its own. */
struct peer {
	struct agent_stream *stream;
	pid_t pid;
};

static struct guest guest = { .enter_fd = -1 };

static struct peer ask(const char *request, size_t length)
{
	struct peer peer = { .stream = test_calloc(1, sizeof(*peer.stream)) };
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	peer.pid = fork();
	if (peer.pid == 0) {
		(void)close(pair[0]);
		_exit(guest_agent_serve(&guest, pair[1]));
	}
	(void)close(pair[1]);
	peer.stream->fd = pair[0];
	assert_true(agent_stream_put(peer.stream, AGENT_REQUEST, request, length));
	assert_int_equal(agent_stream_flush(peer.stream), 0);
	return peer;
}
#define ASK(text) ask(text, sizeof(text))

static struct agent_frame next(const struct peer *peer)
{
	struct agent_frame frame = { 0 };
	struct pollfd p = { .fd = peer->stream->fd, .events = POLLIN };

	assert_int_equal(poll(&p, 1, 20000), 1);
	assert_int_equal(agent_stream_read(peer->stream, &frame), 1);
	return frame;
}

static struct words reply(const struct peer *peer)
{
	struct agent_frame frame = next(peer);
	struct words words = { (const char *)frame.data, frame.length };

	assert_int_equal(frame.type, AGENT_REPLY);
	assert_true(words_valid(&words));
	return words;
}

static void done(struct peer *peer)
{
	(void)close(peer->stream->fd);
	assert_int_equal(waitpid(peer->pid, NULL, 0), peer->pid);
	test_free(peer->stream);
}

static void answers_what_it_knows(void **state)
{
	static const struct {
		const char *text;
		size_t length;
		const char *first;
	} cases[] = {
		{ "hello", 6, "ok" },
		{ "sync", 5, "ok" },
		{ "nonsense", 9, "error" },
		{ "no end", 6, "error" },
		{ "time", 5, "error" },
		{ "", 0, "error" },
		{ "accept\0id=1", 12, "error" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct peer peer = ask(cases[i].text, cases[i].length);
		struct words words = reply(&peer);

		assert_string_equal(words_next(&words, NULL), cases[i].first);
		if (i == 0)
			assert_int_equal(words_number(&words, "version", 99, 0), AGENT_VERSION);
		done(&peer);
	}
}

static void what_is_no_request_ends_it(void **state)
{
	struct peer peer = { .stream = test_calloc(1, sizeof(*peer.stream)) };
	struct agent_frame frame;
	int pair[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(write(pair[0], "GET / HTTP/1.0\r\n", 16), 16);
	peer.stream->fd = pair[0];
	assert_int_equal(guest_agent_serve(&guest, pair[1]), 1);
	(void)close(pair[1]);
	assert_true(agent_stream_read(peer.stream, &frame) <= 0);
	(void)close(pair[0]);
	test_free(peer.stream);
}

static void arguments_are_those_of_venv_enter(void **state)
{
	static const char config[] = "login=dev\0env=A=1\0env=B=2";
	static const char request[] = "exec\0shell=ls\0login=1\0tty=1\0env=B=3\0env=none";
	static const char *const expected[] = { "venv-enter", "exec", "-u", "dev", "-l",
						"-c",         "ls",   "-t", "--" };
	const struct guest own = { .config = { config, sizeof(config) } };
	const struct words words = { request, sizeof(request) };
	_cleanup_free_ char **argv = guest_enter_arguments(&own, &words);
	_cleanup_free_ char **env = guest_enter_environment(&own, &words);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(expected); i++)
		assert_string_equal(argv[i], expected[i]);
	assert_null(argv[ARRAY_SIZE(expected)]);
	assert_string_equal(env[0], "A=1");
	assert_string_equal(env[1], "B=3");
	assert_null(env[2]);
}

static void need_enter(void)
{
	_cleanup_free_ char *path = venv__path_join(getenv("VENV_LIBEXEC"), "venv-enter");

	if (geteuid() != 0)
		skip(); /* venv-enter becomes users */
	if (guest.enter_fd < 0)
		guest.enter_fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(guest.enter_fd >= 0);
}

static void a_command_runs(void **state)
{
	struct peer peer;
	bool out = true, err = true, credit = false;
	char text[64] = "";
	int status = -1;

	(void)state;
	need_enter();
	peer = ASK("exec\0user=0\0arg=sh\0arg=-c\0arg=read line; echo got $line; echo no >&2; "
		   "exit 5");
	{
		struct words words = reply(&peer);

		assert_string_equal(words_next(&words, NULL), "ok");
	}
	assert_true(agent_stream_put(peer.stream, AGENT_IN, "word\n", 5));
	assert_true(agent_stream_put(peer.stream, AGENT_IN, NULL, 0));
	assert_int_equal(agent_stream_flush(peer.stream), 0);
	while (out || err || status < 0) {
		struct agent_frame frame = next(&peer);

		if (frame.type == AGENT_OUT && frame.length)
			strncat(text, (const char *)frame.data, MIN(frame.length, 40));
		out = out && (frame.type != AGENT_OUT || frame.length);
		err = err && (frame.type != AGENT_ERR || frame.length);
		if (frame.type == AGENT_CREDIT)
			credit = agent_number(&frame, 0) == 5;
		if (frame.type == AGENT_EXIT)
			status = (int)agent_number(&frame, 0);
	}
	assert_string_equal(text, "got word\n");
	assert_true(credit);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 5);
	done(&peer);
}

/* Who wants a command may give it up as soon as he asked for it. */
static void a_signal_is_never_too_early(void **state)
{
	static const char request[] = "exec\0user=0\0arg=sleep\0arg=5";

	(void)state;
	need_enter();
	for (int i = 0; i < 20; i++) {
		struct peer peer = { .stream = test_calloc(1, sizeof(*peer.stream)) };
		struct agent_frame frame;
		int pair[2];

		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
		peer.stream->fd = pair[0];
		assert_true(agent_stream_put(peer.stream, AGENT_REQUEST, request, sizeof(request)));
		assert_true(agent_stream_put_numbers(peer.stream, AGENT_SIGNAL, SIGTERM, NULL));
		assert_int_equal(agent_stream_flush(peer.stream), 0);
		peer.pid = fork();
		if (peer.pid == 0) {
			(void)close(pair[0]);
			_exit(guest_agent_serve(&guest, pair[1]));
		}
		(void)close(pair[1]);
		do
			frame = next(&peer);
		while (frame.type != AGENT_EXIT);
		assert_int_equal(agent_number(&frame, 0), SIGTERM);
		done(&peer);
	}
}

static void more_input_than_the_window_ends_it(void **state)
{
	static const char data[AGENT_DATA_MAX];
	struct agent_frame frame;
	struct peer peer;
	int r;

	(void)state;
	need_enter();
	peer = ASK("exec\0user=0\0arg=sleep\0arg=100");
	(void)reply(&peer);
	for (size_t sent = 0; sent <= AGENT_WINDOW + 2 * sizeof(data); sent += sizeof(data))
		if (!agent_stream_put(peer.stream, AGENT_IN, data, sizeof(data)) ||
		    agent_stream_flush(peer.stream) < 0)
			break;
	do /* what the pipe took was credited */
		r = agent_stream_read(peer.stream, &frame);
	while (r > 0);
	assert_true(r == 0 || r == -ECONNRESET);
	done(&peer);
}

static int listening(uint16_t *ret_port)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t length = sizeof(address);

	assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(fd, 1), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &length), 0);
	*ret_port = ntohs(address.sin_port);
	return fd;
}

static void ports_are_dialled(void **state)
{
	char request[64], text[8] = "";
	struct peer peer;
	struct words words;
	uint16_t port;
	int listener, fd, n;

	(void)state;
	need_enter();
	listener = listening(&port);
	n = snprintf(request, sizeof(request), "dial%chost=127.0.0.1%cport=%u", 0, 0, port);
	peer = ask(request, (size_t)n + 1);
	words = reply(&peer);
	assert_string_equal(words_next(&words, NULL), "ok");
	fd = accept(listener, NULL, NULL);
	assert_int_equal(write(fd, "down", 4), 4);
	assert_int_equal(read(peer.stream->fd, text, 4), 4);
	assert_string_equal(text, "down");
	assert_int_equal(shutdown(peer.stream->fd, SHUT_WR), 0);
	assert_int_equal(read(fd, text, 1), 0); /* each direction ends for itself */
	assert_int_equal(write(fd, "rest", 4), 4);
	(void)close(fd);
	assert_int_equal(read(peer.stream->fd, text, 4), 4);
	assert_string_equal(text, "rest");
	assert_int_equal(read(peer.stream->fd, text, 1), 0);
	done(&peer);
	(void)close(listener);
	peer = ask(request, (size_t)n + 1);
	words = reply(&peer);
	assert_int_equal(words_number(&words, "number", 1000, 0), ECONNREFUSED);
	done(&peer);
}

/* A server that says nothing and waits on does not keep who copied for a host that is gone. */
static void who_is_gone_is_not_copied_for(void **state)
{
	char request[64];
	struct peer peer;
	uint16_t port;
	int listener, fd, n, status = -1;

	(void)state;
	need_enter();
	listener = listening(&port);
	n = snprintf(request, sizeof(request), "dial%chost=127.0.0.1%cport=%u", 0, 0, port);
	peer = ask(request, (size_t)n + 1);
	(void)reply(&peer);
	fd = accept(listener, NULL, NULL);
	(void)close(peer.stream->fd);
	for (int i = 0; i < 300 && waitpid(peer.pid, &status, WNOHANG) == 0; i++)
		(void)usleep(10000);
	if (status != 0)
		(void)kill(peer.pid, SIGKILL);
	assert_int_equal(status, 0);
	test_free(peer.stream);
	(void)close(fd);
	(void)close(listener);
}

static void listeners_hand_connections_out(void **state)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct peer listener, accepter;
	char request[64], text[8] = "";
	struct words words;
	int fd, n;

	(void)state;
	need_enter();
	listener = ASK("listen\0host=127.0.0.1\0port=0");
	words = reply(&listener);
	assert_string_equal(words_next(&words, NULL), "ok");
	address.sin_port = htons((uint16_t)words_number(&words, "port", 65535, 0));
	n = snprintf(request, sizeof(request), "accept%cid=%s", 0, words_get(&words, "id"));
	accepter = ask(request, (size_t)n + 1);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
	words = reply(&accepter);
	assert_string_equal(words_next(&words, NULL), "ok");
	assert_int_equal(write(fd, "up", 2), 2);
	assert_int_equal(read(accepter.stream->fd, text, 2), 2);
	assert_string_equal(text, "up");
	(void)close(fd);
	done(&accepter);
	done(&listener);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(fd, (const struct sockaddr *)&address, sizeof(address)), -1);
	(void)close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers_what_it_knows),
		cmocka_unit_test(what_is_no_request_ends_it),
		cmocka_unit_test(arguments_are_those_of_venv_enter),
		cmocka_unit_test(a_command_runs),
		cmocka_unit_test(a_signal_is_never_too_early),
		cmocka_unit_test(more_input_than_the_window_ends_it),
		cmocka_unit_test(ports_are_dialled),
		cmocka_unit_test(who_is_gone_is_not_copied_for),
		cmocka_unit_test(listeners_hand_connections_out),
	};

	(void)signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("kvm_guest_agent", tests, NULL, NULL);
}
