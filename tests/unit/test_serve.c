/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/test.h"

#include <string.h>
#include <sys/socket.h>

#include "util/serve.h"

struct pair {
	int ours, theirs;
};

static int setup(void **state)
{
	struct pair *pair = test_calloc(1, sizeof(*pair));
	int fds[2];

	assert_int_equal(venv__msg_pair(fds), 0);
	pair->ours = fds[0];
	pair->theirs = fds[1];
	*state = pair;
	return 0;
}

static int teardown(void **state)
{
	struct pair *pair = *state;

	(void)close(pair->ours);
	(void)close(pair->theirs);
	test_free(pair);
	return 0;
}

static void op_one(struct client *client, const json_t *request, struct msg_fds *fds)
{
	(void)client;
	(void)request;
	(void)fds;
}

static void finds_what_one_may_ask(void **state)
{
	static const struct serve_op ops[] = { { "all", op_one, true }, { "some", op_one, false } };
	static const struct server server = { "venv-test", ops, ARRAY_SIZE(ops) };
	static const struct {
		const char *request;
		bool trusted;
		int op; /* -1: none */
		const char *message;
	} cases[] = {
		{ "{\"op\":\"all\"}", true, 0, NULL },
		{ "{\"op\":\"all\"}", false, 0, NULL },
		{ "{\"op\":\"some\"}", true, 1, NULL },
		{ "{\"op\":\"some\"}", false, -1, "venv-test does not know 'some'" },
		{ "{\"op\":\"al\"}", true, -1, "venv-test does not know 'al'" },
		{ "{\"op\":\"\"}", true, -1, "venv-test does not know ''" },
		{ "{\"op\":7}", true, -1, "venv-test does not know ''" },
		{ "{}", true, -1, "venv-test does not know ''" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_json_ json_t *request = json_loads(cases[i].request, 0, NULL);
		_cleanup_error_ venv_error *error = NULL;
		const struct serve_op *op =
			venv__serve_find(&server, request, cases[i].trusted, &error);

		assert_ptr_equal(op, cases[i].op < 0 ? NULL : &ops[cases[i].op]);
		assert_int_equal(venv_error_code(error), op ? 0 : VENV_ERR_UNSUPPORTED);
		if (!op)
			assert_string_equal(venv_error_message(error), cases[i].message);
	}
}

static void takes_a_request(void **state)
{
	const struct pair *pair = *state;
	_cleanup_msg_fds_ struct msg_fds fds = MSG_FDS_INIT;
	_cleanup_json_ json_t *request = NULL;

	assert_int_equal(venv__serve_receive(pair->ours, &request, &fds), 0);
	assert_int_equal(send(pair->theirs, "{\"op\":\"x\"}", 10, 0), 10);
	assert_int_equal(venv__serve_receive(pair->ours, &request, &fds), 1);
	assert_string_equal(venv__json_str(request, "op"), "x");
}

static void refuses_what_is_no_message(void **state)
{
	const struct pair *pair = *state;
	_cleanup_msg_fds_ struct msg_fds fds = MSG_FDS_INIT;
	_cleanup_json_ json_t *request = NULL, *reply = NULL;

	assert_int_equal(send(pair->theirs, "what", 4, 0), 4);
	assert_int_equal(venv__serve_receive(pair->ours, &request, &fds), 0);
	assert_null(request);
	assert_int_equal(venv__msg_receive(pair->theirs, 0, &reply, NULL, NULL), 1);
	assert_int_equal(venv__error_from_json(reply, NULL), VENV_ERR_INVALID);
}

static void tells_the_end(void **state)
{
	const struct pair *pair = *state;
	_cleanup_msg_fds_ struct msg_fds fds = MSG_FDS_INIT;
	_cleanup_json_ json_t *request = NULL;

	(void)shutdown(pair->theirs, SHUT_RDWR);
	assert_true(venv__serve_receive(pair->ours, &request, &fds) < 0);
}

static void answers(void **state)
{
	const struct pair *pair = *state;
	_cleanup_json_ json_t *reply = NULL;

	venv__serve_reply(pair->ours, NULL, NULL, 0);
	assert_int_equal(venv__msg_receive(pair->theirs, 0, &reply, NULL, NULL), 1);
	assert_int_equal(json_object_size(reply), 0);
	venv__serve_reply(-1, json_object(), NULL, 0); /* nobody is there */
}

/* Nobody waits for one who asks and asks and does not read. */
static void hangs_up_on_who_does_not_read(void **state)
{
	const struct pair *pair = *state;
	char byte;

	for (int i = 0; i < 100000; i++) {
		venv__serve_reply(pair->ours, NULL, NULL, 0);
		if (recv(pair->ours, &byte, 1, MSG_DONTWAIT) == 0)
			return;
	}
	fail_msg("it is still connected");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_what_one_may_ask),
		TEST(takes_a_request),
		TEST(refuses_what_is_no_message),
		TEST(tells_the_end),
		TEST(answers),
		TEST(hangs_up_on_who_does_not_read),
	};

	return cmocka_run_group_tests_name("serve", tests, NULL, NULL);
}
