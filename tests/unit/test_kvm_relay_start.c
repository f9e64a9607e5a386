/* SPDX-License-Identifier: Apache-2.0 */
/* venv-relay as a program: what it is started with, and what it answers. */
#include "test.h"

#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "util/buf.h"
#include "util/file.h"
#include "util/msg.h"
#include "util/process.h"

enum { WAIT_MS = 10000 };

struct world {
	char path[32];
	int dir, vmm; /* the machine's directory; a socket "ctl" in it */
};

static int setup(void **state)
{
	struct world *w = test_calloc(1, sizeof(*w));

	memcpy(w->path, "/tmp/venv-test-XXXXXX", sizeof("/tmp/venv-test-XXXXXX"));
	assert_non_null(mkdtemp(w->path));
	w->dir = open(w->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	w->vmm = venv__msg_listen(w->dir, "ctl", NULL);
	assert_true(w->vmm >= 0);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	(void)close(w->vmm);
	(void)close(w->dir);
	assert_int_equal(venv__tree_delete(AT_FDCWD, w->path, NULL), 0);
	test_free(w);
	return 0;
}

/* The socket on which it is told what to do. */
static int start(void)
{
	_cleanup_free_ char *path = NULL;
	char name[] = "venv-relay", *argv[] = { name, NULL };
	struct spawn spawn = { .argv = argv, .fds = { -1, -1, -1, -1 }, .n_fds = 4 };
	int pair[2], r;

	if (!getenv("VENV_LIBEXEC"))
		skip();
	path = venv__path_join(getenv("VENV_LIBEXEC"), name);
	spawn.path = path;
	assert_int_equal(venv__msg_pair(pair), 0);
	spawn.fds[3] = pair[1];
	r = venv__spawn(&spawn, NULL, NULL, NULL);
	(void)close(pair[1]);
	assert_int_equal(r, 0);
	return pair[0];
}

/* What is answered to this text; NULL: it ended without. Then it ends. */
static json_t *answer(const struct world *w, const char *text, bool with_directory)
{
	_cleanup_close_ int fd = start();
	_cleanup_json_ json_t *message = json_loads(text, 0, NULL);
	json_t *reply = NULL, *more = NULL;

	if (message)
		assert_int_equal(venv__msg_send(fd, message, &w->dir, with_directory, NULL), 0);
	else
		assert_int_equal(send(fd, text, strlen(text), 0), strlen(text));
	if (venv__msg_receive(fd, WAIT_MS, &reply, NULL, NULL) <= 0)
		return NULL;
	assert_int_equal(venv__msg_receive(fd, WAIT_MS, &more, NULL, NULL), 0);
	return reply;
}

static void a_start_must_be_whole(void **state)
{
	static const char whole[] = "{\"op\":\"start\",\"ssh\":true,\"libexec\":\"/nowhere\","
				    "\"machine\":\"web\",\"login\":\"root\"}";
	static const struct {
		const char *text;
		bool directory;
		int code;
		const char *message;
	} cases[] = {
		{ "what", false, VENV_ERR_INVALID, "" },
		{ "[]", true, VENV_ERR_INVALID, "" },
		{ whole, false, VENV_ERR_INVALID, "lacks something" },
		{ "{\"ssh\":true}", true, VENV_ERR_INVALID, "lacks something" },
		{ "{\"ssh\":true,\"libexec\":1,\"machine\":\"web\",\"login\":\"root\"}", true,
		  VENV_ERR_INVALID, "lacks something" },
	};
	const struct world *w = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		_cleanup_json_ json_t *reply = answer(w, cases[i].text, cases[i].directory);
		_cleanup_error_ venv_error *error = NULL;

		assert_non_null(reply);
		assert_int_equal(venv__error_from_json(reply, &error), cases[i].code);
		assert_non_null(strstr(venv_error_message(error), cases[i].message));
	}
}

static void without_a_machine_there_is_nothing_to_do(void **state)
{
	_cleanup_json_ json_t *reply = NULL;
	struct world *w = *state;

	assert_int_equal(unlinkat(w->dir, "ctl", 0), 0);
	reply = answer(w, "{\"op\":\"start\"}", true);
	assert_int_equal(venv__error_from_json(reply, NULL), VENV_ERR_NOT_FOUND);
	assert_int_equal(faccessat(w->dir, "relay", F_OK, 0), -1);
}

/* Lists that hold something else than texts are none. */
static void it_serves_and_ends_with_the_machine(void **state)
{
	_cleanup_json_ json_t *message = json_pack("{s:s, s:[i, n], s:s, s:b}", "op", "start",
						   "env", 7, "extra_keys", "none", "ssh", 0);
	_cleanup_json_ json_t *ready = NULL, *facts = NULL,
			      *ask = json_pack("{s:s}", "op", "state");
	_cleanup_close_ int fd = start(), vmm = -1, relay = -1;
	const struct world *w = *state;
	json_t *none = NULL;

	assert_int_equal(venv__msg_send(fd, message, &w->dir, 1, NULL), 0);
	assert_int_equal(venv__msg_receive(fd, WAIT_MS, &ready, NULL, NULL), 1);
	assert_true(venv__json_bool(ready, "ready", false));
	vmm = venv__msg_accept(w->vmm);
	assert_true(vmm >= 0);
	relay = venv__msg_connect(w->dir, "relay", NULL);
	assert_int_equal(venv__msg_call(relay, ask, NULL, 0, WAIT_MS, &facts, NULL, NULL), 0);
	assert_true(json_is_false(json_object_get(facts, "agent")));
	(void)close(vmm);
	vmm = -1;
	assert_int_equal(venv__msg_receive(relay, WAIT_MS, &none, NULL, NULL), 0);
	for (int i = 0; i < 500 && faccessat(w->dir, "relay", F_OK, 0) == 0; i++)
		(void)usleep(10000);
	assert_int_equal(faccessat(w->dir, "relay", F_OK, 0), -1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_start_must_be_whole),
		TEST(without_a_machine_there_is_nothing_to_do),
		TEST(it_serves_and_ends_with_the_machine),
	};

	return cmocka_run_group_tests_name("kvm_relay_start", tests, NULL, NULL);
}
