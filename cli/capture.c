/* SPDX-License-Identifier: Apache-2.0 */
/* Output of an operation that goes through us, because it is hostile or has to become JSON. */
#include "commands.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

int capture_open(struct capture *capture, struct cli *cli, const char *machine, size_t count)
{
	int fds[2];

	*capture = (struct capture){ .cli = cli, .machine = machine };
	for (size_t i = 0; i < 2; i++)
		capture->read_fd[i] = capture->write_fd[i] = -1;
	for (size_t i = 0; i < count; i++) {
		if (pipe2(fds, O_CLOEXEC) < 0)
			return cli_fail(cli, VENV_ERR_SYSTEM, NULL, "cannot make a pipe: %s",
					strerror(errno));
		(void)fcntl(fds[0], F_SETFL, O_NONBLOCK);
		capture->read_fd[i] = fds[0];
		capture->write_fd[i] = fds[1];
	}
	return 0;
}

/* Bytes at the end that begin a character whose rest has not come yet. */
static size_t incomplete_tail(const struct text *text)
{
	size_t back = 0, need;

	while (back < 3 && back < text->length &&
	       ((unsigned char)text->data[text->length - 1 - back] & 0xc0) == 0x80)
		back++;
	if (back == text->length)
		return 0;
	need = (unsigned char)text->data[text->length - 1 - back];
	need = need >= 0xf0 ? 4 : need >= 0xe0 ? 3 : need >= 0xc0 ? 2 : 1;
	return need > back + 1 ? back + 1 : 0;
}

static void print_json(struct capture *capture, size_t stream, bool end)
{
	struct text *partial = &capture->partial[stream];
	_cleanup_text_ struct text line = { 0 };
	char tail[4] = "";
	size_t n = end ? 0 : incomplete_tail(partial);

	if (partial->length == n)
		return;
	memcpy(tail, partial->data + partial->length - n, n);
	partial->data[partial->length - n] = '\0';
	json_open(&line, "output");
	json_add_member(&line, "machine", capture->machine);
	json_add_member(&line, "stream", stream ? "stderr" : "stdout");
	json_add_member(&line, "text", text_string(partial));
	json_close(capture->cli, &line);
	text_clear(partial);
	text_add_n(partial, tail, n);
}

/* Complete lines, and what is left at the end. */
static void print_lines(struct capture *capture, size_t stream, bool end)
{
	struct text *partial = &capture->partial[stream];
	const char *newline = strrchr(text_string(partial), '\n');
	struct text rest = { 0 };

	if (!newline && !end)
		return;
	if (newline && !end) {
		text_add(&rest, newline + 1);
		partial->data[newline + 1 - partial->data] = '\0';
	}
	out_block(&capture->cli->out, "", text_string(partial));
	out_flush(&capture->cli->out);
	text_done(partial);
	*partial = rest;
}

static void pump(struct capture *capture, size_t stream)
{
	struct text *partial = &capture->partial[stream];
	char buffer[16384];
	ssize_t n;

	while ((n = read(capture->read_fd[stream], buffer, sizeof(buffer))) > 0) {
		for (ssize_t i = 0; i < n; i++)
			text_add_char(partial, buffer[i] ? buffer[i] : ' ');
		if (capture->cli->format == FORMAT_JSON)
			print_json(capture, stream, false);
		else
			print_lines(capture, stream, false);
	}
}

void capture_pump(struct capture *capture)
{
	for (size_t i = 0; i < 2; i++)
		if (capture->read_fd[i] >= 0)
			pump(capture, i);
}

void capture_finish(struct capture *capture)
{
	capture_pump(capture);
	for (size_t i = 0; i < 2; i++) {
		if (capture->partial[i].length && capture->cli->format == FORMAT_JSON)
			print_json(capture, i, true);
		else if (capture->partial[i].length)
			print_lines(capture, i, true);
		text_done(&capture->partial[i]);
	}
}

void capture_close(struct capture *capture)
{
	capture_finish(capture);
	for (size_t i = 0; i < 2; i++) {
		if (capture->read_fd[i] < 0)
			continue;
		(void)close(capture->read_fd[i]);
		(void)close(capture->write_fd[i]);
	}
}
