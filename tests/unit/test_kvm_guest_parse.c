/* SPDX-License-Identifier: Apache-2.0 */
/* What /init of a virtual machine reads: networks, folders, the serial numbers of disks. */
#include "test.h"

#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "providers/kvm/guest/guest.h"
#include "util/file.h"

static unsigned complaints;

/* process 1's own, which is not run here */
void guest_say(const char *format, ...)
{
	(void)format;
	complaints++;
}

_Noreturn void guest_die(int number, const char *format, ...)
{
	(void)number;
	fail_msg("died: %s", format);
	_exit(1);
}

static void networks_are_read(void **state)
{
	static const char *const bad[] = {
		"",
		"02:00:00:00:00:01",
		"02:00:00:00:00:01 10.0.0.2 1500 - eth0",
		"02:00:00:00:00:01 10.0.0.2/33 1500 - eth0",
		"02:00:00:00:00:01 10.0.0.256/8 1500 - eth0",
		"02:00:00:00:00:01 10.0.0.2/8 1 - eth0",
		"02:00:00:00:00:01 10.0.0.2/8 1500 gateway eth0",
		"02:00:00:00:00:01 10.0.0.2/8 1500 - eth0 more",
		"02:00:00:00:00:01 10.0.0.2/8 1500 - anamethatislongerthanany",
	};
	struct guest_net net;

	(void)state;
	assert_true(guest_net_parse("02:00:00:00:00:01 10.88.0.2/24 65520 10.88.0.1 eth0", &net));
	assert_string_equal(net.mac, "02:00:00:00:00:01");
	assert_string_equal(net.address, "10.88.0.2");
	assert_int_equal(net.prefix, 24);
	assert_int_equal(net.mtu, 65520);
	assert_string_equal(net.gateway, "10.88.0.1");
	assert_string_equal(net.name, "eth0");
	assert_true(guest_net_parse("02:00:00:00:00:01 10.88.0.2/24 1500 - eth1", &net));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(guest_net_parse(bad[i], &net));
}

static void folders_are_read(void **state)
{
	static const char *const bad[] = {
		"",
		"tag",
		"tag rw",
		"tag rw relative",
		"tag rx /a",
		" rw /a",
		"a23456789012345678901234567890123456789 rw /a",
	};
	const char *path = NULL;
	bool read_only = false;
	char tag[37];

	(void)state;
	assert_true(guest_folder_parse("venv0 ro /srv/my work", tag, &read_only, &path));
	assert_string_equal(tag, "venv0");
	assert_true(read_only);
	assert_string_equal(path, "/srv/my work");
	assert_true(guest_folder_parse("venv1 rw /", tag, &read_only, &path));
	assert_false(read_only);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(guest_folder_parse(bad[i], tag, &read_only, &path));
}

static int temporary(char *path)
{
	assert_non_null(mkdtemp(path));
	return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static void put(int dir, const char *name, const char *text)
{
	_cleanup_close_ int fd = openat(dir, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

static void the_disk_is_found_by_its_serial(void **state)
{
	char path[] = "/tmp/venv-test-XXXXXX", found[32];
	_cleanup_close_ int dir = temporary(path);

	(void)state;
	assert_int_equal(mkdirat(dir, "loop0", 0700), 0);
	assert_int_equal(mkdirat(dir, "vda", 0700), 0);
	put(dir, "vda/serial", "seed\n");
	assert_int_equal(mkdirat(dir, "vdb", 0700), 0);
	put(dir, "vdb/serial", "root");
	assert_false(guest_disk_find(dir, "none", found, sizeof(found)));
	assert_true(guest_disk_find(dir, "root", found, sizeof(found)));
	assert_string_equal(found, "/dev/vdb");
	assert_int_equal(venv__tree_delete(AT_FDCWD, path, NULL), 0);
}

static char *text_of(int dir, const char *name)
{
	char *text = NULL;

	assert_int_equal(venv__file_read(dir, name, 4096, &text, NULL, NULL), 0);
	return text;
}

static void files_are_written_in_place_of_links(void **state)
{
	static const char config[] = "dns=10.88.0.1\0hosts=10.88.0.3 db";
	char path[] = "/tmp/venv-test-XXXXXX";
	_cleanup_close_ int dir = temporary(path), etc = -1;
	const struct guest guest = { .config = { config, sizeof(config) } };
	_cleanup_free_ char *text = NULL;
	struct stat st;

	(void)state;
	assert_int_equal(mkdirat(dir, "etc", 0700), 0);
	etc = openat(dir, "etc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(symlinkat("../outside", etc, "resolv.conf"), 0);
	guest_files_write(&guest, dir);
	assert_int_equal(fstatat(etc, "resolv.conf", &st, AT_SYMLINK_NOFOLLOW), 0);
	assert_true(S_ISREG(st.st_mode));
	text = text_of(etc, "resolv.conf");
	assert_string_equal(text, "nameserver 10.88.0.1\n");
	assert_int_equal(faccessat(dir, "outside", F_OK, 0), -1);
	assert_int_equal(venv__tree_delete(AT_FDCWD, path, NULL), 0);
}

/* The machine starts with the modules that do load; all are taken out of memory. */
static void modules_that_do_not_load_are_told(void **state)
{
	static const char config[] = "module=a.ko\0module=none.ko\0later=c.ko";
	char path[] = "/tmp/venv-test-XXXXXX";
	_cleanup_close_ int dir = temporary(path);
	const struct guest guest = { .config = { config, sizeof(config) } };

	(void)state;
	assert_int_equal(mkdirat(dir, "modules", 0700), 0);
	put(dir, "modules/a.ko", "no module");
	put(dir, "modules/b.ko", "not named");
	put(dir, "modules/c.ko", "no module");
	complaints = 0;
	guest_modules_load(&guest, dir);
	assert_int_equal(complaints, 2);
	assert_true(wait(NULL) > 0); /* who loads what may come later */
	assert_int_equal(faccessat(dir, "modules/a.ko", F_OK, 0), -1);
	assert_int_equal(faccessat(dir, "modules/b.ko", F_OK, 0), 0);
	assert_int_equal(faccessat(dir, "modules/c.ko", F_OK, 0), -1);
	assert_int_equal(venv__tree_delete(AT_FDCWD, path, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(networks_are_read),
		cmocka_unit_test(folders_are_read),
		cmocka_unit_test(the_disk_is_found_by_its_serial),
		cmocka_unit_test(files_are_written_in_place_of_links),
		cmocka_unit_test(modules_that_do_not_load_are_told),
	};

	return cmocka_run_group_tests_name("kvm_guest_parse", tests, NULL, NULL);
}
