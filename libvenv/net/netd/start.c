/* SPDX-License-Identifier: Apache-2.0 */
/* Starting the two children, and giving up rights when they run. */
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <string.h>
#include <sys/syscall.h>

#include "../common/sandbox.h"
#include "netd.h"

enum { ADOPT_USERNS_FD = 5, ADOPT_NETNS_FD = 6, PATIENCE_MS = 20000 };

/* A program that lies beside ours. */
static int sibling(const char *name, char ret[PATH_MAX])
{
	ssize_t n = readlink("/proc/self/exe", ret, PATH_MAX - 1);
	char *slash;

	if (n < 0)
		return -errno;
	ret[n] = '\0';
	slash = strrchr(ret, '/');
	if (!slash || (size_t)(slash - ret) + strlen(name) + 2 > PATH_MAX)
		return -ENAMETOOLONG;
	(void)snprintf(slash + 1, PATH_MAX - (size_t)(slash + 1 - ret), "%s", name);
	return 0;
}

/* In the child: descriptors to 2, 3, 4…, then the program. */
static _Noreturn void run(const char *path, char *const *argv, const int *fds, int n)
{
	int high[8], null = open("/dev/null", O_RDWR);

	for (int i = 0; i < n; i++)
		high[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 32);
	for (int i = 0; i < n; i++)
		if (dup2(high[i], i + 2) < 0)
			_exit(126);
	if (dup2(null, 0) < 0 || dup2(null, 1) < 0 || close_range(2 + (unsigned)n, UINT_MAX, 0) < 0)
		_exit(126);
	(void)execv(path, argv);
	(void)fprintf(stderr, "cannot run %s\n", path);
	_exit(127);
}

/*
 * Start a child of our own (util's venv__spawn makes helpers nobody's children, these must be ours to
 * write their id map and to end with us). Its end shows as the end of the socket.
 */
static pid_t start(const char *name, char *const *argv, const int *extra, int *ret_socket,
		   venv_error **err)
{
	int fds[8] = { STDERR_FILENO }, n = 2, pair[2] = { -1, -1 }, r;
	char path[PATH_MAX];
	pid_t pid;

	r = sibling(name, path);
	if (r == 0)
		r = venv__msg_pair(pair);
	if (r < 0)
		return venv__fail_errno(err, -r, "cannot start %s", name);
	fds[1] = pair[1];
	for (; extra && *extra >= 0; extra++)
		fds[n++] = *extra;
	pid = fork();
	if (pid == 0)
		run(path, argv, fds, n);
	r = errno;
	(void)close(pair[1]);
	if (pid > 0) {
		*ret_socket = pair[0];
		return pid;
	}
	(void)close(pair[0]);
	return venv__fail_errno(err, r, "cannot start %s", name);
}

static pid_t start_uplink(struct netd *netd, venv_error **err)
{
	char name[] = "venv-uplink", uid[16], gid[16];
	char *argv[] = { name, netd->map.root ? uid : NULL, gid, NULL };

	(void)snprintf(uid, sizeof(uid), "%u", venv__idmap_uid(&netd->map, 65534));
	(void)snprintf(gid, sizeof(gid), "%u", venv__idmap_gid(&netd->map, 65534));
	return start(name, argv, NULL, &netd->uplink, err);
}

/* One of the questions that venv-netns has while it sets up. */
static int answer(struct netd *netd, int socket, pid_t pid, const json_t *request, venv_error **err)
{
	const char *op = venv__json_str(request, "op");
	_cleanup_json_ json_t *reply = NULL;
	int r;

	if (!op)
		return venv__fail(err, VENV_ERR_INVALID, "venv-netns asks for nothing");
	if (strcmp(op, "map") == 0) {
		r = venv__idmap_write(&netd->map, pid, err);
		if (r < 0)
			return r;
	}
	reply = json_pack("{s:o}", "closed", venv__ranges_to_json(&netd->closed));
	return reply ? venv__msg_send(socket, reply, NULL, 0, err) : venv__fail_nomem(err);
}

/* Serve venv-netns until it is ready and gives the namespaces and the TAP. */
static int wait_ready(struct netd *netd, int socket, pid_t pid, struct msg_fds *ret_fds,
		      venv_error **err)
{
	for (;;) {
		_cleanup_json_ json_t *message = NULL;
		int r = venv__msg_receive(socket, PATIENCE_MS, &message, ret_fds, err);

		if (r == 0)
			return venv__fail(err, VENV_ERR_SYSTEM,
					  "venv-netns ended while it started");
		if (r > 0)
			r = venv__error_from_json(message, err);
		if (r < 0)
			return r;
		if (json_object_get(message, "ready"))
			return 0;
		r = answer(netd, socket, pid, message, err);
		if (r < 0)
			return r;
	}
}

static int give_tap(struct netd *netd, int tap, venv_error **err)
{
	_cleanup_json_ json_t *message =
		json_pack("{s:o}", "closed", venv__ranges_to_json(&netd->closed));

	return message ? venv__msg_send(netd->uplink, message, &tap, 1, err)
		       : venv__fail_nomem(err);
}

int venv__netd_start_children(struct netd *netd, bool adopt, venv_error **err)
{
	static const int lent[] = { ADOPT_USERNS_FD, ADOPT_NETNS_FD, -1 };
	char name[] = "venv-netns", word[] = "adopt";
	char *argv[] = { name, adopt ? word : NULL, NULL };
	_cleanup_msg_fds_ struct msg_fds fds = MSG_FDS_INIT;
	_cleanup_close_ int socket = -1, tap = -1;
	pid_t children[2];
	int r;

	children[0] = start(name, argv, adopt ? lent : NULL, &socket, err);
	if (children[0] < 0)
		return children[0];
	children[1] = start_uplink(netd, err);
	r = children[1] < 0 ? children[1] : venv__host_start(netd, err);
	if (r >= 0)
		r = wait_ready(netd, socket, children[0], &fds, err);
	if (r < 0)
		return r;
	venv__netd_scope(netd, children, ARRAY_SIZE(children));
	netd->userns_fd = venv__msg_fds_take(&fds, 0);
	netd->netns_fd = venv__msg_fds_take(&fds, 1);
	tap = venv__msg_fds_take(&fds, 2);
	for (const int *fd = lent; adopt && *fd >= 0; fd++)
		(void)close(*fd);
	netd->netns = venv__helper_new(netd, take_fd(&socket));
	if (!netd->netns)
		return venv__fail_nomem(err);
	return give_tap(netd, tap, err);
}

/* What remains once everything runs, beside what all helpers do. */
static const int calls[] = {
#ifdef SYS_poll
	SYS_epoll_wait,     SYS_rename,          SYS_unlink,
#endif
	SYS_splice,         SYS_epoll_pwait,     SYS_epoll_ctl,   SYS_recvmmsg,
	SYS_sendmmsg,       SYS_accept4,         SYS_connect,     SYS_shutdown,
	SYS_setsockopt,     SYS_getsockopt,      SYS_getsockname, SYS_getpeername,
	SYS_bind,           SYS_listen,          SYS_pipe2,       SYS_writev,
	SYS_timerfd_create, SYS_timerfd_settime, SYS_openat,      SYS_fstat,
	SYS_newfstatat,     SYS_statx,           SYS_lseek,       SYS_renameat,
	SYS_renameat2,      SYS_unlinkat,        SYS_fsync,       SYS_fdatasync,
	SYS_fchmod,
};
static const struct sandbox_argument arguments[] = {
	{ SYS_socket, 0, { AF_INET, AF_INET6 }, 2 },
};
static const struct sandbox_calls allowed = { calls, ARRAY_SIZE(calls), arguments,
					      ARRAY_SIZE(arguments) };

int venv__netd_confine(struct netd *netd, venv_error **err)
{
	const uint64_t look = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
	/* where resolv.conf is, and where its usual links lead */
	_cleanup_close_ int etc = open("/etc", O_PATH | O_CLOEXEC);
	_cleanup_close_ int run = open("/run", O_PATH | O_CLOEXEC);
	const struct sandbox_path paths[] = {
		{ etc, look },
		{ run, look },
		{ netd->dir_fd, look | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_MAKE_REG |
					LANDLOCK_ACCESS_FS_REMOVE_FILE },
	};
	int r;

	/* root expects its low ports; an ordinary user never had the capability */
	r = venv__sandbox_rights(1ULL << CAP_NET_BIND_SERVICE);
	if (r == 0)
		r = venv__sandbox_files(paths, ARRAY_SIZE(paths));
#ifndef __SANITIZE_ADDRESS__
	if (r == 0)
		r = venv__sandbox_syscalls(&allowed);
#endif
	(void)allowed;
	return r < 0 ? venv__fail_errno(err, -r, "venv-netd cannot confine itself") : 0;
}
