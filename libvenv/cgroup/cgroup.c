/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: making groups never fails a machine by itself. Without rights there are
 * fewer groups, limits that cannot be set were warned of by probe(), and killing falls back to
 * the death of process 1. What does fail is a limit that the host should be able to set and
 * refuses.
 */
#include "cgroup.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "util/process.h"

enum { FREEZE_WAIT_MS = 5000 };

/* Guest root may make groups of its own below the payload's. */
static void give_payload(const struct cgroup *cgroup, const struct idmap *map)
{
	static const char *const names[] = { "cgroup.procs", "cgroup.threads",
					     "cgroup.subtree_control" };

	if (cgroup->payload_fd < 0 || !map || !map->root)
		return;
	if (fchown(cgroup->payload_fd, map->uid, map->gid) < 0)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (fchownat(cgroup->payload_fd, names[i], map->uid, map->gid, 0) < 0)
			return;
}

static void open_payload(struct cgroup *cgroup, const struct idmap *map)
{
	if (cgroup->machine_fd < 0)
		return;
	if (mkdirat(cgroup->machine_fd, "payload", 0755) < 0 && errno != EEXIST)
		return;
	cgroup->payload_fd =
		openat(cgroup->machine_fd, "payload", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	give_payload(cgroup, map);
}

/* Controllers on, from the own group down to the payload's parent; what is refused is not there. */
static void enable_controllers(const struct cgroup *cgroup, int dir_fd)
{
	for (char **name = cgroup->controllers; name && *name; name++) {
		char text[64];

		(void)snprintf(text, sizeof(text), "+%s", *name);
		(void)venv__cgroup_write(dir_fd, "cgroup.subtree_control", text);
	}
}

static void keep_available(struct cgroup *cgroup)
{
	_cleanup_free_ char *list = venv__cgroup_read(cgroup->machine_fd, "cgroup.controllers");
	char *word, *save = NULL;

	venv__strv_free(cgroup->controllers);
	cgroup->controllers = NULL;
	for (word = list ? strtok_r(list, " \n", &save) : NULL; word;
	     word = strtok_r(NULL, " \n", &save))
		(void)venv__strv_add(&cgroup->controllers, word);
}

static void open_v2(struct cgroup *cgroup, const struct cgroup_host *host)
{
	_cleanup_close_ int base =
		host->base ? open(host->base, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

	if (base < 0)
		return;
	enable_controllers(cgroup, base);
	cgroup->machine_fd = venv__cgroup_make(host->base, cgroup->name, &cgroup->path);
	if (cgroup->machine_fd < 0)
		return;
	keep_available(cgroup);
	enable_controllers(cgroup, cgroup->machine_fd);
}

/* The scope holds this keeper itself, which moves to a leaf: what the machine may use does not
 * count the keeper, which then is not killed in its stead. */
static int open_systemd(struct cgroup *cgroup, const struct cgroup_order *order, venv_error **err)
{
	_cleanup_close_ int keeper = -1;
	_cleanup_free_ char *path = NULL, *machine = NULL;
	struct cgroup_host now;
	int r;

	/* a machine that boots again keeps its scope */
	cgroup->path = venv__cgroup_systemd_own(order->unit);
	r = cgroup->path ? 0 : venv__cgroup_systemd_scope(order, err);
	if (r < 0)
		return r;
	if (!cgroup->path) {
		venv__cgroup_host_find(&now);
		cgroup->path = take_ptr(now.base);
		venv__cgroup_host_done(&now);
		if (!cgroup->path || !strstr(cgroup->path, order->unit))
			return venv__fail(err, VENV_ERR_SYSTEM,
					  "systemd did not move the keeper to its scope");
	}
	cgroup->scope_fd = open(cgroup->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	keeper = venv__cgroup_make(cgroup->path, "keeper", &path);
	if (keeper < 0 || venv__cgroup_write(keeper, "cgroup.procs", "0") < 0 ||
	    (order->member && venv__cgroup_write_number(keeper, "cgroup.procs", order->member) < 0))
		return venv__fail_errno(err, errno, "cannot use the scope '%s'", cgroup->path);
	enable_controllers(cgroup, cgroup->scope_fd);
	cgroup->machine_fd = venv__cgroup_make(cgroup->path, "machine", &machine);
	keep_available(cgroup);
	enable_controllers(cgroup, cgroup->machine_fd);
	return 0;
}

static void open_hybrid(struct cgroup *cgroup, const struct cgroup_host *host)
{
	if (host->base)
		cgroup->machine_fd = venv__cgroup_make(host->base, cgroup->name, &cgroup->path);
}

int venv__cgroup_open(struct cgroup *ret, const struct cgroup_order *order, venv_error **err)
{
	_cleanup_error_ venv_error *problem = NULL;
	struct cgroup_host host;
	int r = 0;

	*ret = (struct cgroup)CGROUP_INIT;
	(void)snprintf(ret->name, sizeof(ret->name), "venv-%s", order->id);
	venv__cgroup_host_find(&host);
	ret->layout = host.layout;
	ret->controllers = take_ptr(host.controllers);
	if (host.layout == CGROUP_SYSTEMD && open_systemd(ret, order, &problem) < 0) {
		(void)fprintf(stderr, "%s\n", venv_error_message(problem));
		ret->layout = host.layout = CGROUP_V2;
	}
	if (host.layout == CGROUP_V2)
		open_v2(ret, &host);
	else if (host.layout == CGROUP_HYBRID)
		open_hybrid(ret, &host);
	venv__cgroup_host_done(&host);
	if (r == 0) {
		open_payload(ret, order->map);
		r = venv__cgroup_limit(ret, order->limits, err);
	}
	if (r == 0)
		r = ret->layout == CGROUP_HYBRID ? venv__cgroup_v1_watch(ret)
						 : venv__cgroup_v2_watch(ret);
	return r;
}

int venv__cgroup_procs(const struct cgroup *cgroup, int ret[CGROUP_PROCS_MAX])
{
	size_t n = 0;
	int fd;

	for (size_t i = 0; i < CGROUP_V1_MAX; i++) {
		if (!cgroup->v1[i].path)
			continue;
		fd = openat(cgroup->v1[i].fd, "cgroup.procs", O_WRONLY | O_CLOEXEC);
		if (fd >= 0)
			ret[n++] = fd;
	}
	ret[n] = -1;
	return (int)n;
}

int venv__cgroup_enter(const struct cgroup *cgroup, pid_t pid, venv_error **err)
{
	int r = cgroup->payload_fd < 0
			? 0
			: venv__cgroup_write_number(cgroup->payload_fd, "cgroup.procs", pid);

	for (size_t i = 0; r == 0 && i < CGROUP_V1_MAX; i++)
		if (cgroup->v1[i].path)
			r = venv__cgroup_write_number(cgroup->v1[i].fd, "cgroup.procs", pid);
	return r < 0 ? venv__fail_errno(err, -r, "cannot enter the machine's control group") : 0;
}

int venv__cgroup_freeze(struct cgroup *cgroup, bool frozen, venv_error **err)
{
	int r = cgroup->payload_fd < 0 ? -ENOENT
				       : venv__cgroup_write(cgroup->payload_fd, "cgroup.freeze",
							    frozen ? "1" : "0");

	if (r == -ENOENT || r == -EACCES)
		return venv__hint(venv__fail(err, VENV_ERR_HOST,
					     "this host gives the user no control group to freeze"),
				  err, "see 'venv doctor'");
	for (int i = 0; r == 0 && i < FREEZE_WAIT_MS; i++) {
		if (venv__cgroup_read_word(cgroup->payload_fd, "cgroup.events", "frozen", frozen) ==
		    frozen)
			return 0;
		(void)poll(NULL, 0, 1);
	}
	(void)venv__cgroup_write(cgroup->payload_fd, "cgroup.freeze", "0");
	return r < 0 ? venv__fail_errno(err, -r, "cannot freeze the machine")
		     : venv__fail(err, VENV_ERR_TIMEOUT, "the machine did not freeze");
}

void venv__cgroup_kill(struct cgroup *cgroup)
{
	if (cgroup->payload_fd >= 0)
		(void)venv__cgroup_write(cgroup->payload_fd, "cgroup.kill", "1");
}
