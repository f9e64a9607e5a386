/* SPDX-License-Identifier: Apache-2.0 */
/* What a machine of a rootfs box starts with, read as the kernel and our /init would. */
#include "test.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "providers/kvm/guest/words.h"
#include "providers/kvm/kvm.h"
#include "util/file.h"

struct world {
	char root[64], kernel[80];
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

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	char modules[96];

	(void)snprintf(w->root, sizeof(w->root), "/tmp/venv-test-initramfs.XXXXXX");
	if (!mkdtemp(w->root))
		return -1;
	(void)snprintf(w->kernel, sizeof(w->kernel), "%s/kernel", w->root);
	(void)snprintf(modules, sizeof(modules), "%s/modules", w->kernel);
	if (mkdir(w->kernel, 0700) < 0 || mkdir(modules, 0700) < 0)
		return -1;
	put(w->root, "venv-guest", "INIT");
	put(w->root, "venv-enter", "ENTER");
	put(w->kernel, "modules.order", "a.ko\nb.ko\n");
	put(w->kernel, "modules.later", "c.ko\n");
	put(modules, "a.ko", "A");
	put(modules, "b.ko", "BB");
	put(modules, "c.ko", "CCC");
	w->ctx.libexec_dir = w->root;
	w->machine = (struct machine){ .ctx = &w->ctx,
				       .name = "web",
				       .spec = &w->spec,
				       .from_rootfs = true,
				       .login = "dev",
				       .image = { .kernel = w->kernel } };
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	assert_int_equal(venv__tree_delete(AT_FDCWD, w->root, NULL), 0);
	free(w);
	return 0;
}

static unsigned number(const char *header, size_t index)
{
	char text[9] = "";

	memcpy(text, header + 6 + 8 * index, 8);
	return (unsigned)strtoul(text, NULL, 16);
}

/* The file of this name in the archive; NULL: there is none. */
static const char *find(const char *data, size_t size, const char *name, size_t *ret_size)
{
	for (size_t at = 0; at + 110 <= size;) {
		size_t length = number(data + at, 11), bytes = number(data + at, 6);
		const char *own = data + at + 110;
		size_t content = (at + 110 + length + 3) & ~(size_t)3;

		assert_memory_equal(data + at, "070701", 6);
		if (strcmp(own, "TRAILER!!!") == 0)
			return NULL;
		if (strcmp(own, name) == 0) {
			*ret_size = bytes;
			return data + content;
		}
		at = (content + bytes + 3) & ~(size_t)3;
	}
	fail_msg("the archive has no end");
	return NULL;
}

static char *make(struct world *w, size_t *ret_size)
{
	venv_error *error = NULL;
	_cleanup_close_ int fd = kvm_initramfs_make(&w->machine, &error);
	char *data = NULL;

	if (fd < 0)
		fail_msg("%s", venv_error_message(error));
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	assert_int_equal(venv__fd_read(fd, "initramfs", 1 << 20, &data, ret_size, NULL), 0);
	return data;
}

static void holds_programs_and_modules(void **state)
{
	struct world *w = *state;
	size_t size, length = 0;
	_cleanup_free_ char *data = make(w, &size);

	assert_memory_equal(find(data, size, "init", &length), "INIT", 4);
	assert_memory_equal(find(data, size, "venv-enter", &length), "ENTER", 5);
	assert_memory_equal(find(data, size, "modules/b.ko", &length), "BB", 2);
	assert_int_equal(length, 2);
	assert_memory_equal(find(data, size, "modules/c.ko", &length), "CCC", 3);
	assert_non_null(find(data, size, "dev/console", &length));
	assert_null(find(data, size, "modules/d.ko", &length));
}

static void config_says_what_it_shall_be(void **state)
{
	struct world *w = *state;
	char colour[] = "COLOUR=green", *env[] = { colour, NULL }, line[] = "10.0.0.3 db";
	char *hosts[] = { line, NULL }, place[] = "/srv/my work", name[] = "eth0",
	     address[] = "10.0.0.2", mac[] = "02:00:00:00:00:01", dns[] = "10.0.0.1";
	struct machine_folder folder = { .guest = place, .read_only = true };
	struct net_interface interface = {
		.name = name, .address = address, .prefix = 24, .mac = mac, .mtu = 1500
	};
	struct net_attachment net = { .interfaces = &interface, .n_interfaces = 1, .dns = dns };
	size_t size, length = 0;
	_cleanup_free_ char *data = NULL;
	struct words words;
	const char *at = NULL;

	w->spec.env = env;
	w->machine.hosts = hosts;
	w->machine.folders = &folder;
	w->machine.n_folders = 1;
	w->machine.net = &net;
	data = make(w, &size);
	words.data = find(data, size, "config", &length);
	words.length = length;
	assert_true(words_valid(&words));
	assert_int_equal(words_number(&words, "version", 99, 0), 1);
	assert_string_equal(words_get(&words, "root"), KVM_ROOT_SERIAL);
	assert_string_equal(words_get(&words, "hostname"), "web");
	assert_string_equal(words_get(&words, "login"), "dev");
	assert_string_equal(words_get(&words, "hosts"), line);
	assert_string_equal(words_get(&words, "net"), "02:00:00:00:00:01 10.0.0.2/24 1500 - eth0");
	assert_string_equal(words_get(&words, "dns"), dns);
	assert_string_equal(words_get(&words, "folder"), "venv0 ro /srv/my work");
	assert_string_equal(words_each(&words, "module", &at), "a.ko");
	assert_string_equal(words_each(&words, "module", &at), "b.ko");
	assert_string_equal(words_get(&words, "later"), "c.ko");
	assert_memory_equal(words_get(&words, "env"), "PATH=/", 6);
	assert_null(words_get(&words, "init"));
	assert_null(words_get(&words, "command"));
}

static void images_start_their_own(void **state)
{
	struct world *w = *state;
	char run[] = "/run.sh", *cmd[] = { run, NULL }, quit[] = "SIGQUIT", init[] = "/sbin/init",
	     *system[] = { init, NULL };
	size_t size, length = 0;
	venv_error *error = NULL;
	struct words words;
	char *data;

	w->spec.command = COMMAND_IMAGE;
	assert_int_equal(kvm_initramfs_make(&w->machine, &error), VENV_ERR_BOX);
	venv_error_free(error);
	w->machine.image.cmd = cmd;
	w->machine.image.stop_signal = quit;
	data = make(w, &size);
	words = (struct words){ find(data, size, "config", &length), 0 };
	words.length = length;
	assert_string_equal(words_get(&words, "command"), run);
	assert_int_equal(words_number(&words, "command_signal", 64, 0), 3);
	assert_int_equal(words_number(&words, "command_is_machine", 1, -1), 0);
	free(data);
	w->machine.image.cmd = system;
	data = make(w, &size);
	words.data = find(data, size, "config", &length);
	words.length = length;
	assert_string_equal(words_get(&words, "init"), init);
	assert_null(words_get(&words, "command"));
	free(data);
}

static void strange_lists_of_modules_are_refused(void **state)
{
	struct world *w = *state;
	venv_error *error = NULL;

	put(w->kernel, "modules.later", "../../etc/shadow\n");
	assert_int_equal(kvm_initramfs_make(&w->machine, &error), VENV_ERR_CORRUPT);
	venv_error_free(error);
}

/* A kernel comes from a box: no link in it brings a file of this host into the machine. */
static void links_of_a_kernel_lead_nowhere(void **state)
{
	static const struct {
		const char *name, *to;
	} cases[] = {
		{ "kernel/modules/b.ko", "../../secret" },
		{ "kernel/modules.order", "../secret" },
		{ "kernel/modules", "../elsewhere" },
	};
	struct world *w = *state;
	char elsewhere[96];

	(void)snprintf(elsewhere, sizeof(elsewhere), "%s/elsewhere", w->root);
	assert_int_equal(mkdir(elsewhere, 0700), 0);
	put(w->root, "secret", "c.ko\n");
	for (size_t i = 0; i < 3; i++) {
		static const char *const names[] = { "a.ko", "b.ko", "c.ko" };

		put(elsewhere, names[i], "secret");
	}
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_error_ venv_error *error = NULL;
		char name[128], kept[136];

		(void)snprintf(name, sizeof(name), "%s/%s", w->root, cases[i].name);
		(void)snprintf(kept, sizeof(kept), "%s.kept", name);
		assert_int_equal(rename(name, kept), 0);
		assert_int_equal(symlink(cases[i].to, name), 0);
		assert_true(kvm_initramfs_make(&w->machine, &error) < 0);
		assert_non_null(strstr(venv_error_message(error), "cannot open"));
		assert_int_equal(unlink(name), 0);
		assert_int_equal(rename(kept, name), 0);
	}
}

/* Nor does anything in it keep us waiting. */
static void a_pipe_is_no_module(void **state)
{
	struct world *w = *state;
	char name[128];

	(void)snprintf(name, sizeof(name), "%s/modules/b.ko", w->kernel);
	assert_int_equal(unlink(name), 0);
	assert_int_equal(mkfifo(name, 0600), 0);
	assert_int_equal(kvm_initramfs_make(&w->machine, NULL), VENV_ERR_CORRUPT);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(holds_programs_and_modules),     TEST(config_says_what_it_shall_be),
		TEST(images_start_their_own),         TEST(strange_lists_of_modules_are_refused),
		TEST(links_of_a_kernel_lead_nowhere), TEST(a_pipe_is_no_module),
	};

	return cmocka_run_group_tests_name("kvm_initramfs", tests, NULL, NULL);
}
