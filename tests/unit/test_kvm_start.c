/* SPDX-License-Identifier: Apache-2.0 */
/* Starting a virtual machine: this program is venv-vmm and venv-relay too, and says what each test wants. */
#include "test.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "alive.h"
#include "providers/kvm/kvm.h"
#include "util/file.h"

enum { STARTER = 3, WAIT_MS = 10000 };

/* What they do, by the environment. */
#define VMM_ENV "VENV_TEST_VMM"
#define RELAY_ENV "VENV_TEST_RELAY"

/* ---- What stands for the programs ------------------------------------------------------------ */

static void answer_control(int dir, int ctl)
{
	(void)fcntl(ctl, F_SETFL, 0);
	for (;;) {
		_cleanup_close_ int fd = accept4(ctl, NULL, NULL, SOCK_CLOEXEC);
		_cleanup_json_ json_t *request = NULL, *reply = json_object();
		const char *op;

		if (venv__msg_receive(fd, WAIT_MS, &request, NULL, NULL) <= 0)
			continue;
		op = venv__json_str(request, "op");
		(void)mkdirat(dir, strcmp(op, "resume") == 0 ? "was-resumed" : "was-asked", 0700);
		(void)venv__msg_send(fd, reply, NULL, 0, NULL);
		if (strcmp(op, "kill") == 0)
			return;
	}
}

/* The first descriptor is the machine's directory. */
static int receive_start(void)
{
	_cleanup_msg_fds_ struct msg_fds fds = MSG_FDS_INIT;
	_cleanup_json_ json_t *start = NULL;

	if (venv__msg_receive(STARTER, WAIT_MS, &start, &fds, NULL) <= 0)
		return -1;
	return venv__msg_fds_take(&fds, 0);
}

static int refuse(int code, const char *message)
{
	_cleanup_error_ venv_error *error = NULL;

	(void)venv__fail(&error, code, "%s", message);
	(void)venv__msg_send_error(STARTER, error);
	return 1;
}

static int be_vmm(const char *how)
{
	_cleanup_json_ json_t *ready = json_pack("{s:b}", "ready", 1);
	int dir, alive, ctl;

	if (strcmp(how, "dies") == 0) {
		for (int i = 0; i < 1000; i++)
			(void)dprintf(STDERR_FILENO, "line %d of many\n", i);
		(void)dprintf(STDERR_FILENO, "a library is missing\n");
		return 1;
	}
	dir = receive_start();
	if (strcmp(how, "mute") == 0)
		return 1;
	if (strncmp(how, "refuse: ", 8) == 0)
		return refuse(VENV_ERR_INVALID, how + 8);
	if (strncmp(how, "damage: ", 8) == 0)
		return refuse(VENV_ERR_CORRUPT, how + 8);
	alive = openat(dir, "alive", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	(void)venv__lock_try(alive, true);
	(void)venv__write_all(alive, "{\"state\":\"paused\"}", 18);
	ctl = venv__msg_listen(dir, "ctl", NULL);
	(void)venv__msg_send(STARTER, ready, NULL, 0, NULL);
	answer_control(dir, ctl);
	return 0;
}

static int be_relay(const char *how)
{
	_cleanup_error_ venv_error *error = NULL;
	_cleanup_json_ json_t *reply = NULL;

	(void)receive_start();
	if (strcmp(how, "fails") == 0) {
		(void)venv__fail(&error, VENV_ERR_NETWORK, "port 22 is taken");
		reply = venv__error_to_json(error);
	} else {
		reply = json_pack("{s:b, s:i}", "ready", 1, "ssh_port", 2200);
	}
	(void)venv__msg_send(STARTER, reply, NULL, 0, NULL);
	return 0;
}

/* ---- A machine ------------------------------------------------------------------------------- */

struct world {
	char root[64], dir[96], image[96], kernel[96];
	char *disks[2];
	venv ctx;
	struct machine_spec spec;
	struct machine machine;
};

static void put(const char *dir, const char *name, const char *text)
{
	_cleanup_close_ int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_int_equal(venv__file_write(fd, name, text, strlen(text), 0644, WRITE_VOLATILE, NULL),
			 0);
}

static void make(char *ret, size_t size, const char *root, const char *name)
{
	assert_in_range(snprintf(ret, size, "%s/%s", root, name), 1, size - 1);
	assert_int_equal(mkdir(ret, 0700), 0);
}

static void make_image(struct world *w)
{
	static const char zeroes[1 << 20];
	_cleanup_close_ int fd = -1;

	(void)snprintf(w->image, sizeof(w->image), "%s/aaaa.raw", w->root);
	fd = open(w->image, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(venv__write_all(fd, zeroes, sizeof(zeroes)), 0);
	w->disks[0] = w->image;
}

static int setup(void **state)
{
	static const char *const programs[] = { "venv-vmm", "venv-relay" };
	struct world *w = test_calloc(1, sizeof(*w));
	char self[512], modules[128], link[128];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	assert_true(n > 0);
	self[n] = '\0';
	(void)snprintf(w->root, sizeof(w->root), "/tmp/venv-test-start.XXXXXX");
	assert_non_null(mkdtemp(w->root));
	make(w->dir, sizeof(w->dir), w->root, "machine");
	make(w->kernel, sizeof(w->kernel), w->root, "kernel");
	make(modules, sizeof(modules), w->kernel, "modules");
	make_image(w);
	put(w->kernel, "vmlinuz", "kernel");
	put(w->kernel, "modules.order", "");
	put(w->kernel, "modules.later", "");
	put(w->root, "venv-guest", "INIT");
	put(w->root, "venv-enter", "ENTER");
	for (size_t i = 0; i < ARRAY_SIZE(programs); i++) {
		(void)snprintf(link, sizeof(link), "%s/%s", w->root, programs[i]);
		assert_int_equal(symlink(self, link), 0);
	}
	w->ctx.libexec_dir = w->root;
	w->machine = (struct machine){
		.ctx = &w->ctx,
		.id = "0123456789abcdef0123456789abcdef",
		.name = "web",
		.project = "shop",
		.project_dir = w->root,
		.spec = &w->spec,
		.dir_fd = open(w->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC),
		.dir = w->dir,
		.image = { .disks = w->disks, .format = "raw", .kernel = w->kernel },
		.from_rootfs = true,
		.login = "root",
	};
	assert_int_equal(kvm_disk_create(&w->machine, NULL), 0);
	assert_int_equal(setenv(VMM_ENV, "runs", 1), 0);
	assert_int_equal(setenv(RELAY_ENV, "runs", 1), 0);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	(void)kvm_kill(&w->machine, NULL);
	(void)close(w->machine.dir_fd);
	assert_int_equal(venv__tree_delete(AT_FDCWD, w->root, NULL), 0);
	test_free(w);
	return 0;
}

static void suspend(const struct world *w)
{
	char dir[128];

	make(dir, sizeof(dir), w->dir, KVM_SUSPEND);
	put(dir, KVM_STATE, "state");
	put(dir, KVM_MEMORY, "memory");
}

static bool there(const struct world *w, const char *name)
{
	return faccessat(w->machine.dir_fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* ---- Tests ----------------------------------------------------------------------------------- */

static void a_suspended_machine_goes_on(void **state)
{
	struct world *w = *state;
	venv_error *error = NULL;

	suspend(w);
	if (kvm_start(&w->machine, NULL, &error) < 0)
		fail_msg("%s", venv_error_message(error));
	assert_true(there(w, "was-resumed"));
	assert_false(there(w, KVM_SUSPEND));
}

/* What it did is on disk until nothing can fail any more. */
static void a_start_that_fails_leaves_it_suspended(void **state)
{
	_cleanup_error_ venv_error *error = NULL;
	struct world *w = *state;

	suspend(w);
	assert_int_equal(setenv(RELAY_ENV, "fails", 1), 0);
	assert_int_equal(kvm_start(&w->machine, NULL, &error), VENV_ERR_NETWORK);
	assert_string_equal(venv_error_message(error), "port 22 is taken");
	assert_false(there(w, "was-resumed"));
	assert_true(there(w, KVM_SUSPEND "/" KVM_STATE));
	assert_int_equal(kvm_state(&w->machine, NULL), MACHINE_SUSPENDED);
}

static void who_ends_has_said_why(void **state)
{
	static const char *const ways[] = { "dies", "mute" };
	struct world *w = *state;

	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		_cleanup_error_ venv_error *error = NULL;

		assert_int_equal(setenv(VMM_ENV, ways[i], 1), 0);
		assert_int_equal(kvm_start(&w->machine, NULL, &error), VENV_ERR_SYSTEM);
		assert_string_equal(venv_error_message(error),
				    "venv-vmm ended while the machine started");
		assert_non_null(venv_error_hint(error));
		if (i == 0)
			assert_non_null(
				strstr(venv_error_details(error), "a library is missing\n"));
	}
}

/* A file that venv.yml names; what else it was told is not the user's. */
static void what_is_refused_has_its_place(void **state)
{
	static const struct {
		const char *before, *after; /* the directory */
		unsigned line;
	} cases[] = { { "kvm.kernel '", "/k' is no kernel", 11 },
		      { "the kernel below ", " is damaged", 0 } };
	struct world *w = *state;
	char kernel[128], message[192];

	(void)snprintf(kernel, sizeof(kernel), "%s/k", w->root);
	put(w->root, "k", "kernel");
	w->spec.kvm.kernel = kernel;
	w->spec.kvm.kernel_place = (struct place){ "venv.yml", 11, 3 };
	w->machine.image.kernel = NULL;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_error_ venv_error *error = NULL;

		(void)snprintf(message, sizeof(message), "refuse: %s%s%s", cases[i].before, w->root,
			       cases[i].after);
		assert_int_equal(setenv(VMM_ENV, message, 1), 0);
		assert_int_equal(kvm_start(&w->machine, NULL, &error), VENV_ERR_INVALID);
		assert_string_equal(venv_error_message(error), message + 8);
		assert_int_equal(venv_error_line(error), cases[i].line);
	}
}

/* What venv-vmm finds out, who reads more of it. */
static void a_damaged_disk_has_a_way_out(void **state)
{
	_cleanup_error_ venv_error *error = NULL;
	struct world *w = *state;
	char message[160];

	(void)snprintf(message, sizeof(message), "damage: device 'blk': disk '%s/%s': bad L1",
		       w->dir, KVM_DISK);
	assert_int_equal(setenv(VMM_ENV, message, 1), 0);
	assert_int_equal(kvm_start(&w->machine, NULL, &error), VENV_ERR_CORRUPT);
	assert_non_null(strstr(venv_error_hint(error), "'venv destroy web'"));
}

/* Of the kernel that is ordered. */
static uint64_t size_of_kernel(struct world *w)
{
	_cleanup_kvm_order_ struct kvm_order order = { 0 };
	struct stat st;
	json_int_t number;

	assert_int_equal(kvm_order_new(&w->machine, &order, NULL), 0);
	assert_int_equal(kvm_boot_order(&w->machine, &order, NULL), 0);
	number = venv__json_int(order.json, "kernel", -1);
	assert_true(number >= 0 && (size_t)number < order.n_fds);
	assert_int_equal(fstat(order.fd[number], &st), 0);
	return (uint64_t)st.st_size;
}

/* Boxes have their kernel unpacked; older ones, and such where that did not work, as it came. */
static void an_unpacked_kernel_comes_first(void **state)
{
	_cleanup_error_ venv_error *none = NULL, *no_file = NULL;
	struct world *w = *state;
	char path[160];

	assert_int_equal(size_of_kernel(w), strlen("kernel"));
	put(w->kernel, "vmlinux", "unpacked kernel");
	assert_int_equal(size_of_kernel(w), strlen("unpacked kernel"));
	(void)snprintf(path, sizeof(path), "%s/vmlinux", w->kernel);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(symlink("vmlinuz", path), 0);
	assert_true(kvm_start(&w->machine, NULL, &no_file) < 0);
	assert_non_null(strstr(venv_error_message(no_file), "/vmlinux'"));
	assert_int_equal(unlink(path), 0);
	(void)snprintf(path, sizeof(path), "%s/vmlinuz", w->kernel);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(kvm_start(&w->machine, NULL, &none), VENV_ERR_BOX);
	assert_non_null(strstr(venv_error_message(none), "holds no kernel"));
	assert_non_null(strstr(venv_error_hint(none), "venv box remove"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(a_suspended_machine_goes_on),  TEST(a_start_that_fails_leaves_it_suspended),
		TEST(who_ends_has_said_why),        TEST(what_is_refused_has_its_place),
		TEST(a_damaged_disk_has_a_way_out), TEST(an_unpacked_kernel_comes_first),
	};

	if (argc > 0 && strcmp(argv[0], "venv-vmm") == 0)
		return be_vmm(getenv(VMM_ENV));
	if (argc > 0 && strcmp(argv[0], "venv-relay") == 0)
		return be_relay(getenv(RELAY_ENV));
	return cmocka_run_group_tests_name("kvm_start", tests, NULL, NULL);
}
