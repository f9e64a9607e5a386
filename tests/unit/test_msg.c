/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/test.h"

#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "util/msg.h"

struct pair {
	int fd[2];
};

static int setup(void **state)
{
	struct pair *pair = calloc(1, sizeof(*pair));

	*state = pair;
	return venv__msg_pair(pair->fd);
}

static int teardown(void **state)
{
	struct pair *pair = *state;

	(void)close(pair->fd[0]);
	(void)close(pair->fd[1]);
	free(pair);
	return 0;
}

static void messages_carry_descriptors(void **state)
{
	const struct pair *pair = *state;
	_cleanup_json_ json_t *sent = json_pack("{s:s}", "op", "x"), *got = NULL;
	_cleanup_msg_fds_ struct msg_fds fds = MSG_FDS_INIT;
	_cleanup_close_ int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	struct stat a, b;
	int two[] = { null, null };

	assert_int_equal(venv__msg_send(pair->fd[0], sent, two, 2, NULL), 0);
	assert_int_equal(venv__msg_receive(pair->fd[1], 1000, &got, &fds, NULL), 1);
	assert_true(json_equal(sent, got));
	assert_int_equal(fds.count, 2);
	assert_int_equal(fstat(null, &a), 0);
	assert_int_equal(fstat(fds.fd[1], &b), 0);
	assert_int_equal(a.st_rdev, b.st_rdev);
	assert_true(fcntl(fds.fd[0], F_GETFD) & FD_CLOEXEC);
}

static void the_end_is_zero(void **state)
{
	struct pair *pair = *state;
	json_t *got = NULL;

	(void)close(pair->fd[0]);
	pair->fd[0] = -1;
	assert_int_equal(venv__msg_receive(pair->fd[1], 1000, &got, NULL, NULL), 0);
}

static void nobody_is_waited_for(void **state)
{
	const struct pair *pair = *state;
	_cleanup_json_ json_t *message = json_pack("{s:s}", "op", "state");
	int sent = 0;

	while (sent < 100000 && venv__msg_send_now(pair->fd[0], message, NULL, 0, NULL) == 0)
		sent++;
	assert_in_range(sent, 1, 99999);
}

static void silence_times_out(void **state)
{
	const struct pair *pair = *state;
	json_t *got = NULL;

	assert_int_equal(venv__msg_receive(pair->fd[1], 10, &got, NULL, NULL), VENV_ERR_TIMEOUT);
}

static void garbage_is_refused(void **state)
{
	static const char *const packets[] = { "{",        "[1", "[1]", "[]", "{\"a\":1,\"a\":2}",
					       "\xff\xfe", "nul" };
	const struct pair *pair = *state;

	for (size_t i = 0; i < ARRAY_SIZE(packets); i++) {
		json_t *got = NULL;

		assert_int_equal(send(pair->fd[0], packets[i], strlen(packets[i]), 0),
				 strlen(packets[i]));
		assert_true(venv__msg_receive(pair->fd[1], 1000, &got, NULL, NULL) < 0);
		assert_null(got);
	}
}

static void too_large_is_refused_on_both_sides(void **state)
{
	const struct pair *pair = *state;
	_cleanup_free_ char *text = malloc(MSG_MAX + 100);
	_cleanup_json_ json_t *message = NULL;
	json_t *got = NULL;
	int size = 1 << 20;

	memset(text, 'x', MSG_MAX + 99);
	text[MSG_MAX + 99] = '\0';
	message = json_pack("{s:s}", "text", text);
	assert_int_equal(venv__msg_send(pair->fd[0], message, NULL, 0, NULL), VENV_ERR_INVALID);
	(void)setsockopt(pair->fd[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	assert_true(send(pair->fd[0], text, MSG_MAX + 50, 0) > 0);
	assert_int_equal(venv__msg_receive(pair->fd[1], 1000, &got, NULL, NULL), VENV_ERR_INVALID);
}

static void errors_travel(void **state)
{
	const struct pair *pair = *state;
	_cleanup_error_ venv_error *sent = NULL, *got = NULL;
	_cleanup_json_ json_t *request = json_pack("{s:s}", "op", "x");
	int r = venv__hint(venv__fail(&sent, VENV_ERR_NETWORK, "port taken"), &sent, "use another");

	assert_int_equal(r, VENV_ERR_NETWORK);
	assert_int_equal(venv__msg_send_error(pair->fd[1], sent), 0);
	assert_int_equal(venv__msg_call(pair->fd[0], request, NULL, 0, 1000, NULL, NULL, &got),
			 VENV_ERR_NETWORK);
	assert_string_equal(venv_error_message(got), "port taken");
	assert_string_equal(venv_error_hint(got), "use another");
}

static void a_long_path_can_be_bound(void **state)
{
	char path[] = "/tmp/venv-test-msg.XXXXXX", name[200];
	int dir, deep, listener, client, peer;

	(void)state;
	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	assert_non_null(mkdtemp(path));
	dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(mkdirat(dir, name, 0700), 0);
	deep = openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	listener = venv__msg_listen(deep, "ctl", NULL);
	assert_true(listener >= 0);
	client = venv__msg_connect(deep, "ctl", NULL);
	assert_true(client >= 0);
	peer = venv__msg_accept(listener);
	assert_true(peer >= 0);
	(void)close(peer);
	(void)close(client);
	(void)close(listener);
	(void)close(deep);
	(void)close(dir);
	assert_int_equal(venv__tree_delete(AT_FDCWD, path, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(messages_carry_descriptors, setup, teardown),
		cmocka_unit_test_setup_teardown(the_end_is_zero, setup, teardown),
		cmocka_unit_test_setup_teardown(nobody_is_waited_for, setup, teardown),
		cmocka_unit_test_setup_teardown(silence_times_out, setup, teardown),
		cmocka_unit_test_setup_teardown(garbage_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(too_large_is_refused_on_both_sides, setup,
						teardown),
		cmocka_unit_test_setup_teardown(errors_travel, setup, teardown),
		cmocka_unit_test(a_long_path_can_be_bound),
	};

	return cmocka_run_group_tests_name("msg", tests, NULL, NULL);
}
