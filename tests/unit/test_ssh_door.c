/* SPDX-License-Identifier: Apache-2.0 */
/* The way in by ssh, with a venv-sess that only waits for its client's end. */
#include "test.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ssh/wire/door.h"
#include "util/cleanup.h"
#include "util/file.h"
#include "util/msg.h"

enum { STRANGERS = 18, PENDING = 16 };

struct host {
	char path[32];
	int dir;
	struct loop *loop;
	struct door *door;
	unsigned sessions, last;
	int sockets[64];
	bool refuses;
	char failure[256];
};

static bool on_session(void *user, int socket, unsigned session)
{
	struct host *host = user;

	if (host->refuses)
		return false;
	host->sockets[host->sessions++] = socket;
	host->last = session;
	return true;
}

static void on_failure(void *user, const venv_error *error)
{
	struct host *host = user;

	(void)snprintf(host->failure, sizeof(host->failure), "%s", venv_error_message(error));
}

static void put(int dir, const char *name, const char *text, mode_t mode)
{
	_cleanup_close_ int fd = openat(dir, name, O_WRONLY | O_CREAT | O_CLOEXEC, mode);

	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

static int open_door(struct host *host, int port, venv_error **err)
{
	const struct door_config config = { .loop = host->loop,
					    .machine_fd = host->dir,
					    .log_fd = STDERR_FILENO,
					    .port = port,
					    .libexec = host->path,
					    .machine = "m",
					    .login = "root",
					    .opened = on_session,
					    .failed = on_failure,
					    .user = host };

	return venv__door_open(&config, &host->door, err);
}

static int setup(void **state)
{
	struct host *host = test_calloc(1, sizeof(*host));

	memcpy(host->path, "/tmp/venv-test-XXXXXX", sizeof("/tmp/venv-test-XXXXXX"));
	assert_non_null(mkdtemp(host->path));
	host->dir = open(host->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	put(host->dir, "venv-sess", "#!/bin/sh\nhead -c 1 <&3 >/dev/null\n", 0700);
	assert_int_equal(mkdirat(host->dir, "keys", 0700), 0);
	put(host->dir, "keys/host", "key", 0600);
	put(host->dir, "keys/authorized", "one\ntwo\n", 0600);
	host->loop = venv__loop_new();
	*state = host;
	return open_door(host, 0, NULL);
}

static int teardown(void **state)
{
	struct host *host = *state;

	venv__door_close(host->door);
	venv__loop_free(host->loop);
	for (unsigned i = 0; i < host->sessions; i++)
		(void)close(host->sockets[i]);
	(void)close(host->dir);
	assert_int_equal(venv__tree_delete(AT_FDCWD, host->path, NULL), 0);
	test_free(host);
	return 0;
}

static void on_end(void *user, int fd, uint32_t events)
{
	(void)fd;
	(void)events;
	venv__loop_quit(user, 0);
}

static void run(struct host *host, uint64_t ms)
{
	assert_non_null(venv__loop_timer(host->loop, ms, 0, on_end, host->loop));
	assert_int_equal(venv__loop_run(host->loop), 0);
}

/* Until so many sessions were started; a loaded host takes its time, in which there may be more. */
static void run_until(struct host *host, unsigned sessions)
{
	for (int i = 0; i < 200 && host->sessions < sessions; i++)
		run(host, 50);
	assert_true(host->sessions >= sessions);
}

static int stranger(const struct host *host)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_port = htons((uint16_t)venv__door_port(host->door)),
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

static void the_port_stays(void **state)
{
	struct host *host = *state;
	int port = venv__door_port(host->door);

	assert_true(port > 0);
	venv__door_close(host->door);
	assert_int_equal(open_door(host, 0, NULL), 0);
	assert_int_equal(venv__door_port(host->door), port);
}

static void a_taken_port_is_named(void **state)
{
	struct host *host = *state;
	struct host other = *host;
	venv_error *error = NULL;

	other.door = NULL;
	assert_int_equal(open_door(&other, venv__door_port(host->door), &error), VENV_ERR_NETWORK);
	assert_non_null(strstr(venv_error_message(error), "is taken"));
	venv_error_free(error);
}

static void who_does_not_log_in_makes_room(void **state)
{
	struct host *host = *state;
	int fds[STRANGERS];
	char byte;

	for (size_t i = 0; i < STRANGERS; i++)
		fds[i] = stranger(host);
	run_until(host, PENDING);
	venv__door_settle(host->door, host->last); /* one has logged in: the next may come */
	run_until(host, PENDING + 1);
	run_until(host, STRANGERS); /* the first had its time */
	assert_int_equal(recv(fds[0], &byte, 1, 0), 0);
	for (size_t i = 0; i < STRANGERS; i++)
		(void)close(fds[i]);
}

static void the_owner_is_not_counted(void **state)
{
	struct host *host = *state;

	for (int i = 0; i < PENDING + 4; i++) {
		int fd = venv__door_session(host->door, NULL);

		assert_true(fd >= 0);
		(void)close(fd);
	}
	assert_int_equal(host->sessions, PENDING + 4);
	host->refuses = true;
	assert_int_equal(venv__door_session(host->door, NULL), VENV_ERR_NOMEM);
}

static void missing_keys_are_told(void **state)
{
	struct host *host = *state;
	int fd;

	assert_int_equal(unlinkat(host->dir, "keys/host", 0), 0);
	assert_true(venv__door_session(host->door, NULL) < 0);
	fd = stranger(host);
	for (int i = 0; i < 200 && !host->failure[0]; i++)
		run(host, 50);
	assert_non_null(strstr(host->failure, "keys/host"));
	(void)close(fd);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_port_stays),
		TEST(a_taken_port_is_named),
		TEST(who_does_not_log_in_makes_room),
		TEST(the_owner_is_not_counted),
		TEST(missing_keys_are_told),
	};

	return cmocka_run_group_tests_name("ssh_door", tests, NULL, NULL);
}
