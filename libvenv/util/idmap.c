/* SPDX-License-Identifier: Apache-2.0 */
#include "idmap.h"

#include <fcntl.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include "msg.h"
#include "process.h"

enum { ROOT_BASE = 1073741824 }; /* where systemd-nspawn's range ends; no distribution allots it */

/* Find the first range of at least `count` ids that belongs to name or to id in a subid file. */
static bool find_range(const char *path, const char *name, unsigned id, unsigned count,
		       unsigned *ret)
{
	_cleanup_fclose_ FILE *file = fopen(path, "re");
	_cleanup_free_ char *line = NULL;
	size_t size = 0;

	while (file && getline(&line, &size, file) > 0) {
		char *owner = line, *first, *length, *end;
		unsigned long start, n;

		first = strchr(line, ':');
		length = first ? strchr(first + 1, ':') : NULL;
		if (!length)
			continue;
		*first++ = '\0';
		*length++ = '\0';
		start = strtoul(first, &end, 10);
		if (end == first || *end)
			continue;
		n = strtoul(length, &end, 10);
		if (end == length || (*end && *end != '\n') || n < count || start < 1 ||
		    start > 4294967294UL - count)
			continue;
		if (name && strcmp(owner, name) == 0) {
			*ret = (unsigned)start;
			return true;
		}
		if (strtoul(owner, &end, 10) == id && end != owner && !*end) {
			*ret = (unsigned)start;
			return true;
		}
	}
	return false;
}

static int no_range(const char *path, const char *what, const char *name, venv_error **err)
{
	int r = venv__fail(err, VENV_ERR_HOST, "user '%s' has no %u subordinate %s ids in %s", name,
			   IDMAP_COUNT - 1, what, path);

	return venv__hint(r, err,
			  "run 'sudo usermod --add-subuids 100000-165535 --add-subgids "
			  "100000-165535 %s' (or another range that is free in /etc/subuid)",
			  name);
}

static int find_tool(const char *name, venv_error **err)
{
	static const char *const places[] = { "/usr/bin/", "/bin/", "/usr/local/bin/", "/sbin/",
					      "/usr/sbin/" };
	char path[64];

	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		(void)snprintf(path, sizeof(path), "%s%s", places[i], name);
		if (access(path, X_OK) == 0)
			return 0;
	}
	return venv__hint(venv__fail(err, VENV_ERR_HOST, "the program '%s' is not installed", name),
			  err, "install it: 'sudo apt install uidmap'");
}

int venv__idmap_load(struct idmap *ret, venv_error **err)
{
	struct idmap map = { .root = geteuid() == 0, .uid = geteuid(), .gid = getegid() };
	const struct passwd *user = getpwuid(geteuid());
	const char *name = user ? user->pw_name : NULL;
	char number[16];
	unsigned count = map.root ? IDMAP_COUNT : IDMAP_COUNT - 1;
	bool uids = find_range("/etc/subuid", name, map.uid, count, &map.sub_uid);
	bool gids = find_range("/etc/subgid", name, map.uid, count, &map.sub_gid);

	if (map.root) {
		map.uid = map.sub_uid = uids ? map.sub_uid : ROOT_BASE;
		map.gid = map.sub_gid = gids ? map.sub_gid : ROOT_BASE;
		*ret = map;
		return 0;
	}
	(void)snprintf(number, sizeof(number), "%u", map.uid);
	if (!uids)
		return no_range("/etc/subuid", "user", name ? name : number, err);
	if (!gids)
		return no_range("/etc/subgid", "group", name ? name : number, err);
	if (find_tool("newuidmap", err) < 0 || find_tool("newgidmap", err) < 0)
		return VENV_ERR_HOST;
	*ret = map;
	return 0;
}

static unsigned host_id(bool root, unsigned zero, unsigned sub, unsigned guest)
{
	if (guest >= IDMAP_COUNT)
		return (unsigned)-1;
	if (root)
		return sub + guest;
	return guest == 0 ? zero : sub + guest - 1;
}

uid_t venv__idmap_uid(const struct idmap *map, uid_t guest)
{
	return host_id(map->root, map->uid, map->sub_uid, guest);
}

gid_t venv__idmap_gid(const struct idmap *map, gid_t guest)
{
	return host_id(map->root, map->gid, map->sub_gid, guest);
}

static unsigned guest_id(bool root, unsigned zero, unsigned sub, unsigned host, unsigned nobody)
{
	unsigned first = root ? 0 : 1;

	if (!root && host == zero)
		return 0;
	return host >= sub && host - sub < IDMAP_COUNT - first ? host - sub + first : nobody;
}

uid_t venv__idmap_guest_uid(const struct idmap *map, uid_t host, uid_t nobody)
{
	return guest_id(map->root, map->uid, map->sub_uid, host, nobody);
}

gid_t venv__idmap_guest_gid(const struct idmap *map, gid_t host, gid_t nobody)
{
	return guest_id(map->root, map->gid, map->sub_gid, host, nobody);
}

static int write_map(pid_t pid, const char *which, unsigned base)
{
	_cleanup_close_ int fd = -1;
	char path[64], line[64];
	int n;

	(void)snprintf(path, sizeof(path), "/proc/%d/%s", pid, which);
	n = snprintf(line, sizeof(line), "0 %u %u\n", base, IDMAP_COUNT);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, line, (size_t)n) != n)
		return -errno;
	return 0;
}

static pid_t start_tool(const char *tool, pid_t pid, unsigned zero, unsigned sub, venv_error **err)
{
	char target[16], first[16], rest[16], count[16];
	char program[32];
	char zero_id[] = "0", one[] = "1", one_id[] = "1";
	char *argv[] = { program, target, zero_id, first, one, one_id, rest, count, NULL };
	struct spawn spawn = { .path = program, .argv = argv };

	(void)snprintf(program, sizeof(program), "/usr/bin/%s", tool);
	(void)snprintf(target, sizeof(target), "%d", pid);
	(void)snprintf(first, sizeof(first), "%u", zero);
	(void)snprintf(rest, sizeof(rest), "%u", sub);
	(void)snprintf(count, sizeof(count), "%u", IDMAP_COUNT - 1);
	return venv__child_start(&spawn, err);
}

static int tool_failed(const char *tool, int status, venv_error **err)
{
	int r = venv__fail(err, VENV_ERR_HOST, "%s refused the id map (status %d)", tool, status);

	return venv__hint(r, err,
			  "check that %s is setuid root or has its file capability "
			  "('sudo apt install --reinstall uidmap') and that your ranges in "
			  "/etc/subuid and /etc/subgid are right",
			  tool);
}

int venv__idmap_write(const struct idmap *map, pid_t pid, venv_error **err)
{
	pid_t uids, gids;
	int r, status, group_status;

	if (map->root) {
		r = write_map(pid, "gid_map", map->gid);
		if (r == 0)
			r = write_map(pid, "uid_map", map->uid);
		return r < 0 ? venv__fail_errno(err, -r, "cannot write the id map") : 0;
	}
	uids = start_tool("newuidmap", pid, map->uid, map->sub_uid, err);
	if (uids < 0)
		return uids;
	gids = start_tool("newgidmap", pid, map->gid, map->sub_gid, err);
	status = venv__child_wait(uids);
	if (gids < 0)
		return gids;
	group_status = venv__child_wait(gids);
	if (status)
		return tool_failed("newuidmap", status, err);
	return group_status ? tool_failed("newgidmap", group_status, err) : 0;
}

static _Noreturn void userns_child(int socket)
{
	char byte = unshare(CLONE_NEWUSER) < 0 ? (char)errno : 0;

	if (write(socket, &byte, 1) == 1)
		while (read(socket, &byte, 1) < 0 && errno == EINTR)
			;
	_exit(0);
}

static int userns_of_child(const struct idmap *map, pid_t pid, int socket, venv_error **err)
{
	char path[64], byte = 0;
	int fd, r;

	if (read(socket, &byte, 1) != 1 || byte)
		return venv__fail_errno(err, byte ? byte : EIO, "cannot make a user namespace");
	r = venv__idmap_write(map, pid, err);
	if (r < 0)
		return r;
	(void)snprintf(path, sizeof(path), "/proc/%d/ns/user", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? venv__fail_errno(err, errno, "cannot open a user namespace") : fd;
}

int venv__idmap_userns(const struct idmap *map, venv_error **err)
{
	_cleanup_close_ int ours = -1, theirs = -1;
	int pair[2], fd;
	pid_t pid;

	fd = venv__msg_pair(pair);
	if (fd < 0)
		return venv__fail_errno(err, -fd, "cannot make a user namespace");
	ours = pair[0];
	theirs = pair[1];
	pid = fork();
	if (pid < 0)
		return venv__fail_errno(err, errno, "cannot make a user namespace");
	if (pid == 0)
		userns_child(theirs);
	fd = userns_of_child(map, pid, ours, err);
	(void)kill(pid, SIGKILL);
	(void)venv__child_wait(pid);
	return fd;
}

json_t *venv__idmap_to_json(const struct idmap *map)
{
	return json_pack("{s:b, s:I, s:I, s:I, s:I}", "root", map->root, "uid",
			 (json_int_t)map->uid, "gid", (json_int_t)map->gid, "sub_uid",
			 (json_int_t)map->sub_uid, "sub_gid", (json_int_t)map->sub_gid);
}

bool venv__idmap_from_json(const json_t *json, struct idmap *ret)
{
	if (!json_is_object(json))
		return false;
	*ret = (struct idmap){
		.root = venv__json_bool(json, "root", false),
		.uid = (uid_t)venv__json_int(json, "uid", 0),
		.gid = (gid_t)venv__json_int(json, "gid", 0),
		.sub_uid = (uid_t)venv__json_int(json, "sub_uid", 0),
		.sub_gid = (gid_t)venv__json_int(json, "sub_gid", 0),
	};
	return true;
}
