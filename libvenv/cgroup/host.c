/* SPDX-License-Identifier: Apache-2.0 */
/* What control groups this host has, and where in them this process may make its own. */
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/vfs.h>

#include "cgroup.h"
#include "util/sys.h"

static const char root[] = CGROUP_ROOT;
/* of v1; freezing and killing is done in the v2 hierarchy, which all such hosts have */
static const char *const v1_wanted[] = { "memory", "cpu", "cpuacct", "pids", "cpuset", "blkio" };

static bool has_word(const char *list, const char *word, char separator)
{
	size_t length = strlen(word);

	for (const char *p = list; *p;) {
		const char *end = strchr(p, separator);
		size_t n = end ? (size_t)(end - p) : strcspn(p, "\n");

		if (n == length && memcmp(p, word, n) == 0)
			return true;
		p += n;
		p += *p != '\0';
	}
	return false;
}

bool venv__cgroup_is_v2(const char *path)
{
	struct statfs info;

	return statfs(path, &info) == 0 && info.f_type == CGROUP2_SUPER_MAGIC;
}

char *venv__cgroup_path(const char *hierarchy, const char *own)
{
	char *path = NULL;

	if (asprintf(&path, "%s%s%s%s", root, *hierarchy ? "/" : "", hierarchy,
		     strcmp(own, "/") == 0 ? "" : own) < 0)
		return NULL;
	return path;
}

static bool is_writable(const char *path)
{
	return path && faccessat(AT_FDCWD, path, W_OK, AT_EACCESS) == 0;
}

static void take_v1_line(struct cgroup_host *host, const char *controllers, const char *own)
{
	for (size_t i = 0; i < ARRAY_SIZE(v1_wanted); i++) {
		char *path;

		if (!has_word(controllers, v1_wanted[i], ','))
			continue;
		path = venv__cgroup_path(v1_wanted[i], own);
		if (!is_writable(path)) {
			free(path);
			continue;
		}
		host->v1[i].controller = strdup(v1_wanted[i]);
		host->v1[i].base = path;
		(void)venv__strv_add(&host->controllers,
				     strcmp(v1_wanted[i], "blkio") == 0 ? "io" : v1_wanted[i]);
	}
}

static void take_line(void *user, char *controllers, char *own, bool hybrid)
{
	struct cgroup_host *host = user;

	if (!*controllers)
		host->base = venv__cgroup_path(hybrid ? "unified" : "", own);
	else if (hybrid)
		take_v1_line(host, controllers, own);
}

/* A line "4:memory:/path", "0::/path". */
static void split_line(char *line, bool hybrid, venv__cgroup_line_fn *take, void *user)
{
	char *controllers = strchr(line, ':'), *own;

	own = controllers ? strchr(controllers + 1, ':') : NULL;
	if (!own)
		return;
	*controllers++ = '\0';
	*own++ = '\0';
	take(user, controllers, own, hybrid);
}

int venv__cgroup_lines(const char *proc, bool hybrid, venv__cgroup_line_fn *take, void *user)
{
	_cleanup_free_ char *text = NULL;
	char *line, *save = NULL;
	int r = venv__file_read(AT_FDCWD, proc, 65536, &text, NULL, NULL);

	if (r < 0)
		return r;
	for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		split_line(line, hybrid, take, user);
	return 0;
}

/* Which controllers a group made here could use: those that its parent gives on, or that we may
 * switch on because we are root and nothing is in the way. */
static void find_v2_controllers(struct cgroup_host *host, const char *base)
{
	_cleanup_close_ int fd = open(base, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool top = strcmp(base, root) == 0;
	_cleanup_free_ char *list =
		fd < 0 ? NULL
		       : venv__cgroup_read(fd, top && is_writable(base) ? "cgroup.controllers"
									: "cgroup.subtree_control");
	char *word, *save = NULL;

	for (word = list ? strtok_r(list, " \n", &save) : NULL; word;
	     word = strtok_r(NULL, " \n", &save))
		(void)venv__strv_add(&host->controllers, word);
}

/* A scope of systemd's gets what its manager hands out. */
static void find_systemd_controllers(struct cgroup_host *host)
{
	_cleanup_close_ int fd = -1;
	_cleanup_free_ char *list = NULL;
	char path[128], *word, *save = NULL;

	if (geteuid() == 0)
		(void)snprintf(path, sizeof(path), "%s", root);
	else
		(void)snprintf(path, sizeof(path), "%s/user.slice/user-%u.slice/user@%u.service",
			       root, geteuid(), geteuid());
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	list = fd < 0 ? NULL : venv__cgroup_read(fd, "cgroup.controllers");
	for (word = list ? strtok_r(list, " \n", &save) : NULL; word;
	     word = strtok_r(NULL, " \n", &save))
		(void)venv__strv_add(&host->controllers, word);
	if (fd >= 0)
		host->layout = CGROUP_SYSTEMD;
}

void venv__cgroup_host_find(struct cgroup_host *ret)
{
	bool hybrid = !venv__cgroup_is_v2(root);

	*ret = (struct cgroup_host){ .layout = CGROUP_NONE };
	if (access(root, F_OK) < 0 ||
	    venv__cgroup_lines("/proc/self/cgroup", hybrid, take_line, ret) < 0)
		return;
	if (!hybrid && venv__systemd_runs())
		find_systemd_controllers(ret);
	if (ret->layout == CGROUP_SYSTEMD)
		return;
	/* a directory is not enough: where nothing is mounted on "unified", a group there would be none */
	if (!is_writable(ret->base) || !venv__cgroup_is_v2(ret->base)) {
		free(ret->base);
		ret->base = NULL;
	}
	if (hybrid && (ret->base || ret->controllers))
		ret->layout = CGROUP_HYBRID;
	else if (!hybrid && ret->base)
		ret->layout = CGROUP_V2;
	if (ret->layout == CGROUP_V2 && ret->base)
		find_v2_controllers(ret, ret->base);
}

void venv__cgroup_host_done(struct cgroup_host *host)
{
	free(host->base);
	for (size_t i = 0; i < CGROUP_V1_MAX; i++) {
		free(host->v1[i].controller);
		free(host->v1[i].base);
	}
	venv__strv_free(host->controllers);
	*host = (struct cgroup_host){ .layout = CGROUP_NONE };
}

static void clean_below(const char *base, const char *id)
{
	char *path = NULL, *paths[] = { NULL, NULL };

	if (base && asprintf(&path, "%s/venv-%s", base, id) >= 0) {
		paths[0] = path;
		venv__cgroup_clean(paths, id);
		free(path);
	}
}

void venv__cgroup_clean_own(const char *id)
{
	struct cgroup_host host;

	venv__cgroup_host_find(&host);
	if (host.layout != CGROUP_SYSTEMD) /* a scope goes with its last process */
		clean_below(host.base, id);
	for (size_t i = 0; i < CGROUP_V1_MAX; i++)
		clean_below(host.v1[i].base, id);
	venv__cgroup_host_done(&host);
}

const char *venv__cgroup_fix(const struct cgroup_host *host)
{
	if (geteuid() == 0)
		return "boot with unified control groups (systemd.unified_cgroup_hierarchy=1)";
	if (host->layout == CGROUP_SYSTEMD)
		return "run 'sudo mkdir -p /etc/systemd/system/user@.service.d && printf "
		       "\"[Service]\\nDelegate=cpu cpuset io memory pids\\n\" | sudo tee "
		       "/etc/systemd/system/user@.service.d/delegate.conf && sudo systemctl "
		       "daemon-reload', then log out everywhere and in again";
	if (venv__systemd_runs())
		return "log in through systemd (ssh, a console), or keep your systemd running "
		       "without a login: 'sudo loginctl enable-linger \"$USER\"'";
	return "run as root, or on a host where systemd delegates control groups to users";
}

int venv__cgroup_host_warnings(const struct cgroup_host *host, const json_t *limits, char ***ret)
{
	static const struct {
		const char *key, *controller;
	} keys[] = {
		{ "memory", "memory" },  { "memory_low", "memory" }, { "cpus", "cpu" },
		{ "cpu_weight", "cpu" }, { "cpuset", "cpuset" },     { "io_weight", "io" },
		{ "pids", "pids" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		if (!json_object_get(limits, keys[i].key) ||
		    venv__strv_has(host->controllers, keys[i].controller))
			continue;
		if (venv__strv_addf(ret,
				    "'%s' cannot be enforced: the control group controller '%s' is "
				    "not given to this user; %s",
				    keys[i].key, keys[i].controller, venv__cgroup_fix(host)) < 0)
			return -ENOMEM;
	}
	return 0;
}
