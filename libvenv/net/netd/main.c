/* SPDX-License-Identifier: Apache-2.0 */
/*
 * venv-netd: the network of a project, as long as one of its machines runs.
 *
 * Theory of operation: started by the library under a lock, with the listening control socket on
 * descriptor 3 and the project's directory on 4 (and on 5 and 6 the project's namespaces, when an
 * older netd died and left them to its machines: "adopt"). It starts two children and gives up its
 * rights: venv-netns owns the namespaces and makes devices and sockets in them on request, venv-uplink
 * carries packets to the outside. Here remain, in one thread, in the host's network namespace: the
 * control connections (control.c, attach.c, machine.c), forwarded ports (ports.c, tcp.c, udp.c), the
 * resolver (resolver.c, names.c, dns.c) and the host's own addresses, which guests must not reach
 * (host.c).
 *
 * A connection that attached is its machine: when it closes, everything of the machine goes. When the
 * last one has closed, the process ends, and the kernel takes the namespaces. Should one of the three
 * processes die, the others end too (EOF, parent-death signal), and the next command starts anew.
 *
 * The socket's name is removed before the listener is closed: who finds no name starts a new netd, who
 * was queued gets EOF and looks again.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "netd.h"

enum { LISTENER_FD = 3, DIR_FD = 4, START_PATIENCE_MS = 5000 };

void venv__netd_log(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)fputs("venv-netd: ", stderr);
	(void)vfprintf(stderr, format, args);
	(void)fputc('\n', stderr);
	va_end(args);
}

void venv__netd_fail(struct netd *netd, const char *why)
{
	venv__netd_log("%s", why);
	venv__loop_quit(netd->loop, 1);
}

/* Tell the one who started us, whose first question waits, why there will be no answer. */
static int refuse_first(const struct netd *netd, const venv_error *err)
{
	_cleanup_json_ json_t *hello = NULL;
	_cleanup_close_ int fd = -1;

	venv__netd_log("%s", venv_error_message(err));
	for (int waited = 0; fd < 0 && waited < START_PATIENCE_MS; waited += 10) {
		fd = venv__msg_accept(netd->listener);
		if (fd < 0)
			(void)usleep(10000);
	}
	if (fd >= 0 && venv__msg_receive(fd, START_PATIENCE_MS, &hello, NULL, NULL) > 0)
		(void)venv__msg_send_error(fd, err);
	return 1;
}

static void raise_limits(struct netd *netd)
{
	struct rlimit files = { .rlim_cur = 1024 };

	if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
		files.rlim_cur = files.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &files);
		(void)getrlimit(RLIMIT_NOFILE, &files);
	}
	/* two sockets a connection, and some for all else */
	netd->connections_max = (unsigned)(MIN(files.rlim_cur, (rlim_t)65536) * 2 / 5);
}

static bool read_arguments(struct netd *netd, int argc, char **argv, bool *ret_adopt)
{
	_cleanup_json_ json_t *map = NULL;

	if (argc < 3 || venv__json_parse(argv[2], strlen(argv[2]), &map, NULL) < 0)
		return false;
	netd->project = argv[1];
	*ret_adopt = argc > 3 && strcmp(argv[3], "adopt") == 0;
	return venv__idmap_from_json(map, &netd->map);
}

static int prepare(struct netd *netd, bool adopt, venv_error **err)
{
	int r;

	netd->loop = venv__loop_new();
	if (!netd->loop)
		return venv__fail_errno(err, errno, "cannot make an event loop");
	raise_limits(netd);
	venv__memory_load(netd);
	r = venv__netd_start_children(netd, adopt, err);
	if (r < 0)
		return r;
	netd->resolver = venv__resolver_new(netd);
	if (!netd->resolver || venv__host_follow(netd) < 0 || venv__control_start(netd) < 0)
		return venv__fail_nomem(err);
	return venv__netd_confine(netd, err);
}

int main(int argc, char **argv)
{
	static struct netd netd = { .listener = LISTENER_FD, .dir_fd = DIR_FD, .uplink = -1 };
	_cleanup_error_ venv_error *err = NULL;
	bool adopt = false;
	int r;

	(void)signal(SIGPIPE, SIG_IGN); /* splice() knows no MSG_NOSIGNAL */
	for (int fd = LISTENER_FD; fd <= DIR_FD; fd++)
		(void)fcntl(fd, F_SETFD, FD_CLOEXEC);
	if (!read_arguments(&netd, argc, argv, &adopt)) {
		venv__netd_log("is started by libvenv, not by hand");
		return 2;
	}
	netd.adopted = adopt;
	r = prepare(&netd, adopt, &err);
	if (r < 0)
		return refuse_first(&netd, err);
	r = venv__loop_run(netd.loop);
	(void)unlinkat(netd.dir_fd, "net", 0);
	_exit(r !=
	      0); /* the kernel takes it all back; a leak checker could not look from in here */
}
