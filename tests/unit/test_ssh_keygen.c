/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "ssh/client.h"
#include "ssh/ssh.h"
#include "util/process.h"
#include "util/sys.h"

static char directory[32];
static int dir_fd = -1;

static int setup(void **state)
{
	(void)state;
	(void)snprintf(directory, sizeof(directory), "/tmp/test-keygen-XXXXXX");
	if (!mkdtemp(directory))
		return -1;
	dir_fd = open(directory, O_DIRECTORY | O_CLOEXEC);
	return dir_fd < 0;
}

static int teardown(void **state)
{
	(void)state;
	(void)close(dir_fd);
	return venv__tree_delete(AT_FDCWD, directory, NULL);
}

static char *read_file(const char *name)
{
	char *text = NULL;

	assert_int_equal(venv__file_read(dir_fd, name, 65536, &text, NULL, NULL), 0);
	return text;
}

static void pair_is_made_once(void **state)
{
	_cleanup_free_ char *first = NULL, *second = NULL, *public = NULL;
	struct stat st;

	(void)state;
	assert_int_equal(venv__ssh_keygen(dir_fd, "key", "me@here", NULL), 0);
	first = read_file("key");
	public = read_file("key.pub");
	assert_true(strncmp(first, "-----BEGIN OPENSSH PRIVATE KEY-----\n", 36) == 0);
	assert_true(strncmp(public, "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI", 37) == 0);
	assert_non_null(strstr(public, " me@here\n"));
	assert_int_equal(fstatat(dir_fd, "key", &st, 0), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(fstatat(dir_fd, "key.pub", &st, 0), 0);
	assert_int_equal(st.st_mode & 0777, 0644);
	assert_int_equal(venv__ssh_keygen(dir_fd, "key", "other", NULL), 0);
	second = read_file("key");
	assert_string_equal(first, second);
}

static void broken_pair_is_made_again(void **state)
{
	_cleanup_free_ char *first = NULL, *second = NULL, *third = NULL;

	(void)state;
	assert_int_equal(venv__ssh_keygen(dir_fd, "key", "", NULL), 0);
	first = read_file("key");
	assert_int_equal(venv__file_write(dir_fd, "key", first, 100, 0600, WRITE_VOLATILE, NULL),
			 0);
	assert_int_equal(venv__ssh_keygen(dir_fd, "key", "", NULL), 0);
	second = read_file("key");
	assert_string_not_equal(first, second);
	assert_int_equal(unlinkat(dir_fd, "key.pub", 0), 0);
	assert_int_equal(venv__ssh_keygen(dir_fd, "key", "", NULL), 0);
	third = read_file("key.pub");
	assert_int_equal(strncmp(third, "ssh-ed25519 ", 12), 0);
}

/* Comments of all lengths change the padding. */
static void openssh_takes_them(void **state)
{
	(void)state;
	if (access("/usr/bin/ssh-keygen", X_OK) < 0)
		skip();
	for (int i = 0; i < 17; i++) {
		_cleanup_free_ char *path = NULL, *made = NULL, *output = NULL;
		char name[16], comment[32], program[] = "ssh-keygen", y[] = "-y", f[] = "-f";

		(void)snprintf(name, sizeof(name), "key%d", i);
		(void)snprintf(comment, sizeof(comment), "%.*s", i, "abcdefghijklmnopqrst");
		assert_int_equal(venv__ssh_keygen(dir_fd, name, comment, NULL), 0);
		assert_true(asprintf(&path, "%s/%s", directory, name) > 0);
		assert_int_equal(venv__run((char *[]){ program, y, f, path, NULL }, &output, NULL),
				 0);
		(void)snprintf(name, sizeof(name), "key%d.pub", i);
		made = read_file(name);
		assert_string_equal(output, made);
	}
}

static void comments_are_one_line(void **state)
{
	(void)state;
	assert_int_equal(venv__ssh_keygen(dir_fd, "key", "a\nb", NULL), VENV_ERR_INVALID);
}

static void it_is_fast(void **state)
{
	uint64_t start;

	(void)state;
	assert_int_equal(venv__ssh_keygen(dir_fd, "warm", "", NULL), 0);
	start = venv__now_us();
	assert_int_equal(venv__ssh_keygen(dir_fd, "key", "", NULL), 0);
	print_message("a key pair took %u us\n", (unsigned)(venv__now_us() - start));
	assert_true(venv__now_us() - start < 100000);
}

static void bytes_survive(void **state)
{
	char bytes[256];

	(void)state;
	for (int i = 1; i < 256; i++)
		bytes[i - 1] = (char)i;
	bytes[255] = '\0';
	for (int i = 0; i < 256; i++) {
		json_t *value = venv__ssh_bytes_to_json(bytes + i);
		_cleanup_free_ char *back = venv__ssh_bytes_from_json(value);

		assert_non_null(value);
		assert_string_equal(back, bytes + i);
		json_decref(value);
	}
	assert_null(venv__ssh_bytes_from_json(NULL));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(pair_is_made_once),  TEST(broken_pair_is_made_again),
		TEST(openssh_takes_them), TEST(comments_are_one_line),
		TEST(it_is_fast),         cmocka_unit_test(bytes_survive),
	};

	return cmocka_run_group_tests_name("ssh_keygen", tests, NULL, NULL);
}
