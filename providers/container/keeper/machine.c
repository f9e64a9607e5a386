/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: setting a machine up, from the keeper's side. The child (setup/child.c)
 * does the work and speaks in records; the keeper answers each: maps its ids, hands its network
 * namespace to netd (which works while the child mounts), makes the mounts of folders, and lets
 * it execute process 1 when netd is done. The end of the child's socket after that means that it
 * was executed. The starter's connection is watched meanwhile: when it closes, the start is given
 * up.
 */
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "../setup/mounts.h"
#include "../setup/setup.h"
#include "keeper.h"
#include "util/process.h"
#include "util/sys.h"

enum { STEP_TIMEOUT_MS = 30000, SCOPE_STOP_US = 10 * 1000 * 1000 };

struct start { /* while it lasts */
	struct keeper *keeper;
	struct setup setup;
	int sync; /* our end */
	int64_t (*owners)[2];
	size_t n_owners, n_expected;
	bool ready, plugged, plug_sent;
	int fds[2]; /* console master, devpts */
};

static const struct {
	enum setup_stage stage;
	int number;
	const char *hint;
} hints[] = {
	{ STAGE_NAMESPACES, EPERM,
	  "user namespaces are forbidden on this host: see 'venv doctor' for the setting "
	  "(kernel.apparmor_restrict_unprivileged_userns, kernel.unprivileged_userns_clone)" },
	{ STAGE_NAMESPACES, ENOSPC,
	  "the host's limit of namespaces is reached: raise it with 'sudo sysctl "
	  "user.max_user_namespaces=65536 user.max_mnt_namespaces=65536 "
	  "user.max_net_namespaces=65536'" },
	{ STAGE_NAMESPACES, EUSERS, "namespaces are nested too deeply here" },
	{ STAGE_IDS, EPERM, "check your ranges in /etc/subuid and /etc/subgid with 'venv doctor'" },
	{ STAGE_LAYERS, ENOENT, "the box is not complete in the store: run 'venv repair'" },
	{ STAGE_LAYERS, EACCES, "the directories above must be searchable for you" },
	{ STAGE_ROOT, EINVAL,
	  "the file system of venv's data directory cannot carry an overlay: keep it on ext4, xfs, "
	  "btrfs or tmpfs (XDG_DATA_HOME)" },
	{ STAGE_ROOT, EROFS,
	  "its work directory belongs to another range of ids: run 'venv repair', or destroy the "
	  "machine and bring it up again" },
	{ STAGE_PROC, EPERM,
	  "this process may not see a whole /proc: run venv outside of a container" },
	{ STAGE_SYS, EPERM,
	  "this process may not see a whole /sys: run venv outside of a container" },
	{ STAGE_FOLDERS, EXDEV,
	  "a symbolic link leads from there into /proc, /sys or /dev: remove it, or name another "
	  "directory" },
	{ STAGE_FOLDERS, ELOOP,
	  "a symbolic link stands there and leads nowhere: remove it, or name another directory" },
	{ STAGE_FOLDERS, ESTALE,
	  "another directory took the place of the folder meanwhile: run the command again" },
	{ STAGE_INIT, ENOENT, "the box has no such program: set 'init: none' in venv.yml" },
};

static int report_error(const struct record *record, venv_error **err)
{
	const char *colon = record->what[0] ? ": " : "";
	int r;

	r = venv__fail_errno(err, record->number, "%s%s%s", setup_stage_text(record->stage), colon,
			     record->what);
	for (size_t i = 0; i < ARRAY_SIZE(hints); i++)
		if (hints[i].stage == record->stage && hints[i].number == record->number)
			return venv__hint(r, err, "%s", hints[i].hint);
	return r;
}

static int open_tree_of(const struct keeper *keeper, const char *path, struct setup_tree *ret,
			venv_error **err)
{
	int fd;

	if (keeper->plan.map.root)
		fd = setup_mount_clone(AT_FDCWD, path, 0, false);
	else
		fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return venv__fail_errno(err, keeper->plan.map.root ? -fd : errno,
					"cannot open '%s'", path);
	*ret = (struct setup_tree){ .path = path, .fd = fd, .detached = keeper->plan.map.root };
	return 0;
}

static int open_trees(struct start *start, venv_error **err)
{
	struct keeper *keeper = start->keeper;
	size_t n = venv__strv_count(keeper->plan.layers);
	int r = 0;

	start->setup.layers = calloc(n + 1, sizeof(*start->setup.layers));
	start->setup.folder_trees = calloc(keeper->plan.n_folders + 1, sizeof(int));
	start->owners = calloc(keeper->plan.n_folders + 1, sizeof(*start->owners));
	start->setup.upper.path = venv__path_join(keeper->plan.dir, "upper");
	if (!start->setup.layers || !start->setup.folder_trees || !start->owners ||
	    !start->setup.upper.path)
		return venv__fail_nomem(err);
	for (size_t i = 0; i < n && r == 0; i++)
		r = open_tree_of(keeper, keeper->plan.layers[i], &start->setup.layers[i], err);
	if (r == 0)
		r = open_tree_of(keeper, start->setup.upper.path, &start->setup.upper, err);
	for (size_t i = 0; i < keeper->plan.n_folders; i++)
		start->n_expected += !keeper->plan.folders[i].volume;
	return r;
}

static int open_init(struct start *start, venv_error **err)
{
	_cleanup_free_ char *path = venv__path_join(start->keeper->plan.libexec, "venv-init");
	int fd;

	start->setup.init_fd = -1;
	if (start->keeper->plan.init)
		return 0;
	fd = path ? venv__memfd_program(AT_FDCWD, path) : -ENOMEM;
	if (fd < 0)
		return venv__fail_errno(err, -fd, "cannot open '%s'", path ? path : "venv-init");
	start->setup.init_fd = fd;
	return 0;
}

static void close_start(struct start *start)
{
	for (struct setup_tree *layer = start->setup.layers; layer && layer->path; layer++)
		(void)close(layer->fd);
	if (start->setup.upper.path && start->setup.upper.fd >= 0)
		(void)close(start->setup.upper.fd);
	free((char *)(uintptr_t)start->setup.upper.path);
	free(start->setup.layers);
	free(start->setup.folder_trees);
	free(start->owners);
	if (start->setup.init_fd >= 0)
		(void)close(start->setup.init_fd);
	if (start->sync >= 0)
		(void)close(start->sync);
	for (size_t i = 0; i < ARRAY_SIZE(start->fds); i++)
		if (start->fds[i] >= 0)
			(void)close(start->fds[i]);
}

/* Until it says something or is no more: the child, which has the other end as well, would not let us see that. */
static int hear(int sync, pid_t helper, struct record *ret)
{
	_cleanup_close_ int pidfd = venv__pidfd_open(helper);
	struct pollfd wait[2] = { { .fd = sync, .events = POLLIN },
				  { .fd = pidfd, .events = POLLIN } };

	while (poll(wait, 2, -1) < 0)
		if (errno != EINTR)
			return -errno;
	/* its last words may have come between the two looks */
	if (!wait[0].revents && poll(wait, 1, 0) <= 0)
		return 0;
	return setup_record_receive(sync, ret, NULL, 0, NULL);
}

/* The helper tells the child's pid, or an error, and ends. */
static int clone_machine(struct start *start, venv_error **err)
{
	struct keeper *keeper = start->keeper;
	int procs[CGROUP_PROCS_MAX], pair[2], r = venv__msg_pair(pair);
	struct record record = { 0 };
	pid_t helper;

	if (r < 0)
		return venv__fail_errno(err, -r, "cannot make a socket");
	start->sync = pair[0];
	start->setup.sync = pair[1];
	start->setup.cgroup_procs = procs;
	start->setup.cgroup_fd = keeper->cgroup.payload_fd;
	(void)venv__cgroup_procs(&keeper->cgroup, procs);
	helper = setup_clone(&start->setup, pair[0]);
	for (int *fd = procs; *fd >= 0; fd++)
		(void)close(*fd);
	(void)close(pair[1]);
	if (helper < 0)
		return venv__fail_errno(err, -helper, "cannot start a process");
	r = hear(start->sync, helper, &record);
	(void)venv__child_wait(helper);
	if (r == 1 && record.kind == RECORD_ERROR)
		return report_error(&record, err);
	if (r != 1 || record.kind != RECORD_PID)
		return venv__fail(err, VENV_ERR_SYSTEM, "the helper that makes namespaces died");
	keeper->init_pid = (pid_t)record.value[0];
	keeper->init_pidfd = venv__pidfd_open(keeper->init_pid);
	if (keeper->init_pidfd < 0)
		return venv__fail_errno(err, -keeper->init_pidfd, "cannot watch the machine");
	return 0;
}

static int map_ids(struct start *start, venv_error **err)
{
	struct keeper *keeper = start->keeper;
	int r = 0;

	if (keeper->userns_fd < 0)
		r = venv__idmap_write(&keeper->plan.map, keeper->init_pid, err);
	if (r < 0)
		return r;
	r = setup_record_simple(start->sync, RECORD_MAPPED, 0, 0);
	return r < 0 ? venv__fail_errno(err, -r, "the machine's first process died") : 0;
}

static int send_plug(struct start *start, int netns_fd, venv_error **err)
{
	struct keeper *keeper = start->keeper;
	_cleanup_json_ json_t *request = json_pack("{s:s}", "op", "plug");

	if (keeper->machine_netns_fd >= 0)
		(void)close(keeper->machine_netns_fd);
	keeper->machine_netns_fd = netns_fd;
	if (keeper->net_fd < 0) {
		(void)close(take_fd(&keeper->machine_netns_fd));
		start->plugged = true;
		return 0;
	}
	if (!request)
		return venv__fail_nomem(err);
	start->plug_sent = true;
	return venv__msg_send(keeper->net_fd, request, &netns_fd, 1, err);
}

static int send_trees(struct start *start, venv_error **err)
{
	const struct plan *plan = &start->keeper->plan;
	struct record record = { .kind = RECORD_TREES };
	int fds[RECORD_FDS_MAX], r;

	if (plan->n_folders > ARRAY_SIZE(fds))
		return venv__fail(err, VENV_ERR_UNSUPPORTED, "more than %zu folders",
				  ARRAY_SIZE(fds));
	r = keeper_trees_make(plan, start->owners, fds, err);
	if (r < 0)
		return r;
	r = setup_record_send(start->sync, &record, fds, plan->n_folders);
	for (size_t i = 0; i < plan->n_folders; i++)
		(void)close(fds[i]);
	return r < 0 ? venv__fail_errno(err, -r, "the machine's first process died") : 0;
}

static void on_user(struct start *start, const struct record *record)
{
	json_t *missing = start->keeper->missing_users, *name;
	size_t i;

	memcpy(start->owners[start->n_owners++], record->value, sizeof(record->value));
	if (record->number != ENOENT)
		return;
	json_array_foreach(missing, i, name)
	{
		if (strcmp(json_string_value(name), record->what) == 0)
			return;
	}
	if (!missing)
		start->keeper->missing_users = missing = json_array();
	(void)json_array_append_new(missing, json_string(record->what));
}

/* @return 1: process 1 runs; 0: go on; negative: failed */
static int on_record(struct start *start, venv_error **err)
{
	struct record record;
	int fds[2] = { -1, -1 }, r;
	size_t n = 0;

	r = setup_record_receive(start->sync, &record, fds, 2, &n);
	if (r < 0)
		return venv__fail_errno(err, -r, "cannot hear the machine's first process");
	if (r == 0 && start->ready && start->plugged)
		return 1;
	if (r == 0)
		return venv__fail(err, VENV_ERR_SYSTEM, "the machine's first process was killed%s",
				  venv__cgroup_oom_kills(&start->keeper->cgroup)
					  ? " for lack of memory: raise 'memory'"
					  : "");
	switch (record.kind) {
	case RECORD_ERROR:
		return report_error(&record, err);
	case RECORD_HELLO:
		start->keeper->machine_mntns_fd = fds[1];
		r = send_plug(start, fds[0], err);
		break;
	case RECORD_USER:
		on_user(start, &record);
		r = 0;
		break;
	case RECORD_READY:
		start->ready = true;
		start->fds[0] = fds[0];
		start->fds[1] = fds[1];
		r = 0;
		break;
	default:
		r = venv__fail(err, VENV_ERR_SYSTEM, "unexpected record %u", record.kind);
	}
	return r;
}

static int on_netd(struct start *start, venv_error **err)
{
	_cleanup_json_ json_t *reply = NULL;
	int r = venv__msg_receive(start->keeper->net_fd, 0, &reply, NULL, err);

	if (r == 0)
		return venv__fail(err, VENV_ERR_NETWORK,
				  "venv-netd ended while the machine started");
	if (r > 0)
		r = venv__error_from_json(reply, err);
	if (r < 0)
		return venv__wrap(r, err, "network");
	start->plugged = true;
	return 0;
}

/* Folders of root's are made as soon as all owners are known. */
static bool wants_trees(const struct start *start)
{
	const struct plan *plan = &start->keeper->plan;

	return plan->map.root && plan->n_folders && start->n_owners == start->n_expected;
}

static int send_go(const struct start *start, venv_error **err)
{
	int r = setup_record_simple(start->sync, RECORD_GO, 0, 0);

	return r < 0 ? venv__fail_errno(err, -r, "the machine's first process died") : 0;
}

static int converse(struct start *start, venv_error **err)
{
	bool trees_sent = false, gone = false;
	int r;

	for (;;) {
		struct pollfd wait[] = {
			{ .fd = start->sync, .events = POLLIN },
			{ .fd = start->plug_sent && !start->plugged ? start->keeper->net_fd : -1,
			  .events = POLLIN },
			{ .fd = start->keeper->starter_fd, .events = POLLIN },
		};

		if (poll(wait, ARRAY_SIZE(wait), STEP_TIMEOUT_MS) <= 0)
			return venv__fail(err, VENV_ERR_TIMEOUT,
					  "setting the machine up took too long");
		if (wait[2].revents)
			return venv__fail(err, VENV_ERR_CANCELLED, "cancelled");
		r = wait[1].revents ? on_netd(start, err) : 0;
		if (r == 0 && wait[0].revents)
			r = on_record(start, err);
		if (r != 0)
			return r;
		if (!trees_sent && wants_trees(start)) {
			trees_sent = true;
			r = send_trees(start, err);
		}
		if (r == 0 && start->ready && start->plugged && !gone) {
			gone = true;
			r = send_go(start, err);
		}
		if (r < 0)
			return r;
	}
}

void keeper_machine_unmount(struct keeper *keeper)
{
	if (keeper->machine_mntns_fd >= 0)
		(void)close(take_fd(&keeper->machine_mntns_fd));
}

static void give_up(struct keeper *keeper)
{
	if (keeper->init_pid > 0) {
		(void)kill(keeper->init_pid, SIGKILL);
		venv__cgroup_kill(&keeper->cgroup);
		(void)venv__child_wait(keeper->init_pid);
	}
	keeper_machine_gone(keeper);
	keeper_machine_unmount(keeper);
}

static int open_groups(struct keeper *keeper, venv_error **err)
{
	char unit[80];
	const struct cgroup_order order = {
		.id = keeper->plan.id,
		.map = &keeper->plan.map,
		.limits = keeper->plan.limits,
		.unit = unit,
		.description = "venv machine",
		.stop_timeout_us = SCOPE_STOP_US,
	};

	(void)snprintf(unit, sizeof(unit), "venv-%s.scope", order.id);
	return venv__cgroup_open(&keeper->cgroup, &order, err);
}

int keeper_machine_start(struct keeper *keeper, venv_error **err)
{
	struct start start = { .keeper = keeper, .sync = -1, .fds = { -1, -1 } };
	int r;

	start.setup = (struct setup){ .plan = &keeper->plan,
				      .userns_fd = keeper->userns_fd,
				      .filter = &keeper->filter,
				      .init_fd = -1 };
	/* the owner of /proc/<child> decides who may write its id map */
	(void)prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
	r = open_groups(keeper, err);
	if (r == 0)
		keeper_record_write(keeper); /* so that the groups are found if we die */
	if (r == 0)
		r = open_trees(&start, err);
	if (r == 0)
		r = open_init(&start, err);
	if (r == 0)
		r = clone_machine(&start, err);
	if (r == 0)
		r = map_ids(&start, err);
	if (r == 0)
		r = converse(&start, err);
	(void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	if (r > 0) {
		keeper_console_attach(keeper, take_fd(&start.fds[0]));
		keeper->devpts_fd = take_fd(&start.fds[1]);
		keeper->started = venv__wall_seconds();
		keeper->state = KEEPER_RUNNING;
		keeper_watch_oom(keeper);
	}
	close_start(&start);
	if (r < 0)
		give_up(keeper);
	return r < 0 ? r : 0;
}

void keeper_machine_gone(struct keeper *keeper)
{
	keeper_console_detach(keeper);
	venv__cgroup_remove(&keeper->cgroup);
	venv__cgroup_done(&keeper->cgroup);
	if (keeper->devpts_fd >= 0)
		(void)close(take_fd(&keeper->devpts_fd));
	if (keeper->init_pidfd >= 0)
		(void)close(take_fd(&keeper->init_pidfd));
	if (keeper->machine_netns_fd >= 0)
		(void)close(take_fd(&keeper->machine_netns_fd));
	keeper->init_pid = 0;
}
