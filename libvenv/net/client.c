/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finding, starting and asking venv-netd.
 *
 * Theory of operation: a netd that answers "hello" lives as long as the connection that asked. Who finds
 * none takes the lock file "net.lock" in the project's directory, looks again (another `up` may have
 * started one meanwhile), makes the listening socket itself, gives it to a new netd and says the first
 * hello, whose answer is either a welcome or the reason why netd could not start.
 */
#include <fcntl.h>
#include <string.h>

#include "dial.h"
#include "net.h"
#include "util/msg.h"
#include "util/process.h"

enum { PATIENCE_MS = 30000, TRIES = 5 };

/* 1: it answers; 0: there is none, or it was just ending; or a negative code */
static int find(const struct net_project *project, int *ret_socket, venv_error **err)
{
	_cleanup_json_ json_t *hello = json_pack("{s:s}", "op", "hello"), *reply = NULL;
	_cleanup_error_ venv_error *own = NULL;
	_cleanup_close_ int fd = -1;
	int r;

	fd = venv__msg_connect(project->dir_fd, "net", &own);
	if (fd < 0 && (own->sys_errno == ENOENT || own->sys_errno == ECONNREFUSED))
		return 0;
	if (fd < 0)
		return venv__error_take(take_ptr(own), err);
	if (!hello)
		return venv__fail_nomem(err);
	if (venv__msg_send(fd, hello, NULL, 0, NULL) < 0)
		return 0;
	r = venv__msg_receive(fd, PATIENCE_MS, &reply, NULL, err);
	if (r > 0)
		r = venv__error_from_json(reply, err) < 0 ? venv_error_code(err ? *err : NULL) : 1;
	if (r > 0)
		*ret_socket = take_fd(&fd);
	return r;
}

static int open_log(int dir_fd, venv_error **err)
{
	int fd = openat(dir_fd, "netd.log",
			O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);

	return fd < 0 ? venv__fail_errno(err, errno, "cannot open 'netd.log'") : fd;
}

static int start(struct venv *ctx, const struct net_project *project, const int lent[2],
		 venv_error **err)
{
	_cleanup_free_ char *program = venv__context_program(ctx, "venv-netd"), *map_text = NULL;
	_cleanup_free_ char *name = strdup(project->name);
	_cleanup_close_ int listener = -1, log = -1;
	_cleanup_json_ json_t *map_json = NULL;
	const struct idmap *map = NULL;
	char self[] = "venv-netd", word[] = "adopt";
	struct spawn spawn = { .path = program, .n_fds = lent[0] >= 0 ? 7 : 5 };
	int r;

	r = venv__context_map(ctx, &map, err);
	if (r < 0)
		return r;
	map_json = venv__idmap_to_json(map);
	map_text = map_json ? venv__json_text(map_json, JSON_COMPACT) : NULL;
	if (!program || !name || !map_text)
		return venv__fail_nomem(err);
	log = open_log(project->dir_fd, err);
	if (log < 0)
		return log;
	listener = venv__msg_listen(project->dir_fd, "net", err);
	if (listener < 0)
		return listener;
	spawn.argv = (char *[]){ self, name, map_text, lent[0] >= 0 ? word : NULL, NULL };
	memcpy(spawn.fds, (int[]){ -1, -1, log, listener, project->dir_fd, lent[0], lent[1] },
	       7 * sizeof(int));
	return venv__spawn(&spawn, NULL, NULL, err);
}

/* Under the lock: nobody else starts one. */
static int find_or_start(struct venv *ctx, const struct net_project *project, net_lend_fn lend,
			 void *user, int *ret_socket, int *ret_adopted, venv_error **err)
{
	_cleanup_close_ int userns = -1, netns = -1;
	int r;

	r = find(project, ret_socket, err);
	if (r != 0)
		return r;
	if (lend && lend(user, &userns, &netns) < 0)
		userns = netns = -1;
	r = start(ctx, project, (int[]){ userns, netns }, err);
	if (r < 0)
		return r;
	r = find(project, ret_socket, err);
	if (r == 0)
		return venv__hint(
			venv__fail(err, VENV_ERR_NETWORK,
				   "the project's network process ended while it started"),
			err,
			"see netd.log in the project's directory below the data directory "
			"('venv doctor' names it)");
	if (r > 0 && userns >= 0)
		*ret_adopted = 1;
	return r;
}

int venv__net_connect(struct venv *ctx, const struct net_project *project, net_lend_fn lend,
		      void *user, int *ret_socket, int *ret_adopted, venv_error **err)
{
	_cleanup_close_ int lock = -1;
	int adopted = 0, r;

	r = find(project, ret_socket, err);
	if (r == 0) {
		lock = openat(project->dir_fd, "net.lock",
			      O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (lock < 0)
			return venv__fail_errno(err, errno, "cannot open 'net.lock'");
		r = venv__lock_wait(lock, true);
		if (r < 0)
			return venv__fail_errno(err, -r, "cannot lock 'net.lock'");
		r = find_or_start(ctx, project, lend, user, ret_socket, &adopted, err);
	}
	if (r < 0)
		return r;
	if (ret_adopted)
		*ret_adopted = adopted;
	return 0;
}

/* Is the name there, and nobody behind it? */
static bool is_stale(int project_fd)
{
	_cleanup_error_ venv_error *err = NULL;
	_cleanup_close_ int fd = venv__msg_connect(project_fd, "net", &err);

	return fd < 0 && err->sys_errno == ECONNREFUSED;
}

void venv__net_clean(int project_fd)
{
	_cleanup_close_ int lock = -1;

	if (faccessat(project_fd, "net", F_OK, AT_SYMLINK_NOFOLLOW) < 0 || !is_stale(project_fd))
		return;
	/* who is starting one has bound it, and listens before the lock is free */
	lock = openat(project_fd, "net.lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (lock >= 0 && venv__lock_try(lock, true) == 0 && is_stale(project_fd))
		(void)unlinkat(project_fd, "net", 0);
}

int venv__net_query(const struct net_project *project, const char *op_name, json_t **ret,
		    venv_error **err)
{
	_cleanup_json_ json_t *request = json_pack("{s:s}", "op", op_name);
	_cleanup_close_ int fd = -1;
	int r;

	if (!request)
		return venv__fail_nomem(err);
	r = find(project, &fd, err);
	if (r < 0)
		return r;
	if (r > 0)
		return venv__msg_call(fd, request, NULL, 0, PATIENCE_MS, ret, NULL, err);
	*ret = json_pack("{s:[], s:[], s:[]}", "ports", "machines", "networks");
	return *ret ? 0 : venv__fail_nomem(err);
}

enum net_lease venv__net_lease(const struct machine *machine)
{
	const struct net_project project = { .dir_fd = machine->project_fd };
	_cleanup_json_ json_t *list = NULL;
	const json_t *item;
	size_t i;

	if (project.dir_fd < 0 || venv__net_query(&project, "list", &list, NULL) < 0)
		return NET_LEASE_UNKNOWN;
	json_array_foreach(json_object_get(list, "machines"), i, item)
	{
		const char *id = venv__json_str(item, "machine");

		if (id && strcmp(id, machine->id) == 0)
			return venv__net_lease_of(venv__json_str(
				json_array_get(json_object_get(item, "interfaces"), 0), "lease"));
	}
	return NET_LEASE_UNKNOWN;
}

int venv__net_dial(const struct machine *machine, uint16_t port, int *ret_fd, venv_error **err)
{
	_cleanup_json_ json_t *request = json_pack("{s:s, s:s, s:i}", "op", "dial", "machine",
						   machine->id, "port", (int)port);
	const struct net_project project = { .dir_fd = machine->project_fd };
	_cleanup_msg_fds_ struct msg_fds fds = MSG_FDS_INIT;
	_cleanup_close_ int netd = -1;
	int r;

	if (!request)
		return venv__fail_nomem(err);
	r = find(&project, &netd, err);
	if (r == 0)
		return venv__hint(venv__fail(err, VENV_ERR_NETWORK, "its network is down"), err,
				  "repair it with 'venv up %s'", machine->name);
	if (r > 0)
		r = venv__msg_call(netd, request, NULL, 0, PATIENCE_MS, NULL, &fds, err);
	if (r < 0)
		return r;
	*ret_fd = venv__msg_fds_take(&fds, 0);
	if (*ret_fd < 0)
		return venv__fail(err, VENV_ERR_NETWORK, "venv-netd gave no connection");
	(void)fcntl(*ret_fd, F_SETFL, O_RDWR); /* netd had it waiting for nothing */
	return 0;
}
