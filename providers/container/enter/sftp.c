/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sftp server: version 3, with OpenSSH's extensions, as the user that venv-enter became. It
 * gives that user no right that a shell would not give, so no path is forbidden.
 *
 * Theory of operation: requests are answered in their order, one at a time. Whole packets are taken
 * from the input buffer, answers collect in the output buffer, which is written when it is full or
 * when no whole packet is left: a client that sends many requests at once gets many answers at
 * once. Memory is these two buffers and a table of handles, whatever the client sends.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "enter.h"
#include "sftp_wire.h"

enum { IN_SIZE = 2 * SFTP_PACKET_MAX };

static void start(struct sftp *sftp)
{
	sftp_begin(sftp, SFTP_REPLY_VERSION, SFTP_VERSION); /* where others have their id */
	sftp_put_extensions(sftp);
	sftp_end(sftp);
	sftp->started = true;
}

bool sftp_packet(struct sftp *sftp, const unsigned char *data, size_t length)
{
	struct sftp_in in = { .data = data, .left = length };
	enum sftp_type type = (enum sftp_type)sftp_get_u8(&in);

	in.id = sftp_get_u32(&in); /* of INIT: the version, all of which begin like ours */
	if (in.bad || (type == SFTP_INIT) == sftp->started)
		return false;
	if (type == SFTP_INIT)
		start(sftp);
	else if (type == SFTP_EXTENDED)
		sftp_extended(sftp, &in);
	else
		sftp_file_request(sftp, type, &in);
	return !sftp->broken;
}

/* Handle the whole packets in the buffer. @return bytes used, or -1 to end */
static ssize_t take_packets(struct sftp *sftp, const unsigned char *data, size_t length)
{
	size_t used = 0;

	while (length - used >= 4) {
		struct sftp_in in = { .data = data + used, .left = 4 };
		size_t n = sftp_get_u32(&in);

		if (!n || n > SFTP_PACKET_MAX)
			return -1;
		if (length - used - 4 < n)
			break;
		if (!sftp_packet(sftp, data + used + 4, n))
			return -1;
		used += 4 + n;
	}
	sftp_flush(sftp);
	return sftp->broken ? -1 : (ssize_t)used;
}

/* @return exit status */
static int serve(struct sftp *sftp, unsigned char *in)
{
	size_t length = 0;

	for (;;) {
		ssize_t n = read(STDIN_FILENO, in + length, IN_SIZE - length), used;

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n == 0 && length == 0 ? 0 : ENTER_FAILED;
		length += (size_t)n;
		used = take_packets(sftp, in, length);
		if (used < 0)
			return ENTER_FAILED;
		length -= (size_t)used;
		memmove(in, in + used, length);
	}
}

int enter_sftp(void)
{
	static struct sftp sftp;
	unsigned char *in = malloc(IN_SIZE);
	int status = ENTER_FAILED;

	(void)signal(SIGPIPE, SIG_IGN);
	if (in && sftp_init(&sftp, STDOUT_FILENO) == 0) {
		status = serve(&sftp, in);
		sftp_done(&sftp);
	}
	free(in);
	return status;
}
