/* SPDX-License-Identifier: Apache-2.0 */
/*
 * venv-uplink: carries what leaves the project's namespace to the outside, by libslirp.
 *
 * Theory of operation: a child of venv-netd, in the host's network namespace, with no capability, no
 * files and few system calls left, because libslirp parses every packet that a guest sends out. netd
 * gives it the TAP over the socket on descriptor 3, then the list of closed addresses whenever that
 * changes. There are two instances of libslirp behind the one TAP: "out" can reach everything but the
 * host's loopback; "access" can reach nothing but it, exists only once a machine has host_access, and
 * sees only frames that the namespace's packet filter let through for such a machine (frame.c checks
 * both again). It ends with netd.
 */
#include <fcntl.h>
#include <grp.h>
#include <libslirp.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../common/sandbox.h"
#include "../common/uplink.h"
#include "frame.h"
#include "util/msg.h"
#include "util/sys.h"

enum {
	CONTROL_FD = 3,
	FRAME_MAX = NET_MTU + 18,
	BATCH = 64, /* frames taken from the TAP before sockets are served again */
	FIXED = 2,  /* poll entries before slirp's: control, TAP */
};

struct uplink {
	int tap;
	struct ranges closed;
	Slirp *out, *access; /* access: NULL until it is needed */
	struct pollfd *polls;
	size_t n_polls, capacity;
	uint8_t frame[FRAME_MAX];
};

struct timer {
	SlirpTimerCb fn;
	void *user;
};

static ssize_t send_packet(const void *data, size_t length, void *user)
{
	const struct uplink *uplink = user;

	/* a full queue drops the packet: TCP sends it again */
	return write(uplink->tap, data, length) < 0 ? 0 : (ssize_t)length;
}

static void guest_error(const char *message, void *user)
{
	(void)message; /* hostile text, and as much of it as a guest likes */
	(void)user;
}

static int64_t clock_get_ns(void *user)
{
	(void)user;
	return (int64_t)venv__now_us() * 1000;
}

/* Timers are for IPv6 router advertisements, which we do not have: they never fire. */
static void *timer_new(SlirpTimerCb fn, void *fn_user, void *user)
{
	struct timer *timer = calloc(1, sizeof(*timer));

	(void)user;
	if (timer)
		*timer = (struct timer){ fn, fn_user };
	return timer;
}

static void timer_free(void *timer, void *user)
{
	(void)user;
	free(timer);
}

static void timer_mod(void *timer, int64_t expire, void *user)
{
	(void)timer;
	(void)expire;
	(void)user;
}

static void ignore_fd(int fd, void *user)
{
	(void)fd;
	(void)user;
}

static void ignore(void *user)
{
	(void)user;
}

static Slirp *start_slirp(struct uplink *uplink, uint32_t network, uint32_t router, uint32_t guest,
			  bool loopback)
{
	static const SlirpCb callbacks = {
		.send_packet = send_packet,
		.guest_error = guest_error,
		.clock_get_ns = clock_get_ns,
		.timer_new = timer_new,
		.timer_free = timer_free,
		.timer_mod = timer_mod,
		.register_poll_fd = ignore_fd,
		.unregister_poll_fd = ignore_fd,
		.notify = ignore,
	};
	SlirpConfig config = {
		.version = 4,
		.in_enabled = true,
		.vnetwork.s_addr = htonl(network),
		.vnetmask.s_addr = htonl(UINT32_MAX << (32 - UPLINK_PREFIX)),
		.vhost.s_addr = htonl(router),
		.vdhcp_start.s_addr = htonl(guest),
		.vnameserver.s_addr = htonl(guest + 1),
		.if_mtu = NET_MTU,
		.if_mru = NET_MTU,
		.disable_host_loopback = !loopback,
		.disable_dns = true,
		.disable_dhcp = true,
	};

	return slirp_new(&config, &callbacks, uplink);
}

static int add_poll(int fd, int events, void *user)
{
	struct uplink *uplink = user;
	short wanted = 0;

	if (uplink->n_polls == uplink->capacity) {
		size_t capacity = uplink->capacity * 2;
		struct pollfd *grown = realloc(uplink->polls, capacity * sizeof(*grown));

		if (!grown)
			return -1;
		uplink->polls = grown;
		uplink->capacity = capacity;
	}
	if (events & SLIRP_POLL_IN)
		wanted |= POLLIN;
	if (events & SLIRP_POLL_OUT)
		wanted |= POLLOUT;
	if (events & SLIRP_POLL_PRI)
		wanted |= POLLPRI;
	uplink->polls[uplink->n_polls] = (struct pollfd){ .fd = fd, .events = wanted };
	return (int)uplink->n_polls++;
}

static int get_events(int index, void *user)
{
	const struct uplink *uplink = user;
	short events = index < 0 ? 0 : uplink->polls[index].revents;
	int ret = 0;

	if (events & POLLIN)
		ret |= SLIRP_POLL_IN;
	if (events & POLLOUT)
		ret |= SLIRP_POLL_OUT;
	if (events & POLLPRI)
		ret |= SLIRP_POLL_PRI;
	if (events & POLLERR)
		ret |= SLIRP_POLL_ERR;
	if (events & POLLHUP)
		ret |= SLIRP_POLL_HUP;
	return ret;
}

static void take_frames(struct uplink *uplink)
{
	for (int i = 0; i < BATCH; i++) {
		ssize_t n = read(uplink->tap, uplink->frame, sizeof(uplink->frame));

		if (n <= 0)
			return;
		switch (venv__frame_judge(uplink->frame, (size_t)n, &uplink->closed)) {
		case FRAME_OUT:
			slirp_input(uplink->out, uplink->frame, (int)n);
			break;
		case FRAME_ACCESS:
			if (uplink->access)
				slirp_input(uplink->access, uplink->frame, (int)n);
			break;
		case FRAME_DROP:
			break;
		}
	}
}

/* 1, 0 at the end, or a negative code */
static int take_message(struct uplink *uplink, int timeout_ms)
{
	_cleanup_json_ json_t *message = NULL;
	_cleanup_msg_fds_ struct msg_fds fds = MSG_FDS_INIT;
	struct ranges closed = { 0 };
	int r;

	r = venv__msg_receive(CONTROL_FD, timeout_ms, &message, &fds, NULL);
	if (r <= 0)
		return r == VENV_ERR_TIMEOUT ? 1 : r;
	if (uplink->tap < 0)
		uplink->tap = venv__msg_fds_take(&fds, 0);
	if (venv__ranges_from_json(json_object_get(message, "closed"), &closed)) {
		venv__ranges_done(&uplink->closed);
		uplink->closed = closed;
	}
	if (venv__json_bool(message, "host_access", false) && !uplink->access)
		uplink->access = start_slirp(uplink, ACCESS_NET, ACCESS_HOST, ACCESS_ADDRESS, true);
	return 1;
}

static int turn(struct uplink *uplink)
{
	uint32_t timeout = UINT32_MAX;
	int n;

	uplink->n_polls = 0;
	(void)add_poll(CONTROL_FD, SLIRP_POLL_IN, uplink);
	(void)add_poll(uplink->tap, SLIRP_POLL_IN, uplink);
	slirp_pollfds_fill(uplink->out, &timeout, add_poll, uplink);
	if (uplink->access)
		slirp_pollfds_fill(uplink->access, &timeout, add_poll, uplink);
	n = poll(uplink->polls, uplink->n_polls, timeout > INT32_MAX ? -1 : (int)timeout);
	if (n < 0 && errno != EINTR)
		return -errno;
	if (uplink->polls[1].revents)
		take_frames(uplink);
	slirp_pollfds_poll(uplink->out, n < 0, get_events, uplink);
	if (uplink->access)
		slirp_pollfds_poll(uplink->access, n < 0, get_events, uplink);
	if (uplink->polls[0].revents)
		return take_message(uplink, 0);
	return 1;
}

/* As root on the host even a process without capabilities owns root's files: become a sub-id. */
static int become(const char *uid_text, const char *gid_text)
{
	uid_t uid = (uid_t)strtoul(uid_text, NULL, 10);
	gid_t gid = (gid_t)strtoul(gid_text, NULL, 10);

	if (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0)
		return -errno;
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	return 0;
}

static int confine(void)
{
	static const int calls[] = {
		SYS_writev,   SYS_readv,      SYS_gettimeofday, SYS_connect,     SYS_bind,
		SYS_ioctl,    SYS_setsockopt, SYS_getsockopt,   SYS_getsockname, SYS_getpeername,
		SYS_shutdown, SYS_accept,     SYS_accept4,      SYS_listen,      SYS_sched_yield,
	};
	static const struct sandbox_argument arguments[] = {
		{ SYS_socket, 0, { AF_INET, AF_INET6 }, 2 },
	};
	static const struct sandbox_calls allowed = { calls, ARRAY_SIZE(calls), arguments,
						      ARRAY_SIZE(arguments) };
	int r = venv__sandbox_rights(0);

	if (r == 0)
		r = venv__sandbox_files(NULL, 0);
#ifndef __SANITIZE_ADDRESS__
	if (r == 0)
		r = venv__sandbox_syscalls(&allowed);
#endif
	(void)allowed;
	return r;
}

int main(int argc, char **argv)
{
	static struct uplink uplink = { .tap = -1, .capacity = 64 };
	int r;

	(void)signal(SIGPIPE, SIG_IGN); /* libslirp writes without MSG_NOSIGNAL */
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)fcntl(CONTROL_FD, F_SETFD, FD_CLOEXEC);
	(void)clock_get_ns(NULL);
	if (argc == 3 && become(argv[1], argv[2]) < 0)
		return 1;
	uplink.polls = calloc(uplink.capacity, sizeof(*uplink.polls));
	uplink.out = start_slirp(&uplink, UPLINK_NET, UPLINK_ROUTER, UPLINK_ADDRESS, false);
	if (!uplink.polls || !uplink.out)
		return 1;
	r = confine();
	if (r < 0) {
		(void)fprintf(stderr, "venv-uplink: cannot confine itself: %s\n", strerror(-r));
		return 1;
	}
	do
		r = uplink.tap < 0 ? take_message(&uplink, -1) : turn(&uplink);
	while (r > 0);
	_exit(r < 0); /* a leak checker could not look from in here */
}
