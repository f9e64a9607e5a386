/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: one poll loop a command. Our ends of its pipes are non-blocking; the caller's
 * descriptors are used as they are, read only when poll says so and written to their end. When the
 * machine's side reports the exit, what is still in the pipes is copied and the loop ends: a process
 * that it left behind with its output open does not keep the caller.
 */
#include "guest.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "op_private.h"
#include "remote.h"
#include "util/msg.h"

enum { CHUNK = 65536 };

struct pump {
	const struct provider *provider;
	struct machine *machine;
	const struct guest_io *io;
	struct venv_op *op;
	struct exec_handle handle;
	int in, out, err; /* our ends; with a tty in and out are the same descriptor */
	bool caller_in_ended;
	char *pending; /* read from the caller, not yet taken by the command */
	size_t pending_length, pending_offset;
	int status; /* -1: still running */
	bool interrupted;
	int result; /* 0, or why there is no status: */
	venv_error *problem;
};

static void close_fd(int *fd)
{
	if (*fd >= 0)
		(void)close(take_fd(fd));
}

static void pump_done(struct pump *pump)
{
	free(pump->pending);
	if (pump->in == pump->out)
		pump->in = -1;
	close_fd(&pump->in);
	close_fd(&pump->out);
	close_fd(&pump->err);
	close_fd(&pump->handle.control);
}

static int make_pipe(int *ours, int *theirs, bool we_write)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	*ours = fds[we_write ? 1 : 0];
	*theirs = fds[we_write ? 0 : 1];
	(void)fchmod(*theirs, 0666); /* so that its user can open /dev/stderr and the like */
	if (fcntl(*ours, F_SETFL, O_NONBLOCK) < 0)
		return -errno;
	return 0;
}

int venv__guest_exec(const struct provider *provider, struct machine *machine,
		     const struct exec_spec *spec, struct exec_handle *ret, venv_error **err)
{
	_cleanup_error_ venv_error *problem = NULL;
	int r = provider->exec ? provider->exec(machine, spec, ret, &problem)
			       : VENV_ERR_UNSUPPORTED;

	if (r == VENV_ERR_UNSUPPORTED)
		return venv__remote_exec(provider, machine, spec, ret, err);
	return r < 0 ? venv__error_take(take_ptr(problem), err) : r;
}

static int start(struct pump *pump, const struct provider *provider, struct machine *machine,
		 struct exec_spec *spec, venv_error **err)
{
	_cleanup_close_ int in = -1, out = -1, error = -1;
	int r = 0;

	spec->fds[0] = spec->fds[1] = spec->fds[2] = -1;
	if (!spec->tty) {
		if (pump->io->in >= 0)
			r = make_pipe(&pump->in, &in, true);
		if (r == 0)
			r = make_pipe(&pump->out, &out, false);
		if (r == 0)
			r = make_pipe(&pump->err, &error, false);
		if (r < 0)
			return venv__fail_errno(err, -r, "cannot make a pipe");
		spec->fds[0] = in;
		spec->fds[1] = out;
		spec->fds[2] = error;
	}
	r = venv__guest_exec(provider, machine, spec, &pump->handle, err);
	if (r < 0)
		return r;
	if (spec->tty) {
		pump->in = pump->out = pump->handle.tty;
		(void)fcntl(pump->out, F_SETFL, O_NONBLOCK);
	}
	return 0;
}

static int give(struct pump *pump, int stream, const char *data, size_t length)
{
	int fd = stream == 1 ? pump->io->out : pump->io->err;

	if (pump->io->output) {
		pump->io->output(pump->io->user, stream, data, length);
		return 0;
	}
	return fd >= 0 ? venv__write_all(fd, data, length) : 0;
}

/* Copy from the command to the caller; closes *fd at its end. Returns bytes, 0 for "not now". */
static ssize_t copy_out(struct pump *pump, int *fd, int stream)
{
	char chunk[CHUNK];
	ssize_t n = read(*fd, chunk, sizeof(chunk));
	int r;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0) {
		if (pump->in == *fd)
			pump->in = -1;
		close_fd(fd);
		return 0;
	}
	r = give(pump, stream, chunk, (size_t)n);
	if (r < 0) { /* the caller reads no more: as after a closed pipe, the command is told so */
		if (pump->in == *fd)
			pump->in = -1;
		close_fd(fd);
	}
	return n;
}

static void read_caller(struct pump *pump)
{
	ssize_t n;

	if (!pump->pending)
		pump->pending = malloc(CHUNK);
	if (!pump->pending) {
		pump->result = venv__fail_nomem(&pump->problem);
		return;
	}
	n = read(pump->io->in, pump->pending, CHUNK);
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	pump->caller_in_ended = n <= 0;
	pump->pending_offset = 0;
	pump->pending_length = n > 0 ? (size_t)n : 0;
}

static void write_command(struct pump *pump)
{
	ssize_t n = write(pump->in, pump->pending + pump->pending_offset,
			  pump->pending_length - pump->pending_offset);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0) { /* it closed its input: nothing more is read for it */
		pump->caller_in_ended = true;
		pump->pending_offset = pump->pending_length;
		return;
	}
	pump->pending_offset += (size_t)n;
}

static void send_signal(const struct pump *pump, int number)
{
	_cleanup_json_ json_t *message = json_pack("{s:s, s:i}", "op", "signal", "signal", number);

	if (*pump->handle.mark)
		venv__remote_signal(pump->provider, pump->machine, pump->handle.mark, number);
	else if (message)
		(void)venv__msg_send(pump->handle.control, message, NULL, 0, NULL);
}

/* A terminal that is in the machine is told by a message. */
static void resize(const struct pump *pump, unsigned rows, unsigned columns)
{
	struct winsize size = { .ws_row = (unsigned short)rows, .ws_col = (unsigned short)columns };
	_cleanup_json_ json_t *message = NULL;

	if (ioctl(pump->handle.tty, TIOCSWINSZ, &size) == 0)
		return;
	message = json_pack("{s:s, s:i, s:i}", "op", "resize", "rows", (int)rows, "columns",
			    (int)columns);
	if (message)
		(void)venv__msg_send(pump->handle.control, message, NULL, 0, NULL);
}

static void serve_requests(struct pump *pump)
{
	struct op_request request = venv__op_take_request(pump->op);

	if (request.rows && pump->handle.tty >= 0)
		resize(pump, request.rows, request.columns);
	for (int number = 1; number < 64; number++)
		if (request.signals & (1ULL << number))
			send_signal(pump, number);
}

static void read_control(struct pump *pump)
{
	_cleanup_json_ json_t *message = NULL;
	int r = venv__msg_receive(pump->handle.control, 0, &message, NULL, NULL);

	if (r == VENV_ERR_NOMEM)
		pump->result = venv__fail_nomem(&pump->problem);
	else if (r <= 0 && r != VENV_ERR_TIMEOUT)
		pump->status = 128 + SIGKILL; /* the machine went away under it */
	else if (r > 0 && json_object_get(message, "error"))
		pump->result = venv__error_from_json(message, &pump->problem);
	else if (r > 0 && json_object_get(message, "exit"))
		pump->status = (int)venv__json_int(message, "exit", 1);
	else if (r > 0 && json_object_get(message, "signal"))
		pump->status = 128 + (int)venv__json_int(message, "signal", SIGKILL);
}

static bool has_pending(const struct pump *pump)
{
	return pump->pending_offset < pump->pending_length;
}

enum { P_CONTROL, P_OUT, P_ERR, P_CALLER, P_IN, P_CANCEL, P_REQUEST, P_COUNT };

static void step(struct pump *pump, const struct pollfd *fds)
{
	if (fds[P_CANCEL].revents && !pump->interrupted) {
		send_signal(pump, SIGINT);
		send_signal(pump, SIGHUP);
		pump->interrupted = true;
	}
	if (fds[P_REQUEST].revents)
		serve_requests(pump);
	if (fds[P_OUT].revents && pump->out >= 0)
		(void)copy_out(pump, &pump->out, 1);
	if (fds[P_ERR].revents && pump->err >= 0)
		(void)copy_out(pump, &pump->err, 2);
	if (fds[P_CALLER].revents)
		read_caller(pump);
	if (fds[P_IN].revents && pump->in >= 0)
		write_command(pump);
	if (pump->caller_in_ended && !has_pending(pump) && pump->in >= 0 && pump->in != pump->out)
		close_fd(&pump->in);
	if (fds[P_CONTROL].revents)
		read_control(pump);
}

static void run_pump(struct pump *pump)
{
	while (pump->status < 0 && pump->result == 0) {
		bool pending = has_pending(pump);
		bool want = pump->in >= 0 && pump->io->in >= 0 && !pump->caller_in_ended;
		struct pollfd fds[P_COUNT] = {
			[P_CONTROL] = { .fd = pump->handle.control, .events = POLLIN },
			[P_OUT] = { .fd = pump->out, .events = POLLIN },
			[P_ERR] = { .fd = pump->err, .events = POLLIN },
			[P_CALLER] = { .fd = want && !pending ? pump->io->in : -1,
				       .events = POLLIN },
			[P_IN] = { .fd = pending ? pump->in : -1, .events = POLLOUT },
			[P_CANCEL] = { .fd = pump->interrupted ? -1 : venv__op_cancel_fd(pump->op),
				       .events = POLLIN },
			[P_REQUEST] = { .fd = pump->op ? venv__op_request_fd(pump->op) : -1,
					.events = POLLIN },
		};
		int n = poll(fds, P_COUNT, pump->interrupted ? 5000 : -1);

		if (n < 0 && errno != EINTR)
			break;
		if (n == 0) /* it minds no signal: leave it, its connection closes */
			break;
		if (n > 0)
			step(pump, fds);
	}
	while (pump->out >= 0 && copy_out(pump, &pump->out, 1) > 0)
		;
	while (pump->err >= 0 && copy_out(pump, &pump->err, 2) > 0)
		;
}

int venv__guest_run(const struct provider *provider, struct machine *machine,
		    struct exec_spec *spec, const struct guest_io *io, struct venv_op *op,
		    venv_error **err)
{
	struct pump pump = { .provider = provider,
			     .machine = machine,
			     .io = io,
			     .op = op,
			     .handle = { .control = -1, .tty = -1 },
			     .in = -1,
			     .out = -1,
			     .err = -1,
			     .status = -1 };
	int r = start(&pump, provider, machine, spec, err);

	if (r == 0) {
		run_pump(&pump);
		r = pump.result < 0 ? pump.result : pump.status;
	}
	pump_done(&pump);
	if (pump.interrupted) {
		venv_error_free(pump.problem);
		return venv__fail(err, VENV_ERR_CANCELLED, "cancelled");
	}
	return pump.problem ? venv__error_take(pump.problem, err) : r;
}
