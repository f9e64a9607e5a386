/* SPDX-License-Identifier: Apache-2.0 */
/* Suspending, going on and snapshots of a virtual machine's files, over something that answers as venv-vmm; and
 * what is left when any of it is interrupted. */
#include "test.h"

#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "first_start.h"
#include "op_private.h"
#include "providers/kvm/kvm.h"
#include "util/msg.h"

struct world {
	char dir[64];
	struct machine_spec spec;
	struct machine machine;
	/* what stands for venv-vmm */
	pthread_t thread;
	int alive_fd, ctl_fd;
	bool runs;
	const char *failing; /* an op that it refuses, or NULL */
	unsigned slow_us;    /* in the midst of its memory */
	char calls[256];
};

/* ---- Files --------------------------------------------------------------------------------- */

static void put(const struct world *w, const char *name, const char *text)
{
	int fd = openat(w->machine.dir_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	(void)close(fd);
}

static void make_dir(const struct world *w, const char *name)
{
	assert_int_equal(mkdirat(w->machine.dir_fd, name, 0700), 0);
}

static int open_at(const struct world *w, const char *name)
{
	return openat(w->machine.dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static bool there(const struct world *w, const char *name)
{
	return faccessat(w->machine.dir_fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static void assert_file(const struct world *w, const char *name, const char *expected)
{
	_cleanup_free_ char *text = NULL;

	assert_int_equal(venv__file_read(w->machine.dir_fd, name, 100, &text, NULL, NULL), 0);
	assert_string_equal(text, expected);
}

/* ---- What stands for venv-vmm -------------------------------------------------------------- */

static void record(struct world *w, const char *state)
{
	char text[64];
	int n = snprintf(text, sizeof(text), "{\"state\":\"%s\",\"pid\":1,\"memory\":6}\n", state);

	(void)!ftruncate(w->alive_fd, 0);
	(void)!pwrite(w->alive_fd, text, (size_t)n, 0);
}

static void answer(struct world *w, int fd, const char *op, struct msg_fds *fds)
{
	_cleanup_json_ json_t *reply = json_object();

	(void)strncat(w->calls, op, sizeof(w->calls) - strlen(w->calls) - 1);
	(void)strncat(w->calls, " ", sizeof(w->calls) - strlen(w->calls) - 1);
	if (!strcmp(op, "save") || !strcmp(op, "pause"))
		record(w, "paused");
	if (w->failing && !strcmp(op, w->failing)) {
		_cleanup_error_ venv_error *error = NULL;

		(void)venv__fail(&error, VENV_ERR_SYSTEM, "no room");
		(void)venv__msg_send_error(fd, error);
		return;
	}
	if (!strcmp(op, "save")) {
		(void)!write(fds->fd[0], "state", 5);
		(void)!write(fds->fd[1], "mem", 3);
		(void)usleep(w->slow_us);
		(void)!write(fds->fd[1], "ory", 3);
	} else if (!strcmp(op, "resume")) {
		record(w, "running");
	} else if (!strcmp(op, "kill") || !strcmp(op, "stop")) {
		if (!strcmp(op, "stop") &&
		    there(w, KVM_SUSPEND)) /* its guest may go on now, and write */
			(void)strncat(w->calls, "STALE ", sizeof(w->calls) - strlen(w->calls) - 1);
		record(w, "stopped");
		w->runs = false;
		venv__unlock(w->alive_fd);
	}
	(void)venv__msg_send(fd, reply, NULL, 0, NULL);
}

static void *serve(void *user)
{
	struct world *w = user;

	while (w->runs) {
		_cleanup_msg_fds_ struct msg_fds fds = MSG_FDS_INIT;
		_cleanup_json_ json_t *request = NULL;
		_cleanup_close_ int fd = accept4(w->ctl_fd, NULL, NULL, SOCK_CLOEXEC);

		if (venv__msg_receive(fd, 5000, &request, &fds, NULL) > 0)
			answer(w, fd, venv__json_str(request, "op"), &fds);
	}
	return NULL;
}

static void run(struct world *w)
{
	w->alive_fd = openat(w->machine.dir_fd, "alive", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	w->ctl_fd = venv__msg_listen(w->machine.dir_fd, "ctl", NULL);
	assert_true(w->ctl_fd >= 0);
	assert_int_equal(fcntl(w->ctl_fd, F_SETFL, 0), 0);
	assert_int_equal(venv__lock_try(w->alive_fd, true), 0);
	record(w, "running");
	w->runs = true;
	w->calls[0] = '\0';
	assert_int_equal(pthread_create(&w->thread, NULL, serve, w), 0);
}

static void end(struct world *w)
{
	if (w->runs)
		assert_int_equal(kvm_kill(&w->machine, NULL), 0);
	if (w->ctl_fd >= 0) {
		(void)pthread_join(w->thread, NULL);
		(void)close(w->ctl_fd);
		(void)close(w->alive_fd);
	}
	w->ctl_fd = w->alive_fd = -1;
	(void)unlinkat(w->machine.dir_fd, "ctl", 0);
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	(void)snprintf(w->dir, sizeof(w->dir), "/tmp/venv-test-suspend.XXXXXX");
	if (!mkdtemp(w->dir))
		return -1;
	w->machine = (struct machine){
		.name = "web",
		.spec = &w->spec,
		.dir_fd = open(w->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC),
		.dir = w->dir,
	};
	w->alive_fd = w->ctl_fd = -1;
	put(w, KVM_DISK, "disk");
	put(w, SEED_FILE, "seed");
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	end(w);
	(void)close(w->machine.dir_fd);
	assert_int_equal(venv__tree_delete(AT_FDCWD, w->dir, NULL), 0);
	free(w);
	return 0;
}

/* ---- Suspend ------------------------------------------------------------------------------- */

static void suspending_ends_it(void **state)
{
	_cleanup_kvm_order_ struct kvm_order order = { .json = NULL };
	struct world *w = *state;

	assert_int_equal(kvm_state(&w->machine, NULL), MACHINE_STOPPED);
	run(w);
	assert_int_equal(kvm_state(&w->machine, NULL), MACHINE_RUNNING);
	make_dir(w, "suspend.new"); /* of one that was killed */
	make_dir(w, "suspend.old");
	assert_int_equal(kvm_suspend(&w->machine, NULL, NULL), 0);
	assert_string_equal(w->calls, "save kill ");
	end(w);
	assert_int_equal(kvm_state(&w->machine, NULL), MACHINE_SUSPENDED);
	assert_file(w, "suspend/state", "state");
	assert_file(w, "suspend/memory", "memory");
	assert_false(there(w, "suspend.new") || there(w, "suspend.old"));

	order.json = json_object();
	assert_int_equal(kvm_suspend_order(&w->machine, &order, NULL), 0);
	assert_true(order.goes_on);
	assert_int_equal(venv__json_int(order.json, "state", -1), 0);
	assert_int_equal(venv__json_int(order.json, "memory_file", -1), 1);
	assert_true(venv__json_bool(order.json, "paused", false));
	run(w); /* with it */
	record(w, "paused");
	assert_int_equal(kvm_resume(&w->machine, NULL, NULL), 0);
	assert_false(there(w, "suspend"));
	assert_int_equal(kvm_state(&w->machine, NULL), MACHINE_RUNNING);
}

static int suspend(struct venv_op *op, void *user, venv_error **err)
{
	struct world *w = user;

	return kvm_suspend(&w->machine, op, err);
}

static void who_suspends_sees_how_far_it_is(void **state)
{
	venv_options o = VENV_OPTIONS_INIT;
	struct world *w = *state;
	const venv_event *event;
	uint64_t half = 0, whole = 0;
	venv *ctx = NULL;
	venv_op *op = NULL;

	o.data_dir = w->dir;
	assert_int_equal(venv_new(&o, &ctx, NULL), 0);
	w->slow_us = 350000;
	run(w);
	assert_int_equal(venv__op_start(ctx, suspend, w, NULL, &op, NULL), 0);
	while (venv_op_next(op, -1, &event, NULL) == VENV_OP_EVENT) {
		if (venv_event_type(event) != VENV_EVENT_PROGRESS)
			continue;
		assert_string_equal(venv_event_machine(event), "web");
		assert_string_equal(venv_event_phase(event), "suspend");
		assert_int_equal(venv_event_total(event), 6);
		half += venv_event_done(event) == 3;
		whole += venv_event_done(event) == 6;
	}
	assert_true(half >= 1);
	assert_int_equal(whole, 1);
	venv_op_free(op);
	venv_free(ctx);
}

static void a_failed_suspend_lets_it_go_on(void **state)
{
	struct world *w = *state;

	run(w);
	w->failing = "save";
	assert_int_equal(kvm_suspend(&w->machine, NULL, NULL), VENV_ERR_SYSTEM);
	assert_string_equal(w->calls, "save resume ");
	assert_false(there(w, "suspend") || there(w, "suspend.new"));
	record(w, "paused"); /* by the user: stays so */
	assert_int_equal(kvm_suspend(&w->machine, NULL, NULL), VENV_ERR_SYSTEM);
	assert_string_equal(w->calls, "save resume save ");
	w->failing = NULL;
}

/* The machine that is not suspended any more, or not yet, has no state that could be used. */
static void what_is_stale_is_given_up(void **state)
{
	struct world *w = *state;

	run(w);
	record(w, "paused");
	make_dir(w, "suspend"); /* its command was killed before it ended the machine */
	put(w, "suspend/state", "stale");
	assert_int_equal(kvm_state(&w->machine, NULL), MACHINE_PAUSED);
	assert_int_equal(kvm_resume(&w->machine, NULL, NULL), 0);
	assert_false(there(w, "suspend"));
	make_dir(w, "suspend");
	assert_int_equal(kvm_suspend(&w->machine, NULL, NULL), 0);
	assert_file(w, "suspend/state", "state");
	end(w);
	/* venv-vmm killed: the lock is free, its record says paused */
	put(w, "alive", "{\"state\":\"paused\"}");
	assert_int_equal(kvm_state(&w->machine, NULL), MACHINE_SUSPENDED);
	assert_int_equal(kvm_suspend_drop(&w->machine, NULL), 0);
	assert_int_equal(kvm_state(&w->machine, NULL), MACHINE_CRASHED);
}

/* A machine that was left paused goes on when it is asked to switch off: then its disks are not those any more that
 * the memory of before belongs to. */
static void stopping_gives_up_what_is_stale(void **state)
{
	static const enum stop_how how[] = { STOP_GRACEFUL, STOP_KILL };
	struct world *w = *state;

	for (size_t i = 0; i < ARRAY_SIZE(how); i++) {
		run(w);
		record(w, "paused");
		make_dir(w, "suspend"); /* its command was killed before it ended the machine */
		put(w, "suspend/state", "stale");
		assert_int_equal(kvm_provider.stop(&w->machine, how[i], NULL, NULL), 0);
		assert_string_equal(w->calls, i ? "kill " : "stop ");
		end(w);
		assert_int_equal(kvm_state(&w->machine, NULL), MACHINE_STOPPED);
	}
}

/* ---- Snapshots ----------------------------------------------------------------------------- */

static int take(struct world *w, const char *name)
{
	_cleanup_close_ int fd = -1;

	make_dir(w, name);
	fd = open_at(w, name);
	return kvm_snapshot(&w->machine, fd, NULL, NULL);
}

static int go_back(struct world *w, const char *name)
{
	_cleanup_close_ int fd = open_at(w, name);

	return kvm_restore(&w->machine, fd, NULL, NULL);
}

static void snapshots_go_back(void **state)
{
	struct world *w = *state;

	assert_int_equal(take(w, "stopped"), 0);
	assert_false(there(w, "stopped/state"));
	run(w);
	put(w, KVM_DISK, "live");
	put(w, "disk-1.qcow2", "other");
	assert_int_equal(take(w, "live"), 0);
	assert_string_equal(w->calls, "save resume ");
	assert_int_equal(kvm_suspend(&w->machine, NULL, NULL), 0);
	end(w);
	put(w, "suspend/memory", "later");
	assert_int_equal(take(w, "suspended"), 0);
	assert_file(w, "suspended/memory", "later");

	assert_int_equal(go_back(w, "stopped"), 0);
	assert_int_equal(kvm_state(&w->machine, NULL), MACHINE_STOPPED);
	assert_file(w, KVM_DISK, "disk");
	assert_int_equal(go_back(w, "live"), 0);
	assert_int_equal(kvm_state(&w->machine, NULL), MACHINE_SUSPENDED);
	assert_file(w, KVM_DISK, "live");
	assert_file(w, "disk-1.qcow2", "other");
	assert_file(w, "suspend/memory", "memory");
	run(w);
	assert_int_equal(go_back(w, "suspended"), 0);
	assert_string_equal(w->calls, "kill ");
	assert_file(w, "suspend/memory", "later");
	assert_file(w, SEED_FILE, "seed");
	assert_false(there(w, "restore") || there(w, "restore.new"));
	/* nothing of a snapshot is used up */
	assert_file(w, "live/memory", "memory");
	assert_file(w, "live/" KVM_DISK, "live");
}

static void a_failed_snapshot_lets_it_go_on(void **state)
{
	struct world *w = *state;

	run(w);
	w->failing = "save";
	assert_int_equal(take(w, "s"), VENV_ERR_SYSTEM);
	assert_string_equal(w->calls, "save resume ");
	w->failing = NULL;
}

/* A restore, as it is before each of its steps: whoever comes next finishes it. */
static void interrupted_restores_are_finished(void **state)
{
	static const struct {
		const char *make[6]; /* files and directories ("/") below restore/ */
		const char *disk;
		enum machine_state state;
	} cases[] = {
		{ { "drop", KVM_DISK, "suspend/", "suspend/state", "suspend/memory" },
		  "restored",
		  MACHINE_SUSPENDED },
		{ { KVM_DISK, "suspend/", "suspend/state" }, "restored", MACHINE_SUSPENDED },
		{ { "suspend/", "suspend/state" }, "now", MACHINE_SUSPENDED },
		{ { "drop", KVM_DISK }, "restored", MACHINE_STOPPED },
	};
	struct world *w = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(kvm_suspend_drop(&w->machine, NULL), 0);
		put(w, KVM_DISK, "now");
		if (!strcmp(cases[i].make[0], "drop")) {
			make_dir(w, "suspend"); /* of before */
			put(w, "suspend/state", "before");
		}
		make_dir(w, "restore");
		make_dir(w, "restore.new");
		for (const char *const *name = cases[i].make; *name; name++) {
			char path[64];

			(void)snprintf(path, sizeof(path), "restore/%s", *name);
			if (path[strlen(path) - 1] == '/')
				make_dir(w, path);
			else
				put(w, path, "restored");
		}
		assert_int_equal(kvm_state(&w->machine, NULL), cases[i].state);
		assert_int_equal(kvm_settle(&w->machine, NULL), 0);
		assert_int_equal(kvm_state(&w->machine, NULL), cases[i].state);
		assert_file(w, KVM_DISK, cases[i].disk);
		if (cases[i].state == MACHINE_SUSPENDED)
			assert_file(w, "suspend/state", "restored");
		assert_false(there(w, "restore") || there(w, "restore.new"));
	}
	/* when all was moved */
	make_dir(w, "restore");
	make_dir(w, "suspend");
	assert_int_equal(kvm_state(&w->machine, NULL), MACHINE_SUSPENDED);
	assert_int_equal(kvm_settle(&w->machine, NULL), 0);
	assert_true(there(w, "suspend"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		CASE(suspending_ends_it),
		CASE(who_suspends_sees_how_far_it_is),
		CASE(a_failed_suspend_lets_it_go_on),
		CASE(what_is_stale_is_given_up),
		CASE(stopping_gives_up_what_is_stale),
		CASE(snapshots_go_back),
		CASE(a_failed_snapshot_lets_it_go_on),
		CASE(interrupted_restores_are_finished),
	};

	return cmocka_run_group_tests_name("kvm_suspend", tests, NULL, NULL);
}
