/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A command. Theory of operation: the worker polls the connection, the command's streams and its pidfd. It
 * reads output only when the last was sent, so the host's speed holds the command; and it always reads the
 * connection, so a signal is not kept waiting behind input that nobody takes: that lies in a buffer of
 * AGENT_WINDOW bytes, and more than that the host does not send.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "guest.h"
#include "util/cleanup.h"

enum { HIGH_FD = 32, FAILED = 125, PIPES_MAX = 2 << 20 };

/* ---- Starting venv-enter ---- */

char **guest_enter_arguments(const struct guest *guest, const struct words *request)
{
	const char *user = words_get(request, "user"), *mode = words_get(request, "mode");
	const char *directory = words_get(request, "directory");
	const char *shell = words_get(request, "shell"),
		   *login = words_get(&guest->config, "login");
	char **argv = calloc(words_count(request, "arg") + 16, sizeof(char *));
	const char *at = NULL, *word;
	size_t n = 0;

	if (!argv)
		return NULL;
		/* the texts are only read */
#define PUT(text) argv[n++] = (char *)(uintptr_t)(text)
	PUT("venv-enter");
	PUT(mode ? mode : "exec");
	PUT("-u");
	PUT(user ? user : login ? login : "root");
	if (words_number(request, "login", 1, 0))
		PUT("-l");
	if (directory) {
		PUT("-d");
		PUT(directory);
	}
	if (shell) {
		PUT("-c");
		PUT(shell);
	}
	if (words_number(request, "tty", 1, 0))
		PUT("-t");
	PUT("--");
	while ((word = words_each(request, "arg", &at)))
		PUT(word);
#undef PUT
	return argv;
}

/* A later one takes the place of an earlier one of that name. */
static size_t put_variables(char **env, size_t n, const struct words *from)
{
	const char *at = NULL, *variable;

	while ((variable = words_each(from, "env", &at))) {
		size_t i = 0, length = strcspn(variable, "=") + 1;

		if (variable[length - 1] != '=')
			continue;
		while (i < n && strncmp(env[i], variable, length) != 0)
			i++;
		env[i] = (char *)(uintptr_t)variable;
		n += i == n;
	}
	return n;
}

char **guest_enter_environment(const struct guest *guest, const struct words *request)
{
	char **env = calloc(words_count(&guest->config, "env") + words_count(request, "env") + 1,
			    sizeof(char *));

	if (env)
		(void)put_variables(env, put_variables(env, 0, &guest->config), request);
	return env;
}

static _Noreturn void inside(const struct guest *guest, char *const *argv, char *const *env,
			     const int fds[4])
{
	int program = fcntl(guest->enter_fd, F_DUPFD_CLOEXEC, HIGH_FD), moved[4];
	sigset_t none;

	for (int i = 0; i < 4; i++)
		moved[i] = fds[i] < 0 ? -1 : fcntl(fds[i], F_DUPFD_CLOEXEC, HIGH_FD);
	for (int i = 0; i < 3; i++)
		if (dup2(moved[i] >= 0 ? moved[i] : open("/dev/null", O_RDWR | O_CLOEXEC), i) < 0)
			_exit(FAILED);
	if (moved[3] >= 0 && dup2(moved[3], 3) < 0)
		_exit(FAILED);
	for (int number = 1; number < NSIG; number++)
		(void)signal(number, SIG_DFL);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)umask(022);
	(void)syscall(SYS_close_range, moved[3] >= 0 ? 4U : 3U, ~0U, CLOSE_RANGE_CLOEXEC);
	(void)syscall(SYS_execveat, program, "", argv, env, AT_EMPTY_PATH);
	_exit(FAILED);
}

pid_t guest_enter(const struct guest *guest, char *const *argv, char *const *env, const int fds[3],
		  int socket, bool tty)
{
	const int all[4] = { fds[0], tty ? fds[0] : fds[1], tty ? fds[0] : fds[2], socket };
	sigset_t every, before;
	int score, number;
	pid_t pid;

	/* what it is sent before it is ready waits until then: those that we ignore are not ignored in it */
	(void)sigfillset(&every);
	(void)sigprocmask(SIG_SETMASK, &every, &before);
	pid = fork();
	if (pid) {
		number = errno;
		(void)sigprocmask(SIG_SETMASK, &before, NULL);
		return pid < 0 ? -number : pid;
	}
	(void)setsid();
	score = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	if (score >= 0)
		(void)!write(score, "0", 1);
	if (tty && ioctl(fds[0], TIOCSCTTY, 0) < 0)
		_exit(FAILED);
	inside(guest, argv, env, all);
}

/* ---- Its streams ---- */

struct command {
	struct agent_stream *stream;
	pid_t pid;
	int pidfd, in, out, err;   /* ours; with a terminal in and out are its master */
	bool tty, in_ended, ended; /* the last: its process, not yet reaped */
	size_t after_end;          /* output that was sent since */
	size_t pending, at;        /* bytes of input that were not taken, where they begin */
	uint32_t taken;            /* and that were, of which the host was not told yet */
	char input[AGENT_WINDOW];
};

static int open_terminal(struct command *command, const struct words *request, int theirs[3])
{
	struct winsize size = {
		.ws_row = (unsigned short)words_number(request, "rows", 65535, 24),
		.ws_col = (unsigned short)words_number(request, "columns", 65535, 80),
	};
	struct termios settings;
	int unlock = 0;

	command->out = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
	if (command->out < 0 || ioctl(command->out, TIOCSPTLCK, &unlock) < 0)
		return -errno;
	command->in = fcntl(command->out, F_DUPFD_CLOEXEC, 0);
	theirs[0] = ioctl(command->out, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (theirs[0] < 0 || command->in < 0)
		return -errno;
	(void)ioctl(command->out, TIOCSWINSZ, &size);
	if (tcgetattr(theirs[0], &settings) == 0) {
		settings.c_iflag |= IUTF8;
		(void)tcsetattr(theirs[0], TCSANOW, &settings);
	}
	return 0;
}

static int open_pipes(struct command *command, int theirs[3])
{
	int *ours[3] = { &command->in, &command->out, &command->err };

	for (int i = 0; i < 3; i++) {
		int ends[2];

		if (pipe2(ends, O_CLOEXEC) < 0)
			return -errno;
		theirs[i] = ends[i == 0 ? 0 : 1];
		*ours[i] = ends[i == 0 ? 1 : 0];
		(void)fcntl(*ours[i], F_SETFL, O_NONBLOCK);
		(void)fchmod(theirs[i], 0666); /* so that its user can open /dev/stderr */
	}
	return 0;
}

static int start(const struct guest *guest, struct command *command, const struct words *request)
{
	_cleanup_free_ char **argv = guest_enter_arguments(guest, request);
	_cleanup_free_ char **env = guest_enter_environment(guest, request);
	int theirs[3] = { -1, -1, -1 };
	int r;

	if (!argv || !env)
		return -ENOMEM;
	command->tty = words_number(request, "tty", 1, 0);
	r = command->tty ? open_terminal(command, request, theirs) : open_pipes(command, theirs);
	if (r == 0)
		command->pid = guest_enter(guest, argv, env, theirs, -1, command->tty);
	for (int i = 0; i < 3; i++)
		if (theirs[i] >= 0)
			(void)close(theirs[i]);
	if (r < 0 || command->pid < 0)
		return r < 0 ? r : (int)command->pid;
	command->pidfd = (int)syscall(SYS_pidfd_open, command->pid, 0);
	return command->pidfd < 0 ? -errno : 0;
}

static void stop_input(struct command *command)
{
	if (command->in < 0)
		return;
	(void)close(take_fd(&command->in));
	(void)agent_stream_put(command->stream, AGENT_DEAF, NULL, 0);
}

/* Give the command what it takes. */
static void feed(struct command *command)
{
	while (command->pending && command->in >= 0) {
		ssize_t n = write(command->in, command->input + command->at, command->pending);

		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0) {
			stop_input(command);
			break;
		}
		command->at += (size_t)n;
		command->pending -= (size_t)n;
		command->taken += (uint32_t)n;
	}
	if (!command->pending && command->in_ended && command->in >= 0 && !command->tty)
		(void)close(take_fd(&command->in));
}

static bool take_input(struct command *command, const struct agent_frame *frame)
{
	if (frame->length > sizeof(command->input) - command->pending)
		return false; /* more than the window */
	if (!frame->length)
		command->in_ended = true;
	memmove(command->input, command->input + command->at, command->pending);
	command->at = 0;
	if (command->in >= 0) {
		memcpy(command->input + command->pending, frame->data, frame->length);
		command->pending += frame->length;
	}
	feed(command);
	return true;
}

/* To all of it; at first it has no process group of its own. It is not reaped: the id is still its own. */
static void send_signal(const struct command *command, int number)
{
	if (kill(-command->pid, number) < 0)
		(void)kill(command->pid, number);
}

static bool take_frame(struct command *command, const struct agent_frame *frame)
{
	struct winsize size = { .ws_row = (unsigned short)agent_number(frame, 0),
				.ws_col = (unsigned short)agent_number(frame, 1) };
	uint32_t number = agent_number(frame, 0);

	if (frame->type == AGENT_IN)
		return take_input(command, frame);
	if (frame->type == AGENT_SIGNAL && command->pid && number > 0 && number < NSIG)
		send_signal(command, (int)number);
	if (frame->type == AGENT_SIZE && command->tty && command->out >= 0)
		(void)ioctl(command->out, TIOCSWINSZ, &size);
	return true;
}

/* @return false: the host is gone */
static bool hear(struct command *command)
{
	struct agent_frame frame;
	int r;

	while ((r = agent_stream_read(command->stream, &frame)) > 0)
		if (!take_frame(command, &frame))
			return false;
	return r == -EAGAIN;
}

static void pass(struct command *command, int *fd, enum agent_type type)
{
	char data[AGENT_DATA_MAX];
	ssize_t n = read(*fd, data, sizeof(data));

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0 && command->ended)
		command->after_end += (size_t)n;
	if (n <= 0) { /* a terminal that nobody has open any more says EIO */
		(void)close(take_fd(fd));
		n = 0;
	}
	(void)agent_stream_put(command->stream, type, data, (size_t)n);
}

static bool has_output(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return fd >= 0 && poll(&p, 1, 0) > 0;
}

/* Behind all that it said itself. Who else writes there goes on, but does not hold this up for long. */
static void tell_end(struct command *command)
{
	int status = 0;

	if (command->after_end < PIPES_MAX &&
	    (has_output(command->out) || has_output(command->err)))
		return;
	if (waitpid(command->pid, &status, WNOHANG) != command->pid)
		return;
	command->pid = 0;
	(void)agent_stream_put_numbers(command->stream, AGENT_EXIT, (uint32_t)status, NULL);
}

/* One turn. @return false: it is over */
static bool turn(struct command *command)
{
	bool idle = !agent_stream_waits(command->stream);
	struct pollfd wait[] = {
		{ .fd = command->stream->fd, .events = idle ? POLLIN : POLLIN | POLLOUT },
		{ .fd = command->pending ? command->in : -1, .events = POLLOUT },
		{ .fd = idle ? command->out : -1, .events = POLLIN },
		{ .fd = idle ? command->err : -1, .events = POLLIN },
		{ .fd = idle ? command->pidfd : -1, .events = POLLIN },
	};
	int r;

	if (poll(wait, ARRAY_SIZE(wait), -1) < 0)
		return errno == EINTR;
	if ((wait[0].revents & ~POLLOUT) && !hear(command))
		return false;
	if (wait[1].revents)
		feed(command);
	if (command->taken && idle) {
		(void)agent_stream_put_numbers(command->stream, AGENT_CREDIT, command->taken, NULL);
		command->taken = 0;
	}
	if (wait[2].revents)
		pass(command, &command->out, AGENT_OUT);
	if (wait[3].revents)
		pass(command, &command->err, AGENT_ERR);
	if (wait[4].revents) {
		command->ended = true;
		(void)close(take_fd(&command->pidfd));
	}
	if (command->ended && command->pid)
		tell_end(command);
	r = agent_stream_flush(command->stream);
	return (r == 0 || r == -EAGAIN) &&
	       (command->pid || command->out >= 0 || command->err >= 0 ||
		agent_stream_waits(command->stream));
}

int guest_exec(const struct guest *guest, struct agent_stream *stream, const struct words *request)
{
	struct command *command = calloc(1, sizeof(*command));
	int r;

	if (!command)
		return 1;
	command->stream = stream;
	command->in = command->out = command->err = command->pidfd = -1;
	(void)signal(SIGPIPE, SIG_IGN);
	r = start(guest, command, request);
	if (r < 0) {
		guest_agent_fail(stream, -r, "cannot start a process");
		return 1;
	}
	guest_agent_ok(stream, NULL);
	while (turn(command))
		;
	if (command->pid) { /* as by a terminal that closes */
		send_signal(command, SIGHUP);
		send_signal(command, SIGCONT);
	}
	return 0;
}
