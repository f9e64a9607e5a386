/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Control groups of one machine. Three forms: v2 made by hand, v2 as a systemd scope, and the
 * hybrid layout, where v1 controllers limit and count and an empty v2 hierarchy freezes and
 * kills.
 *
 *   <own group>/venv-<id>/            limits (in a systemd scope: .../machine, beside .../keeper)
 *   <own group>/venv-<id>/payload/    all of the machine's processes; its cgroup namespace's root
 */
#ifndef VENV_CGROUP_H
#define VENV_CGROUP_H

#include "util/buf.h"
#include "util/idmap.h"

#define CGROUP_ROOT "/sys/fs/cgroup"

enum cgroup_layout { CGROUP_NONE, CGROUP_V2, CGROUP_SYSTEMD, CGROUP_HYBRID };
enum { CGROUP_V1_MAX = 6, CGROUP_PROCS_MAX = CGROUP_V1_MAX + 2 };
/* `oom: freeze`: the keeper freezes the machine at its limit; only this much above it the kernel
 * would kill after all. */
enum { CGROUP_FREEZE_RESERVE = 64 * 1024 * 1024 };

struct cgroup_host { /* what this host and this user's place in it offer */
	enum cgroup_layout layout;
	char *base; /* v2: absolute path of the own group */
	struct {
		char *controller; /* "memory"… */
		char *base;
	} v1[CGROUP_V1_MAX];
	char **controllers; /* that limit for us */
};

struct cgroup {
	enum cgroup_layout layout;
	char *path;     /* of the machine's group in v2, or NULL */
	int machine_fd; /* v2: it; -1 */
	int payload_fd; /* v2: its leaf; -1 */
	int scope_fd;   /* systemd: the scope, whose weights count against other machines; -1 */
	struct {
		char controller[16];
		char *path; /* NULL: not in use */
		int fd;
	} v1[CGROUP_V1_MAX];
	char name[48]; /* "venv-<id>" */
	char **controllers;
	int oom_fd; /* becomes readable when something ran out of memory; -1 */
	bool oom_inotify;
	int64_t memory; /* limit, 0: none */
	bool freeze_on_oom;
};

/* Never fails: what is not found is CGROUP_NONE. */
void venv__cgroup_host_find(struct cgroup_host *ret);
void venv__cgroup_host_done(struct cgroup_host *host);
/* For each limit of a plan that this host cannot enforce: a line with the fix. 0 or -ENOMEM */
int venv__cgroup_host_warnings(const struct cgroup_host *host, const json_t *limits, char ***ret);

/* What a spec limits, in the form of venv__cgroup_limit(). NULL: out of memory */
struct machine_spec;
json_t *venv__cgroup_limits(const struct machine_spec *spec);
/* How many processors "0-1,4" means; 0: it names none. */
unsigned venv__cgroup_cpuset_size(const char *cpuset);

/* How this user gets the controllers that are missing. */
const char *venv__cgroup_fix(const struct cgroup_host *host);

#define CGROUP_INIT                                                                                \
	{                                                                                          \
		.machine_fd = -1, .payload_fd = -1, .scope_fd = -1, .oom_fd = -1                   \
	}
struct cgroup_order {
	const char *id;
	const struct idmap *map; /* whose guest root may make groups below the payload's; or NULL */
	const json_t *limits;
	/* of the scope under systemd, which takes the caller, and `member` unless it is 0 */
	const char *unit, *description;
	uint64_t stop_timeout_us;
	pid_t member;
};
/* Make the groups of a machine and set its limits. */
int venv__cgroup_open(struct cgroup *ret, const struct cgroup_order *order, venv_error **err);
/* Let a process that runs already, with all its threads, be in them. */
int venv__cgroup_enter(const struct cgroup *cgroup, pid_t pid, venv_error **err);
/*
 * The groups of machine `id` that its process is in, for somebody else to change its limits. Without
 * any the layout is CGROUP_NONE, and nothing is limited. Fails when there is no such process.
 */
int venv__cgroup_find(struct cgroup *ret, const char *id, pid_t member, venv_error **err);
void venv__cgroup_done(struct cgroup *cgroup); /* closes; removes nothing */
/*
 * Who shall be in the groups is cloned into payload_fd (CLONE_INTO_CGROUP) and writes "0" to each
 * of these descriptors of v1, ended by -1, which the caller closes. Such a write waits for a
 * grace period of the kernel's, often 10 ms; so v1 groups are made only for limits that are set.
 */
int venv__cgroup_procs(const struct cgroup *cgroup, int ret[CGROUP_PROCS_MAX]);
/* The group of a v1 controller, made when missing, with all of the machine in it. fd or -errno */
int venv__cgroup_v1_need(struct cgroup *cgroup, const char *controller);
/* limits: {"memory":B?,"memory_low":B?,"cpus":R?,"cpu_weight":N?,"cpuset":S?,"io_weight":N?,
 * "pids":N?,"oom":"kill"|"freeze"?}; null takes a limit away. What is not enforceable is skipped. */
int venv__cgroup_limit(struct cgroup *cgroup, const json_t *limits, venv_error **err);
int venv__cgroup_freeze(struct cgroup *cgroup, bool frozen, venv_error **err);
void venv__cgroup_kill(struct cgroup *cgroup);
/* Remove the groups of a machine that has ended. */
void venv__cgroup_remove(struct cgroup *cgroup);
json_t *venv__cgroup_stats(const struct cgroup *cgroup);
int64_t venv__cgroup_oom_kills(const struct cgroup *cgroup);
/* `oom: freeze`: how much is in use that cannot be reclaimed, against the point where to freeze */
enum cgroup_oom { OOM_FAR, OOM_NEAR, OOM_REACHED };
enum cgroup_oom venv__cgroup_oom(const struct cgroup *cgroup);
int64_t venv__cgroup_freeze_at(const struct cgroup *cgroup);
/* Absolute paths of all groups, to be remembered for venv__cgroup_clean(). */
char **venv__cgroup_paths(const struct cgroup *cgroup);
/* Kill and remove what a killed keeper left. Paths that are not this machine's are refused. */
void venv__cgroup_clean(char *const *paths, const char *id);
/* The same of one that was killed before it could say its paths: those that this process would make. */
void venv__cgroup_clean_own(const char *id);

bool venv__cgroup_is_v2(const char *path);
/* The directory of a group, /proc's name of it being `own`; hierarchy: "", "unified", "memory"… */
char *venv__cgroup_path(const char *hierarchy, const char *own);
/*
 * Each line of /proc/PID/cgroup: the controllers of v1 that it is about, "" for v2's, and the group
 * in there; both may be written to. hybrid: v1 controllers are in use. 0 or -errno
 */
typedef void venv__cgroup_line_fn(void *user, char *controllers, char *own, bool hybrid);
int venv__cgroup_lines(const char *proc, bool hybrid, venv__cgroup_line_fn *take, void *user);
/* small helpers of the drivers (files.c): 0 or -errno */
int venv__cgroup_write(int dir_fd, const char *name, const char *text);
int venv__cgroup_write_number(int dir_fd, const char *name, int64_t value);
int64_t venv__cgroup_read_number(int dir_fd, const char *name, int64_t otherwise);
/* The number behind a word in a file of "word number" lines. */
int64_t venv__cgroup_read_word(int dir_fd, const char *name, const char *word, int64_t otherwise);
char *venv__cgroup_read(int dir_fd, const char *name);
/* Make a directory and open it. fd or -errno */
int venv__cgroup_make(const char *base, const char *name, char **ret_path);

/* systemd.c: move this process into a new scope with Delegate=yes. Runs in a child of its own. */
int venv__cgroup_systemd_scope(const struct cgroup_order *order, venv_error **err);
/* The path of a scope of this name when this process is in it already, else NULL. */
char *venv__cgroup_systemd_own(const char *unit);
/* v1.c, v2.c */
int venv__cgroup_v1_limit(struct cgroup *cgroup, const json_t *limits, venv_error **err);
int venv__cgroup_v2_limit(struct cgroup *cgroup, const json_t *limits, venv_error **err);
int venv__cgroup_v1_watch(struct cgroup *cgroup);
int venv__cgroup_v2_watch(struct cgroup *cgroup);
int venv__cgroup_v1_fd(const struct cgroup *cgroup, const char *controller);

#endif
