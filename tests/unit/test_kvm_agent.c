/* SPDX-License-Identifier: Apache-2.0 */
/* The library and venv-relay, over something that answers as venv-vmm and a machine's agent. */
#include "test.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "providers/kvm/kvm.h"
#include "util/msg.h"
#include "util/sys.h"

struct world {
	char dir[64];
	venv *ctx;
	struct machine_spec spec;
	struct machine machine;
	struct kvm_order order;
	int alive_fd, ctl_fd;
	pthread_t agent;
};

/* "ok", "version=1", to whoever connects and whatever is said; until the listener ends. */
static void *answer(void *user)
{
	static const char hello[] = "OK 1\n\15\0\0\0\2\0\0\0ok\0version=1";
	int listener = *(const int *)user;

	for (;;) {
		struct pollfd wait = { .fd = listener, .events = POLLIN };
		int fd = poll(&wait, 1, -1) == 1 ? accept(listener, NULL, NULL) : -1;
		char drop[512];

		if (fd < 0)
			return NULL;
		/* to whom, and what: bytes that are not read are an error over there */
		(void)!read(fd, drop, sizeof(drop));
		(void)send(fd, hello, sizeof(hello), MSG_NOSIGNAL);
		(void)!read(fd, drop, sizeof(drop));
		(void)close(fd);
	}
}

static int setup(void **state)
{
	static const char running[] = "{\"state\":\"running\"}";
	venv_options o = VENV_OPTIONS_INIT;
	struct world *w = calloc(1, sizeof(*w));
	int dir;

	*state = w;
	(void)snprintf(w->dir, sizeof(w->dir), "/tmp/venv-test-agent.XXXXXX");
	if (!mkdtemp(w->dir))
		return -1;
	dir = open(w->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	o.data_dir = w->dir;
	o.libexec_dir = getenv("VENV_LIBEXEC");
	if (venv_new(&o, &w->ctx, NULL) < 0)
		return -1;
	w->machine = (struct machine){
		.ctx = w->ctx, .name = "web", .spec = &w->spec, .dir_fd = dir, .from_rootfs = true
	};
	w->ctl_fd = venv__msg_listen(dir, "ctl", NULL);
	w->alive_fd = openat(dir, "alive", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(write(w->alive_fd, running, strlen(running)), strlen(running));
	assert_int_equal(venv__lock_try(w->alive_fd, true), 0);
	w->order.json = json_pack("{s:[]}", "devices");
	assert_int_equal(kvm_agent_order(&w->machine, &w->order, NULL), 0);
	return pthread_create(&w->agent, NULL, answer, &w->order.fd[0]);
}

static bool there(const struct world *w, const char *name)
{
	return faccessat(w->machine.dir_fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* venv-relay ends with venv-vmm. */
static int teardown(void **state)
{
	struct world *w = *state;

	(void)shutdown(w->order.fd[0], SHUT_RDWR);
	(void)pthread_join(w->agent, NULL);
	if (w->ctl_fd >= 0)
		(void)close(w->ctl_fd);
	for (int i = 0; i < 1000 && there(w, "relay"); i++)
		(void)usleep(10000);
	kvm_order_done(&w->order);
	(void)close(w->alive_fd);
	(void)close(w->machine.dir_fd);
	venv_free(w->ctx);
	assert_int_equal(venv__tree_delete(AT_FDCWD, w->dir, NULL), 0);
	free(w);
	return 0;
}

static pid_t relay_pid(const struct world *w)
{
	_cleanup_close_ int fd = venv__msg_connect(w->machine.dir_fd, "relay", NULL);
	struct ucred peer = { 0 };
	socklen_t length = sizeof(peer);

	assert_true(fd >= 0);
	assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length), 0);
	return peer.pid;
}

/* Its listening socket is closed when it is gone. */
static void kill_relay(const struct world *w)
{
	assert_int_equal(kill(relay_pid(w), SIGKILL), 0);
	for (;;) {
		_cleanup_close_ int fd = venv__msg_connect(w->machine.dir_fd, "relay", NULL);

		if (fd < 0)
			return;
		(void)usleep(1000);
	}
}

static void one_that_died_is_started_again(void **state)
{
	struct world *w = *state;
	_cleanup_json_ json_t *info = json_object(), *config = NULL;
	_cleanup_error_ venv_error *err = NULL;
	int fd = -1;
	pid_t first;

	assert_int_equal(kvm_agent_start(&w->machine, NULL), 0);
	first = relay_pid(w);
	kill_relay(w);
	kvm_agent_info(&w->machine, info); /* a question starts nothing */
	assert_int_equal(json_object_size(info), 0);
	/* the new one has heard of the agent when it is asked: what is missing is ssh */
	assert_int_equal(kvm_agent_connect(&w->machine, &fd, &err), VENV_ERR_UNSUPPORTED);
	assert_string_equal(venv_error_message(err), "the machine has no ssh");
	assert_true(relay_pid(w) != first);
	assert_int_equal(venv__json_read(w->machine.dir_fd, "agent.json", &config, NULL), 0);
	assert_string_equal(venv__json_str(config, "machine"), "web");
}

struct caller {
	pthread_t thread;
	const struct world *world;
	int result;
};

static void *call(void *user)
{
	struct caller *caller = user;
	int fd = -1;

	caller->result = kvm_agent_connect(&caller->world->machine, &fd, NULL);
	return NULL;
}

/* "relay" is bound by whoever comes last: a second one would be one too many, which nobody reaches. */
static void several_start_one(void **state)
{
	struct world *w = *state;
	struct caller callers[4];
	_cleanup_free_ char *log = NULL;

	assert_int_equal(kvm_agent_start(&w->machine, NULL), 0);
	kill_relay(w);
	for (size_t i = 0; i < ARRAY_SIZE(callers); i++) {
		callers[i].world = w;
		assert_int_equal(pthread_create(&callers[i].thread, NULL, call, &callers[i]), 0);
	}
	for (size_t i = 0; i < ARRAY_SIZE(callers); i++) {
		assert_int_equal(pthread_join(callers[i].thread, NULL), 0);
		assert_int_equal(callers[i].result, VENV_ERR_UNSUPPORTED);
	}
	assert_int_equal(venv__file_read(w->machine.dir_fd, "relay.log", 4096, &log, NULL, NULL),
			 0);
	assert_string_equal(log, "");
}

static void assert_not_reached(const struct world *w)
{
	_cleanup_error_ venv_error *err = NULL;
	int fd = -1;

	assert_int_equal(kvm_agent_connect(&w->machine, &fd, &err), VENV_ERR_STATE);
	assert_string_equal(venv_error_message(err), "the machine is not reached");
	assert_false(there(w, "agent.lock"));
}

static void none_is_started_for_a_machine_that_starts_or_ended(void **state)
{
	static const char stopped[] = "{\"state\":\"stopped\"}";
	struct world *w = *state;

	assert_not_reached(w);
	assert_int_equal(kvm_agent_start(&w->machine, NULL), 0);
	kill_relay(w);
	assert_int_equal(pwrite(w->alive_fd, stopped, strlen(stopped), 0), strlen(stopped));
	assert_not_reached(w);
	assert_int_equal(unlinkat(w->machine.dir_fd, "relay", 0), 0);
}

/* Nobody answers in the machine, and then it ends: who still asks must not go on asking. */
static void all_of_it_ends_with_the_machine(void **state)
{
	struct world *w = *state;
	uint64_t from;

	assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), 0);
	assert_int_equal(shutdown(w->order.fd[0], SHUT_RDWR), 0);
	assert_int_equal(kvm_agent_start(&w->machine, NULL), 0);
	(void)usleep(200000); /* the first question is asked again and again */
	(void)close(take_fd(&w->ctl_fd));
	from = venv__now_us();
	while (waitpid(-1, NULL, 0) > 0)
		;
	assert_int_equal(errno, ECHILD);
	assert_true(venv__now_us() - from <
		    4 * 1000 * 1000); /* five seconds is how long it may ask */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(one_that_died_is_started_again, setup, teardown),
		cmocka_unit_test_setup_teardown(several_start_one, setup, teardown),
		cmocka_unit_test_setup_teardown(none_is_started_for_a_machine_that_starts_or_ended,
						setup, teardown),
		cmocka_unit_test_setup_teardown(all_of_it_ends_with_the_machine, setup, teardown),
	};

	return cmocka_run_group_tests_name("kvm_agent", tests, NULL, NULL);
}
