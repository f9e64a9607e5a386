/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The console: what the machine writes to /dev/console is appended to console.log, which is begun
 * anew at 1 MiB (the last one stays as console.log.1). Opened without following anything, never
 * by the machine. Lines of the keeper's own begin with "venv: ".
 */
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

#include "keeper.h"
#include "util/buf.h"

enum { LOG_MAX = 1024 * 1024, CHUNK = 4096, CHUNKS_MAX = 64 };

static const char log_name[] = "console.log", old_name[] = "console.log.1";

int keeper_console_open(struct keeper *keeper, venv_error **err)
{
	if (keeper->console_log_fd >= 0)
		(void)close(keeper->console_log_fd);
	keeper->console_log_fd =
		openat(keeper->machine_fd, log_name,
		       O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (keeper->console_log_fd < 0)
		return venv__fail_errno(err, errno, "cannot open '%s'", log_name);
	return 0;
}

static void append(struct keeper *keeper, const char *data, size_t length)
{
	struct stat st;

	if (keeper->console_log_fd < 0)
		return;
	if (fstat(keeper->console_log_fd, &st) == 0 && st.st_size > LOG_MAX) {
		(void)renameat(keeper->machine_fd, log_name, keeper->machine_fd, old_name);
		if (keeper_console_open(keeper, NULL) < 0)
			return;
	}
	/* a full disk must not stop the machine */
	(void)venv__write_all(keeper->console_log_fd, data, length);
}

/* @return whether something was read */
static bool take_console(struct keeper *keeper, int fd)
{
	char chunk[CHUNK];
	ssize_t n = read(fd, chunk, sizeof(chunk));

	if (n > 0) {
		append(keeper, chunk, (size_t)n);
		venv__peer_show(&keeper->console_peer, chunk, (size_t)n);
	}
	return n > 0;
}

/* What was written so far, but not for ever what goes on being written. */
static void drain(struct keeper *keeper)
{
	for (int i = 0; keeper->console_fd >= 0 && i < CHUNKS_MAX; i++)
		if (!take_console(keeper, keeper->console_fd))
			break;
}

/* After what the machine said before, so that the log tells things in their order. */
void keeper_console_say(struct keeper *keeper, const char *format, ...)
{
	char line[512];
	va_list args;
	size_t length;

	va_start(args, format);
	length = venv__line(line, sizeof(line), "venv: ", format, args);
	va_end(args);
	drain(keeper);
	append(keeper, line, length);
}

static void on_quiet(void *user, int fd, uint32_t events);

static void on_console(void *user, int fd, uint32_t events)
{
	struct keeper *keeper = user;

	if (take_console(keeper, fd) || !(events & (EPOLLHUP | EPOLLERR)))
		return;
	/* Nobody has it open, as between two lines of systemd's, which opens it for each. That
	 * state lasts, so it is told of once and then only what changes. */
	venv__loop_remove(keeper->console_source);
	keeper->console_source =
		venv__loop_add(keeper->loop, fd, EPOLLIN | EPOLLET, on_quiet, keeper);
}

static void on_quiet(void *user, int fd, uint32_t events)
{
	struct keeper *keeper = user;

	(void)events;
	if (!take_console(keeper, fd))
		return;
	venv__loop_remove(keeper->console_source);
	keeper->console_source = venv__loop_add(keeper->loop, fd, EPOLLIN, on_console, keeper);
}

/* What a machine that restarts was typed meanwhile, the new one gets. */
static size_t type(void *user, const void *data, size_t size)
{
	const struct keeper *keeper = user;
	ssize_t n = write(keeper->console_fd, data, size);

	return n > 0 ? (size_t)n : 0;
}

int keeper_console_connect(struct keeper *keeper, venv_error **err)
{
	keeper->console_peer.loop = keeper->loop;
	keeper->console_peer.take = type;
	keeper->console_peer.user = keeper;
	return venv__peer_connect(&keeper->console_peer, err);
}

void keeper_console_attach(struct keeper *keeper, int master_fd)
{
	keeper->console_fd = master_fd;
	(void)fcntl(master_fd, F_SETFL, O_RDWR | O_NONBLOCK);
	keeper->console_source =
		venv__loop_add(keeper->loop, master_fd, EPOLLIN, on_console, keeper);
}

void keeper_console_detach(struct keeper *keeper)
{
	if (keeper->console_fd < 0)
		return;
	drain(keeper);
	venv__loop_remove(take_ptr(keeper->console_source));
	(void)close(take_fd(&keeper->console_fd));
}
