/* SPDX-License-Identifier: Apache-2.0 */
/* Words and frames, which both ends of an agent's connection speak. */
#include "providers/kvm/guest/frame.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "test.h"

static void words_are_read(void **state)
{
	static const char text[] = "op\0key=one\0other=\0key=two\0n=12\0bad=1x\0big=99";
	const struct words words = { text, sizeof(text) };
	const char *at = NULL;

	(void)state;
	assert_true(words_valid(&words));
	assert_string_equal(words_next(&words, NULL), "op");
	assert_string_equal(words_get(&words, "other"), "");
	assert_null(words_get(&words, "ke"));
	assert_string_equal(words_each(&words, "key", &at), "one");
	assert_string_equal(words_each(&words, "key", &at), "two");
	assert_null(words_each(&words, "key", &at));
	assert_int_equal(words_count(&words, "key"), 2);
	assert_int_equal(words_number(&words, "n", 100, 7), 12);
	assert_int_equal(words_number(&words, "bad", 100, 7), 7);
	assert_int_equal(words_number(&words, "big", 98, 7), 7);
	assert_int_equal(words_number(&words, "none", 98, 7), 7);
	assert_false(words_valid(&(struct words){ "ab", 2 }));
	assert_true(words_valid(&(struct words){ NULL, 0 }));
	assert_null(words_next(&(struct words){ NULL, 0 }, NULL));
}

static void words_that_do_not_fit_are_left_out(void **state)
{
	char text[16];
	struct words_out out = { .data = text, .size = sizeof(text) };

	(void)state;
	words_add(&out, "op");
	words_set(&out, "a", NULL);
	words_set(&out, "key", "value"); /* 3 + 10 */
	assert_false(out.full);
	assert_int_equal(out.length, 13);
	assert_memory_equal(text, "op\0key=value", 13);
	words_add(&out, "abc");
	assert_true(out.full);
	assert_int_equal(out.length, 13);
}

static struct agent_stream *new_stream(int fd)
{
	struct agent_stream *stream = test_calloc(1, sizeof(*stream));

	stream->fd = fd;
	(void)fcntl(fd, F_SETFL, O_NONBLOCK);
	return stream;
}

static void frames_arrive_as_they_were_sent(void **state)
{
	struct agent_stream *a, *b;
	struct agent_frame frame;
	uint32_t second = 7;
	int pair[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	a = new_stream(pair[0]);
	b = new_stream(pair[1]);
	assert_int_equal(agent_stream_read(b, &frame), -EAGAIN);
	assert_true(agent_stream_put(a, AGENT_IN, "abc", 3));
	assert_true(agent_stream_put(a, AGENT_IN, NULL, 0));
	assert_true(agent_stream_put_numbers(a, AGENT_SIZE, 5, &second));
	assert_true(agent_stream_waits(a));
	assert_int_equal(agent_stream_flush(a), 0);
	assert_false(agent_stream_waits(a));
	assert_int_equal(write(pair[0], "raw", 3), 3);

	assert_int_equal(agent_stream_read(b, &frame), 1);
	assert_int_equal(frame.type, AGENT_IN);
	assert_int_equal(frame.length, 3);
	assert_memory_equal(frame.data, "abc", 3);
	assert_int_equal(agent_stream_read(b, &frame), 1);
	assert_int_equal(frame.length, 0);
	assert_int_equal(agent_stream_read(b, &frame), 1);
	assert_int_equal(frame.type, AGENT_SIZE);
	assert_int_equal(agent_number(&frame, 0), 5);
	assert_int_equal(agent_number(&frame, 1), 7);
	assert_int_equal(agent_number(&frame, 2), 0);
	{ /* no byte more than the frame was read */
		char raw[4] = "";

		assert_int_equal(read(pair[1], raw, sizeof(raw)), 3);
		assert_string_equal(raw, "raw");
	}
	(void)close(pair[0]);
	assert_int_equal(agent_stream_read(b, &frame), 0);
	(void)close(pair[1]);
	test_free(a);
	test_free(b);
}

static void what_is_no_frame_is_refused(void **state)
{
	static const unsigned char bad[][8] = {
		{ 0, 0, 0, 0, 0, 0, 0, 0 },           /* no type */
		{ 0, 0, 0, 0, AGENT_TYPES, 0, 0, 0 }, /* one too many */
		{ 1, 0, 2, 0, AGENT_OUT, 0, 0, 0 },   /* too long */
		{ 0xff, 0xff, 0xff, 0xff, AGENT_OUT, 0, 0, 0 },
		{ 1, 0, 0, 0, AGENT_OUT, 1, 0, 0 }, /* zeros that are none */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct agent_stream *stream;
		struct agent_frame frame;
		int pair[2];

		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
		stream = new_stream(pair[1]);
		assert_int_equal(write(pair[0], bad[i], 8), 8);
		assert_int_equal(agent_stream_read(stream, &frame), -EPROTO);
		(void)close(pair[0]);
		(void)close(pair[1]);
		test_free(stream);
	}
}

static void a_frame_cut_short_is_no_end(void **state)
{
	static const unsigned char half[] = { 4, 0, 0, 0, AGENT_OUT, 0, 0, 0, 'a' };
	struct agent_stream *stream;
	struct agent_frame frame;
	int pair[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	stream = new_stream(pair[1]);
	assert_int_equal(write(pair[0], half, sizeof(half)), sizeof(half));
	assert_int_equal(agent_stream_read(stream, &frame), -EAGAIN);
	(void)close(pair[0]);
	assert_int_equal(agent_stream_read(stream, &frame), -EPROTO);
	(void)close(pair[1]);
	test_free(stream);
}

static void what_does_not_fit_waits(void **state)
{
	struct agent_stream *stream = test_calloc(1, sizeof(*stream));
	static const char data[AGENT_FRAME_MAX];

	(void)state;
	stream->fd = -1;
	assert_false(agent_stream_put(stream, AGENT_OUT, data, AGENT_FRAME_MAX + 1));
	assert_true(agent_stream_put(stream, AGENT_OUT, data, AGENT_FRAME_MAX));
	assert_false(agent_stream_has_room(stream, 0));
	assert_false(agent_stream_put(stream, AGENT_OUT, NULL, 0));
	assert_int_equal(agent_stream_flush(stream), -EBADF);
	test_free(stream);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(words_are_read),
		cmocka_unit_test(words_that_do_not_fit_are_left_out),
		cmocka_unit_test(frames_arrive_as_they_were_sent),
		cmocka_unit_test(what_is_no_frame_is_refused),
		cmocka_unit_test(a_frame_cut_short_is_no_end),
		cmocka_unit_test(what_does_not_fit_waits),
	};

	return cmocka_run_group_tests_name("kvm_guest_frame", tests, NULL, NULL);
}
