/* SPDX-License-Identifier: Apache-2.0 */
/* What a machine says to venv-relay: the answer to a request, then the frames of a command. */
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>

#include "providers/kvm/relay/relay.h"
#include "util/cleanup.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* As the machine: all at once, then the end. */
static int say(const uint8_t *data, size_t size, int *ret_theirs)
{
	int pair[2], space = 1 << 20;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
		abort();
	(void)setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &space, sizeof(space));
	(void)!write(pair[1], data, size);
	(void)shutdown(pair[1], SHUT_WR);
	*ret_theirs = pair[1];
	return pair[0];
}

static int sink(void)
{
	int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		abort();
	return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct agent_stream stream;
	char request[] = "exec";
	struct words_out out = { .data = request,
				 .length = sizeof(request),
				 .size = sizeof(request) };
	const struct relay relay = { .machine_fd = -1, .ctl_fd = -1, .vmm_fd = -1 };
	const struct agent_call call = { &relay, &out, 0, 0, -1 };
	_cleanup_close_ int theirs = -1, fd = -1, client = -1;
	_cleanup_error_ venv_error *error = NULL;
	struct words reply;
	int pair[2];

	(void)signal(SIGPIPE, SIG_IGN);
	fd = say(data, size, &theirs);
	if (relay_agent_talk(fd, &call, 0, &stream, &reply) < 0)
		return 0;
	if (strcmp(words_next(&reply, NULL), "error") == 0) {
		_cleanup_json_ json_t *json = NULL;

		if (relay_agent_error(&reply, &error) >= 0)
			abort();
		json = venv__error_to_json(error);
		if (!json)
			abort();
		return 0;
	}
	if (venv__msg_pair(pair) < 0)
		abort();
	client = pair[0];
	relay_exec_carry(&stream, pair[1], open("/dev/zero", O_RDONLY | O_CLOEXEC), sink(), sink());
	(void)close(pair[1]);
	return 0;
}
