/* SPDX-License-Identifier: Apache-2.0 */
/*
 * venv-keeper: started by the library with /dev/null on 0 and 1, its log on 2 and on 3 a socket
 * to the starter (client.c of the provider), which sends
 *
 *   {"op":"start","folders":N,"filter":B,"net":B}
 *      + plan (memfd), the machine's directory, [filter (memfd)]
 *   {"op":"net"} + connection to netd, user namespace, network namespace    when "net"
 *   {"op":"folders"} + up to 8 directories, until there are N
 *
 * and gets {"ready":true,"missing_users":[…]?, ...as "state"} or {"error":…}. "venv-keeper remove DIR NAME": see
 * remove.c.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "keeper.h"
#include "upper.h"
#include "util/sys.h"

enum { STARTER_FD = 3, RECEIVE_MS = 10000, PLAN_MAX = 4 * 1024 * 1024 };

static int read_plan(struct keeper *keeper, venv_error **err)
{
	struct stat st;
	json_t *json = NULL;
	void *text;
	int r;

	if (fstat(keeper->plan_fd, &st) < 0 || st.st_size <= 0 || st.st_size > PLAN_MAX)
		return venv__fail(err, VENV_ERR_INVALID, "no plan of the machine");
	text = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, keeper->plan_fd, 0);
	if (text == MAP_FAILED)
		return venv__fail_errno(err, errno, "cannot read the plan");
	r = venv__json_parse(text, (size_t)st.st_size, &json, err);
	(void)munmap(text, (size_t)st.st_size);
	return r < 0 ? r : plan_parse(json, &keeper->plan, err);
}

static int read_filter(struct keeper *keeper, int fd, venv_error **err)
{
	size_t size;
	struct stat st;

	if (fstat(fd, &st) < 0 || st.st_size <= 0 ||
	    st.st_size % (off_t)sizeof(struct sock_filter) ||
	    st.st_size > (off_t)(FILTER_MAX * sizeof(struct sock_filter)))
		return venv__fail(err, VENV_ERR_INVALID, "the filter of system calls is not valid");
	size = (size_t)st.st_size;
	keeper->filter.code = malloc(size);
	if (!keeper->filter.code)
		return venv__fail_nomem(err);
	if (pread(fd, keeper->filter.code, size, 0) != (ssize_t)size)
		return venv__fail_errno(err, errno, "cannot read the filter of system calls");
	keeper->filter.length = size / sizeof(struct sock_filter);
	return 0;
}

static int receive(struct keeper *keeper, const char *what, json_t **ret, struct msg_fds *fds,
		   venv_error **err)
{
	int r = venv__msg_receive(keeper->starter_fd, RECEIVE_MS, ret, fds, err);
	const char *op;

	if (r < 0)
		return r;
	op = r ? venv__json_str(*ret, "op") : NULL;
	if (!op || strcmp(op, what) != 0)
		return venv__fail(err, VENV_ERR_INVALID, "the starter did not send '%s'", what);
	return 0;
}

static int receive_folders(struct keeper *keeper, venv_error **err)
{
	size_t n = 0;
	int r;

	while (n < keeper->plan.n_folders) {
		_cleanup_msg_fds_ struct msg_fds fds = MSG_FDS_INIT;
		_cleanup_json_ json_t *message = NULL;

		r = receive(keeper, "folders", &message, &fds, err);
		if (r < 0)
			return r;
		if (!fds.count)
			return venv__fail(err, VENV_ERR_INVALID, "a folder is missing");
		for (size_t i = 0; i < fds.count && n < keeper->plan.n_folders; i++)
			keeper->plan.folders[n++].fd = venv__msg_fds_take(&fds, i);
	}
	return 0;
}

static int receive_net(struct keeper *keeper, venv_error **err)
{
	_cleanup_msg_fds_ struct msg_fds fds = MSG_FDS_INIT;
	_cleanup_json_ json_t *message = NULL;
	int r = receive(keeper, "net", &message, &fds, err);

	if (r < 0)
		return r;
	keeper->net_fd = venv__msg_fds_take(&fds, 0);
	keeper->userns_fd = venv__msg_fds_take(&fds, 1);
	keeper->netns_fd = venv__msg_fds_take(&fds, 2);
	return 0;
}

static int receive_start(struct keeper *keeper, venv_error **err)
{
	_cleanup_msg_fds_ struct msg_fds fds = MSG_FDS_INIT;
	_cleanup_json_ json_t *message = NULL;
	int r = receive(keeper, "start", &message, &fds, err);

	if (r < 0)
		return r;
	keeper->plan_fd = venv__msg_fds_take(&fds, 0);
	keeper->machine_fd = venv__msg_fds_take(&fds, 1);
	r = read_plan(keeper, err);
	if (r == 0 && venv__json_bool(message, "filter", false))
		r = read_filter(keeper, fds.count > 2 ? fds.fd[2] : -1, err);
	if (r == 0 && venv__json_bool(message, "net", false))
		r = receive_net(keeper, err);
	return r < 0 ? r : receive_folders(keeper, err);
}

static void on_signal(void *user, int fd, uint32_t events)
{
	struct keeper *keeper = user;
	struct signalfd_siginfo info;

	(void)events;
	while (read(fd, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo == SIGCHLD)
			keeper_reap(keeper);
		else /* somebody ends us: the machine gets its chance to stop */
			keeper_stop(keeper, keeper->plan.stop_signal, keeper->plan.stop_timeout_ms);
	}
}

static int watch_signals(struct keeper *keeper, venv_error **err)
{
	sigset_t set;
	int fd;

	(void)signal(SIGPIPE, SIG_IGN);
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGCHLD);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGINT);
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0 || !venv__loop_add(keeper->loop, fd, EPOLLIN, on_signal, keeper))
		return venv__fail_errno(err, errno, "cannot watch signals");
	return 0;
}

static int prepare(struct keeper *keeper, venv_error **err)
{
	int r = receive_start(keeper, err);

	if (r < 0)
		return r;
	(void)prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	(void)prctl(PR_SET_NAME, "venv-keeper", 0, 0, 0);
	keeper->loop = venv__loop_new();
	if (!keeper->loop)
		return venv__fail_nomem(err);
	r = keeper_record_lock(keeper, err);
	if (r == 0)
		r = watch_signals(keeper, err);
	if (r == 0)
		r = keeper_console_open(keeper, err);
	if (r == 0)
		r = keeper_control_open(keeper, err);
	return r;
}

static int start(struct keeper *keeper, venv_error **err)
{
	int r;

	keeper->state = KEEPER_STARTING;
	r = keeper_machine_start(keeper, err);
	if (r < 0)
		return r;
	r = keeper->confined ? 0 : keeper_confine(keeper, err);
	keeper->confined = r == 0;
	if (r == 0)
		r = keeper_ssh_open(keeper, err);
	if (r == 0)
		r = keeper_command_start(keeper, err);
	if (r < 0) {
		keeper_kill(keeper);
		(void)venv__loop_run(keeper->loop);
		keeper_machine_gone(keeper);
		return r;
	}
	keeper_record_write(keeper);
	return 0;
}

static void tell_starter(struct keeper *keeper, const venv_error *error)
{
	json_t *ready = keeper_record_json(keeper);

	if (error) {
		(void)venv__msg_send_error(keeper->starter_fd, error);
	} else if (ready) {
		(void)json_object_set_new(ready, "ready", json_true());
		if (keeper->missing_users)
			(void)json_object_set(ready, "missing_users", keeper->missing_users);
		(void)venv__msg_send(keeper->starter_fd, ready, NULL, 0, NULL);
	}
	json_decref(ready);
	json_decref(take_ptr(keeper->missing_users));
	(void)close(take_fd(&keeper->starter_fd));
}

/* Process 1 was killed and nobody had asked: SIGINT is how a power-off looks from outside. */
static bool is_killed(const struct keeper *keeper)
{
	return keeper->state == KEEPER_RUNNING && WIFSIGNALED(keeper->init_status) &&
	       WTERMSIG(keeper->init_status) != SIGINT;
}

/*
 * The network is let go before anybody is told, so that who is told may use its ports. The lock
 * comes last: "stopped" in the record says already that the machine is gone, and who starts it
 * again waits for the lock.
 */
static void finish(struct keeper *keeper)
{
	const char *state =
		is_killed(keeper) ? "{\"state\":\"crashed\"}\n" : "{\"state\":\"stopped\"}\n";

	(void)unlinkat(keeper->machine_fd, "ctl", 0);
	if (ftruncate(keeper->alive_fd, 0) < 0 ||
	    pwrite(keeper->alive_fd, state, strlen(state), 0) < 0)
		keeper_console_say(keeper, "cannot write 'alive': %s", strerror(errno));
	if (keeper->net_fd >= 0)
		(void)close(take_fd(&keeper->net_fd));
	venv__door_close(take_ptr(keeper->door));
	keeper_control_end(keeper);
	keeper_machine_unmount(keeper);
}

static int run(struct keeper *keeper)
{
	_cleanup_error_ venv_error *error = NULL;

	for (;;) {
		(void)venv__loop_run(keeper->loop);
		keeper_machine_gone(keeper);
		if (!keeper->restarts)
			return 0;
		keeper->restarts = false;
		keeper_machine_unmount(keeper);
		if (start(keeper, &error) < 0) {
			keeper_console_say(keeper, "restart: %s", venv_error_message(error));
			return 1;
		}
	}
}

int main(int argc, char **argv)
{
	struct keeper keeper = {
		.starter_fd = STARTER_FD,
		.log_fd = 2,
		.machine_fd = -1,
		.alive_fd = -1,
		.plan_fd = -1,
		.net_fd = -1,
		.userns_fd = -1,
		.netns_fd = -1,
		.init_pidfd = -1,
		.devpts_fd = -1,
		.machine_netns_fd = -1,
		.machine_mntns_fd = -1,
		.console_fd = -1,
		.console_peer = { .fd = -1 },
		.console_log_fd = -1,
		.ctl_fd = -1,
		.cgroup = CGROUP_INIT,
		.command_status = -1,
	};
	_cleanup_error_ venv_error *error = NULL;
	int r;

	if (argc > 1)
		return keeper_upper(argc, argv);
	(void)fcntl(STARTER_FD, F_SETFD, FD_CLOEXEC);
	(void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	r = prepare(&keeper, &error);
	if (r == 0)
		r = start(&keeper, &error);
	if (r < 0) {
		if (keeper.ctl_fd >= 0)
			finish(&keeper);
		tell_starter(&keeper, error);
		return 1;
	}
	tell_starter(&keeper, NULL);
	r = run(&keeper);
	finish(&keeper);
	return r;
}
