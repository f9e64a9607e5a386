/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sftp server, packet by packet; hostile ones too. Answers are looked at in its output buffer.
 */
#include "test.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "enter/sftp_wire.h"
#include "util/file.h"

struct packet {
	unsigned char data[70000];
	size_t length;
};

static struct sftp sftp;
static char directory[] = "/tmp/test-sftp-XXXXXX";

static void add_u32(struct packet *packet, uint32_t value)
{
	value = htobe32(value);
	memcpy(packet->data + packet->length, &value, 4);
	packet->length += 4;
}

static void add_u64(struct packet *packet, uint64_t value)
{
	add_u32(packet, (uint32_t)(value >> 32));
	add_u32(packet, (uint32_t)value);
}

static void add_bytes(struct packet *packet, const void *data, size_t length)
{
	add_u32(packet, (uint32_t)length);
	memcpy(packet->data + packet->length, data, length);
	packet->length += length;
}

static void add_text(struct packet *packet, const char *text)
{
	add_bytes(packet, text, strlen(text));
}

static struct packet *begin(enum sftp_type type)
{
	static struct packet packet;

	packet.length = 1;
	packet.data[0] = (unsigned char)type;
	add_u32(&packet, 77);
	return &packet;
}

static uint32_t u32_at(size_t offset)
{
	uint32_t value;

	assert_true(offset + 4 <= sftp.out_length);
	memcpy(&value, sftp.out + offset, 4);
	return be32toh(value);
}

/* Send it alone; the type of the one answer, which must fill the buffer and carry our id. */
static int ask(const struct packet *packet)
{
	sftp.out_length = 0;
	assert_true(sftp_packet(&sftp, packet->data, packet->length));
	assert_int_equal(u32_at(0) + 4, sftp.out_length);
	assert_int_equal(u32_at(5), 77);
	return sftp.out[4];
}

static uint32_t status_of(const struct packet *packet)
{
	assert_int_equal(ask(packet), SFTP_REPLY_STATUS);
	return u32_at(9);
}

static struct packet *with_path(enum sftp_type type, const char *path)
{
	struct packet *packet = begin(type);

	add_text(packet, path);
	return packet;
}

static uint32_t open_file(const char *path, uint32_t flags, unsigned char ret_handle[8])
{
	struct packet *packet = with_path(SFTP_OPEN, path);

	add_u32(packet, flags);
	add_u32(packet, 0);
	if (ask(packet) != SFTP_REPLY_HANDLE)
		return u32_at(9);
	assert_int_equal(u32_at(9), 8);
	memcpy(ret_handle, sftp.out + 13, 8);
	return SFTP_OK;
}

static struct packet *with_handle(enum sftp_type type, const unsigned char handle[8])
{
	struct packet *packet = begin(type);

	add_bytes(packet, handle, 8);
	return packet;
}

static int setup(void **state)
{
	static const unsigned char init[] = { SFTP_INIT, 0, 0, 0, 3 };

	(void)state;
	memcpy(directory + strlen(directory) - 6, "XXXXXX", 6);
	if (!mkdtemp(directory) || chdir(directory) < 0 || sftp_init(&sftp, -1) < 0)
		return -1;
	return sftp_packet(&sftp, init, sizeof(init)) && sftp.out[4] == SFTP_REPLY_VERSION ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	sftp_done(&sftp);
	return chdir("/") < 0 || venv__tree_delete(AT_FDCWD, directory, NULL) < 0;
}

static void make_file(const char *name, const char *text)
{
	FILE *f = fopen(name, "w");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

static void hello_comes_first_and_once(void **state)
{
	static const unsigned char init[] = { SFTP_INIT, 0, 0, 0, 3 };
	static struct sftp fresh;

	(void)state;
	assert_false(sftp_packet(&sftp, init, sizeof(init)));
	assert_int_equal(sftp_init(&fresh, -1), 0);
	assert_false(sftp_packet(&fresh, begin(SFTP_STAT)->data, 5));
	assert_false(sftp_packet(&fresh, init, 3));
	assert_false(sftp_packet(&fresh, init, 0));
	sftp_done(&fresh);
}

static void file_is_written_and_read(void **state)
{
	unsigned char handle[8];
	struct packet *packet;

	(void)state;
	assert_int_equal(
		open_file("f", SFTP_OPEN_READ | SFTP_OPEN_WRITE | SFTP_OPEN_CREATE, handle), 0);
	packet = with_handle(SFTP_WRITE, handle);
	add_u64(packet, 3);
	add_text(packet, "hello");
	assert_int_equal(status_of(packet), SFTP_OK);
	packet = with_handle(SFTP_READ, handle);
	add_u64(packet, 0);
	add_u32(packet, 0xffffffff); /* as much as there is */
	assert_int_equal(ask(packet), SFTP_REPLY_DATA);
	assert_int_equal(u32_at(9), 8);
	assert_memory_equal(sftp.out + 13, "\0\0\0hello", 8);
	packet = with_handle(SFTP_READ, handle);
	add_u64(packet, 8);
	add_u32(packet, 1);
	assert_int_equal(status_of(packet), SFTP_EOF);
	assert_int_equal(ask(with_handle(SFTP_FSTAT, handle)), SFTP_REPLY_ATTRS);
	assert_int_equal(u32_at(17), 8); /* low half of the size */
	assert_int_equal(status_of(with_handle(SFTP_CLOSE, handle)), SFTP_OK);
}

static void one_read_is_bounded(void **state)
{
	unsigned char handle[8];
	struct packet *packet;

	(void)state;
	assert_int_equal(open_file("/dev/zero", SFTP_OPEN_READ, handle), 0);
	packet = with_handle(SFTP_READ, handle);
	add_u64(packet, 0);
	add_u32(packet, 0xffffffff);
	assert_int_equal(ask(packet), SFTP_REPLY_DATA);
	assert_int_equal(u32_at(9), SFTP_DATA_MAX);
	assert_int_equal(status_of(with_handle(SFTP_CLOSE, handle)), SFTP_OK);
}

static void closed_handle_stays_closed(void **state)
{
	unsigned char first[8], second[8];

	(void)state;
	make_file("f", "x");
	assert_int_equal(open_file("f", SFTP_OPEN_READ, first), 0);
	assert_int_equal(status_of(with_handle(SFTP_CLOSE, first)), SFTP_OK);
	assert_int_equal(open_file("f", SFTP_OPEN_READ, second), 0);
	assert_memory_not_equal(first, second, 8);
	assert_int_not_equal(status_of(with_handle(SFTP_FSTAT, first)), SFTP_OK);
	assert_int_not_equal(status_of(with_handle(SFTP_CLOSE, first)), SFTP_OK);
	assert_int_equal(ask(with_handle(SFTP_FSTAT, second)), SFTP_REPLY_ATTRS);
}

static void invented_handles_are_refused(void **state)
{
	static const unsigned char handles[][8] = {
		{ 0 },
		{ 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1 },
		{ 0, 0, 2, 0, 0, 0, 0, 0 },
	};
	static const enum sftp_type types[] = { SFTP_CLOSE, SFTP_READ,     SFTP_WRITE,
						SFTP_FSTAT, SFTP_FSETSTAT, SFTP_READDIR };

	(void)state;
	for (size_t h = 0; h < 3; h++)
		for (size_t i = 0; i < 6; i++)
			assert_int_not_equal(status_of(with_handle(types[i], handles[h])), SFTP_OK);
	for (size_t i = 0; i < 6; i++) {
		struct packet *packet = with_path(types[i], "nonsense-of-another-length");

		assert_int_not_equal(status_of(packet), SFTP_OK);
	}
}

static void handles_run_out(void **state)
{
	unsigned char handle[8];
	uint32_t r = SFTP_OK;
	int n = 0;

	(void)state;
	while (n <= SFTP_HANDLES_MAX &&
	       (r = open_file("/dev/null", SFTP_OPEN_READ, handle)) == SFTP_OK)
		n++;
	assert_int_equal(n, SFTP_HANDLES_MAX);
	assert_int_equal(r, SFTP_FAILURE);
	assert_int_equal(status_of(with_handle(SFTP_CLOSE, handle)), SFTP_OK);
	assert_int_equal(open_file("/dev/null", SFTP_OPEN_READ, handle), SFTP_OK);
}

static void directory_is_listed(void **state)
{
	unsigned char handle[8];
	unsigned names = 0;

	(void)state;
	for (int i = 0; i < 300; i++) {
		char name[200];

		(void)snprintf(name, sizeof(name), "%0150d", i);
		make_file(name, "");
	}
	assert_int_equal(ask(with_path(SFTP_OPENDIR, "")), SFTP_REPLY_HANDLE);
	memcpy(handle, sftp.out + 13, 8);
	while (ask(with_handle(SFTP_READDIR, handle)) == SFTP_REPLY_NAME)
		names += u32_at(9);
	assert_int_equal(u32_at(9), SFTP_EOF);
	assert_int_equal(names, 302);
	assert_int_not_equal(status_of(with_handle(SFTP_READ, handle)), SFTP_OK);
	assert_int_equal(status_of(with_handle(SFTP_CLOSE, handle)), SFTP_OK);
}

static void rename_does_not_replace(void **state)
{
	struct packet *packet;

	(void)state;
	make_file("a", "a");
	make_file("b", "b");
	packet = with_path(SFTP_RENAME, "a");
	add_text(packet, "b");
	assert_int_equal(status_of(packet), SFTP_FAILURE);
	packet = with_path(SFTP_RENAME, "a");
	add_text(packet, "c");
	assert_int_equal(status_of(packet), SFTP_OK);
	packet = with_path(SFTP_EXTENDED, "posix-rename@openssh.com");
	add_text(packet, "c");
	add_text(packet, "b");
	assert_int_equal(status_of(packet), SFTP_OK);
	assert_int_equal(access("c", F_OK), -1);
}

static void paths_are_resolved(void **state)
{
	static const struct {
		const char *path, *found; /* NULL: refused */
	} cases[] = {
		{ "/", "/" },
		{ "//", "/" },
		{ "/usr/../usr/", "/usr" },
		{ "/new", "/new" },
		{ "/usr/new/", "/usr/new" },
		{ "/nosuch/x", NULL },
		{ "/usr/nosuch/..", NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int type = ask(with_path(SFTP_REALPATH, cases[i].path));

		if (!cases[i].found) {
			assert_int_equal(type, SFTP_REPLY_STATUS);
			continue;
		}
		assert_int_equal(type, SFTP_REPLY_NAME);
		assert_int_equal(u32_at(13), strlen(cases[i].found));
		assert_memory_equal(sftp.out + 17, cases[i].found, strlen(cases[i].found));
	}
}

static void bad_paths_are_refused(void **state)
{
	static const enum sftp_type types[] = { SFTP_OPEN,    SFTP_LSTAT,    SFTP_SETSTAT,
						SFTP_OPENDIR, SFTP_REMOVE,   SFTP_MKDIR,
						SFTP_RMDIR,   SFTP_REALPATH, SFTP_STAT,
						SFTP_RENAME,  SFTP_READLINK, SFTP_SYMLINK };
	static char longest[PATH_MAX + 1];

	(void)state;
	memset(longest, 'x', PATH_MAX);
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		struct packet *packet = begin(types[i]);

		add_bytes(packet, "a\0b", 3);
		assert_int_equal(status_of(packet), SFTP_BAD_MESSAGE);
		assert_int_equal(status_of(with_path(types[i], longest)), SFTP_BAD_MESSAGE);
	}
}

/*
 * Every request cut at every length: an answer that is a refusal, or the end; never a wrong deed.
 */
static void cut_packets_do_nothing(void **state)
{
	struct packet whole[5];
	unsigned char handle[8];

	(void)state;
	make_file("f", "12345");
	assert_int_equal(open_file("f", SFTP_OPEN_READ | SFTP_OPEN_WRITE, handle), 0);
	whole[0] = *with_path(SFTP_SETSTAT, "f");
	add_u32(&whole[0], SFTP_ATTR_SIZE | SFTP_ATTR_MODE | SFTP_ATTR_TIMES);
	add_u64(&whole[0], 1);
	add_u32(&whole[0], 0600);
	add_u64(&whole[0], 1);
	whole[1] = *with_path(SFTP_OPEN, "g");
	add_u32(&whole[1], SFTP_OPEN_WRITE | SFTP_OPEN_CREATE);
	add_u32(&whole[1], SFTP_ATTR_MODE);
	add_u32(&whole[1], 0600);
	whole[2] = *with_path(SFTP_RENAME, "f");
	add_text(&whole[2], "h");
	whole[3] = *with_handle(SFTP_WRITE, handle);
	add_u64(&whole[3], 0);
	add_text(&whole[3], "abcdefgh");
	whole[4] = *with_path(SFTP_EXTENDED, "hardlink@openssh.com");
	add_text(&whole[4], "f");
	add_text(&whole[4], "h");
	for (size_t i = 0; i < 5; i++) {
		for (size_t n = 5; n < whole[i].length; n++) {
			sftp.out_length = 0;
			assert_true(sftp_packet(&sftp, whole[i].data, n));
			assert_int_equal(sftp.out[4], SFTP_REPLY_STATUS);
			assert_int_not_equal(u32_at(9), SFTP_OK);
		}
		assert_int_equal(access("g", F_OK), -1);
		assert_int_equal(access("h", F_OK), -1);
	}
	assert_int_equal(ask(with_path(SFTP_STAT, "f")), SFTP_REPLY_ATTRS);
	assert_int_equal(u32_at(17), 5);
}

static void unknown_requests_are_unsupported(void **state)
{
	(void)state;
	for (unsigned type = 0; type < 256; type++) {
		if (type == SFTP_INIT || (type >= SFTP_OPEN && type <= SFTP_SYMLINK))
			continue;
		assert_int_equal(status_of(with_path((enum sftp_type)type, "x")),
				 SFTP_OP_UNSUPPORTED);
	}
}

static void links_and_modes(void **state)
{
	struct packet *packet;
	struct stat st;

	(void)state;
	make_file("f", "");
	packet = with_path(SFTP_SYMLINK, "what/it/says");
	add_text(packet, "link");
	assert_int_equal(status_of(packet), SFTP_OK);
	assert_int_equal(ask(with_path(SFTP_READLINK, "link")), SFTP_REPLY_NAME);
	assert_memory_equal(sftp.out + 17, "what/it/says", 12);
	packet = with_path(SFTP_SETSTAT, "f");
	add_u32(packet, SFTP_ATTR_MODE | SFTP_ATTR_TIMES);
	add_u32(packet, 0100741);
	add_u32(packet, 5);
	add_u32(packet, 6);
	assert_int_equal(status_of(packet), SFTP_OK);
	assert_int_equal(stat("f", &st), 0);
	assert_int_equal(st.st_mode & 07777, 0741);
	assert_int_equal(st.st_mtime, 6);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(hello_comes_first_and_once),
		TEST(file_is_written_and_read),
		TEST(one_read_is_bounded),
		TEST(closed_handle_stays_closed),
		TEST(invented_handles_are_refused),
		TEST(handles_run_out),
		TEST(directory_is_listed),
		TEST(rename_does_not_replace),
		TEST(paths_are_resolved),
		TEST(bad_paths_are_refused),
		TEST(cut_packets_do_nothing),
		TEST(unknown_requests_are_unsupported),
		TEST(links_and_modes),
	};

	return cmocka_run_group_tests_name("sftp", tests, NULL, NULL);
}
