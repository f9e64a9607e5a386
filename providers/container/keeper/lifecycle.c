/* SPDX-License-Identifier: Apache-2.0 */
/* Stopping, pausing, running out of memory, and the children that end. */
#include <string.h>
#include <sys/wait.h>

#include "keeper.h"
#include "util/sys.h"

enum { OOM_CHECK_MS = 10 };

void keeper_kill(struct keeper *keeper)
{
	venv__loop_remove(take_ptr(keeper->stop_timer));
	keeper->state = KEEPER_STOPPING;
	keeper->restarts = false;
	/* what is frozen by v1 would not die; v2's freezer lets a kill through */
	venv__cgroup_kill(&keeper->cgroup);
	if (keeper->init_pidfd >= 0)
		(void)venv__pidfd_signal(keeper->init_pidfd, SIGKILL);
}

static void on_stop_timeout(void *user, int fd, uint32_t events)
{
	struct keeper *keeper = user;

	(void)fd;
	(void)events;
	keeper->stop_timer = NULL;
	keeper_console_say(keeper, "the machine did not stop in time and is killed");
	keeper_kill(keeper);
}

/* The service first, in its own way, while all that it may need still runs; then the rest. */
static void stop_rest(struct keeper *keeper)
{
	if (venv__pidfd_signal(keeper->init_pidfd, keeper->stop_signal) < 0)
		keeper_kill(keeper);
	else
		keeper_hang_up(keeper);
}

void keeper_stop(struct keeper *keeper, int signal_number, unsigned timeout_ms)
{
	if (keeper->state == KEEPER_STOPPING)
		return;
	if (keeper->state != KEEPER_RUNNING)
		(void)venv__cgroup_freeze(&keeper->cgroup, false, NULL);
	keeper->state = KEEPER_STOPPING;
	keeper_record_write(keeper);
	keeper->stop_signal = signal_number;
	keeper->stop_timer =
		timeout_ms ? venv__loop_timer(keeper->loop, timeout_ms, 0, on_stop_timeout, keeper)
			   : NULL;
	if (!keeper->stop_timer)
		keeper_kill(keeper);
	else if (!keeper_command_stop(keeper))
		stop_rest(keeper);
}

int keeper_pause(struct keeper *keeper, bool pause, venv_error **err)
{
	int r;

	if (keeper->state == KEEPER_STOPPING)
		return venv__fail(err, VENV_ERR_STATE, "the machine is stopping");
	if (pause == (keeper->state == KEEPER_PAUSED))
		return 0;
	r = venv__cgroup_freeze(&keeper->cgroup, pause, err);
	if (r < 0)
		return r;
	keeper->state = pause ? KEEPER_PAUSED : KEEPER_RUNNING;
	keeper_record_write(keeper);
	return 0;
}

static void on_oom(void *user, int fd, uint32_t events);

static void count_kills(struct keeper *keeper)
{
	int64_t kills = venv__cgroup_oom_kills(&keeper->cgroup);

	if (kills <= keeper->oom_kills)
		return;
	keeper_console_say(keeper, "out of memory: the kernel killed %lld process(es)",
			   (long long)(kills - keeper->oom_kills));
	keeper->oom_kills = kills;
	keeper_record_write(keeper);
}

/* `oom: freeze`. Near the limit, but with caches that the kernel can drop: look again soon. */
static void freeze_if_out(struct keeper *keeper)
{
	enum cgroup_oom oom = venv__cgroup_oom(&keeper->cgroup);

	if (oom == OOM_FAR || keeper->state != KEEPER_RUNNING)
		return;
	if (oom == OOM_NEAR) {
		(void)venv__loop_timer(keeper->loop, OOM_CHECK_MS, 0, on_oom, keeper);
		return;
	}
	if (venv__cgroup_freeze(&keeper->cgroup, true, NULL) < 0)
		return;
	keeper->state = KEEPER_FROZEN;
	keeper_console_say(keeper,
			   "out of memory: the machine is frozen; raise 'memory' in venv.yml "
			   "and run 'venv up'");
	keeper_record_write(keeper);
}

static void on_oom(void *user, int fd, uint32_t events)
{
	struct keeper *keeper = user;
	char buffer[4096];

	(void)events;
	while (fd >= 0 && read(fd, buffer, sizeof(buffer)) > 0)
		;
	/* the event may come before the count */
	if (fd >= 0)
		(void)venv__loop_timer(keeper->loop, OOM_CHECK_MS, 0, on_oom, keeper);
	count_kills(keeper);
	freeze_if_out(keeper);
}

void keeper_watch_oom(struct keeper *keeper)
{
	keeper->oom_kills = 0;
	if (keeper->cgroup.oom_fd >= 0)
		(void)venv__loop_add(keeper->loop, keeper->cgroup.oom_fd, EPOLLIN, on_oom, keeper);
}

static void command_ended(struct keeper *keeper, int status)
{
	keeper->command_status = status;
	if (WIFSIGNALED(status))
		keeper_console_say(keeper, "the image's command was ended by signal %d",
				   WTERMSIG(status));
	else
		keeper_console_say(keeper, "the image's command ended with status %d",
				   WEXITSTATUS(status));
	keeper_record_write(keeper);
	if (keeper->stop_timer)
		stop_rest(keeper);
}

static void machine_ended(struct keeper *keeper, int status)
{
	int number = WIFSIGNALED(status) ? WTERMSIG(status) : 0;

	keeper->init_status = status;
	venv__loop_remove(take_ptr(keeper->stop_timer));
	if (keeper->state != KEEPER_STOPPING) {
		keeper->restarts = number == SIGHUP;
		keeper_console_say(keeper, "the machine %s",
				   number == SIGHUP    ? "reboots"
				   : number == SIGINT  ? "powered itself off"
				   : number == SIGKILL ? "was killed"
						       : "ended by itself");
	}
	venv__loop_quit(keeper->loop, 0);
}

void keeper_reap(struct keeper *keeper)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG | __WALL)) > 0) {
		if (pid == keeper->init_pid) {
			machine_ended(keeper, status);
			continue;
		}
		for (struct client *client = keeper->clients; client; client = client->next) {
			if (client->pid != pid)
				continue;
			if (client->fd < 0 && !client->dead)
				command_ended(keeper, status);
			keeper_exec_ended(client, status);
			break;
		}
	}
}
