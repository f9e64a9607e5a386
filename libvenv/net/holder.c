/* SPDX-License-Identifier: Apache-2.0 */
#include "holder.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <pwd.h>
#include <string.h>

#include "util/buf.h"
#include "util/msg.h"

enum { ASK_MS = 1000, SEARCH = O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW };

struct holder {
	unsigned long inode;
	unsigned uid;
	bool found;
};

/* Does a socket at `local` (as in /proc/net/tcp) stand in the way of one at `wanted`? */
static bool collides(const char *local, const char *wanted)
{
	uint32_t word[4] = { 0 };
	struct in_addr v4;
	size_t digits = strcspn(local, ":");
	int n = digits == 8 ? sscanf(local, "%8x", &word[0])
			    : sscanf(local, "%8x%8x%8x%8x", &word[0], &word[1], &word[2], &word[3]);

	if (n < 1)
		return false;
	if (!word[0] && !word[1] && !word[2] && !word[3])
		return true; /* every address */
	if (inet_pton(AF_INET, wanted, &v4) != 1)
		return true; /* IPv6: any socket of that port is likely enough */
	if (v4.s_addr == INADDR_ANY)
		return true;
	return digits == 8 ? word[0] == v4.s_addr : word[3] == v4.s_addr;
}

static void look_in(const char *table, const struct port_spec *port, struct holder *ret)
{
	_cleanup_fclose_ FILE *file = fopen(table, "re");
	_cleanup_free_ char *line = NULL;
	size_t size = 0;

	while (file && !ret->found && getline(&line, &size, file) > 0) {
		char local[64];
		unsigned state, uid, number;
		unsigned long inode;
		const char *colon;

		if (sscanf(line, " %*u: %63s %*s %x %*s %*s %*s %u %*u %lu", local, &state, &uid,
			   &inode) != 4)
			continue;
		colon = strchr(local, ':');
		if (!colon || sscanf(colon + 1, "%4x", &number) != 1 || number != port->host ||
		    !collides(local, port->address ? port->address : "127.0.0.1"))
			continue;
		if (port->protocol == PROTOCOL_TCP && state != TCP_LISTEN)
			continue;
		*ret = (struct holder){ .inode = inode, .uid = uid, .found = true };
	}
}

/* Has this process a descriptor of that socket? */
static bool has_socket(int proc_fd, const char *pid, unsigned long inode)
{
	_cleanup_closedir_ DIR *dir = NULL;
	_cleanup_free_ char *path = NULL;
	char wanted[64], target[64];
	int fd;

	if (asprintf(&path, "%s/fd", pid) < 0) {
		path = NULL;
		return false;
	}
	fd = openat(proc_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir)
		return false;
	(void)snprintf(wanted, sizeof(wanted), "socket:[%lu]", inode);
	for (const struct dirent *entry; (entry = readdir(dir));) {
		ssize_t n = readlinkat(dirfd(dir), entry->d_name, target, sizeof(target) - 1);

		if (n <= 0)
			continue;
		target[n] = '\0';
		if (strcmp(target, wanted) == 0)
			return true;
	}
	return false;
}

static char *describe_process(int proc_fd, const char *pid)
{
	_cleanup_free_ char *path = NULL, *comm = NULL;
	char *ret = NULL;

	if (asprintf(&path, "%s/comm", pid) < 0) {
		path = NULL;
		return NULL;
	}
	if (venv__file_read(proc_fd, path, 64, &comm, NULL, NULL) < 0)
		return NULL;
	comm[strcspn(comm, "\n")] = '\0';
	return asprintf(&ret, "%s (pid %s)", comm, pid) < 0 ? NULL : ret;
}

static bool is_port(const json_t *item, const struct port_spec *port)
{
	const char *protocol = venv__json_str(item, "protocol");

	return venv__json_int(item, "host", 0) == port->host && protocol &&
	       strcmp(protocol, port->protocol == PROTOCOL_UDP ? "udp" : "tcp") == 0;
}

/* The ports of the netd that listens in this directory; NULL when there is none. */
static json_t *ask_ports(int project_fd)
{
	_cleanup_json_ json_t *request = json_pack("{s:s}", "op", "ports");
	_cleanup_close_ int fd = venv__msg_connect(project_fd, "net", NULL);
	json_t *reply = NULL;

	if (fd < 0 || !request ||
	    venv__msg_call(fd, request, NULL, 0, ASK_MS, &reply, NULL, NULL) < 0)
		return NULL;
	return reply;
}

/* No process shows a netd's sockets to its own user (sandbox.c), so each is asked. */
static char *find_in_projects(int projects_fd, const struct port_spec *port)
{
	_cleanup_strv_ char **names = NULL;

	if (venv__dir_list(projects_fd, &names, NULL) < 0)
		return NULL;
	for (char **name = names; name && *name; name++) {
		_cleanup_close_ int fd = openat(projects_fd, *name, SEARCH);
		_cleanup_json_ json_t *reply = fd < 0 ? NULL : ask_ports(fd);
		const char *project = venv__json_str(reply, "project");
		char *ret = NULL;
		size_t i;
		json_t *item;

		json_array_foreach(json_object_get(reply, "ports"), i, item)
		{
			const char *machine = venv__json_str(item, "machine");

			if (!project || !machine || !is_port(item, port))
				continue;
			return asprintf(&ret, "machine '%s' of project '%s'", machine, project) < 0
				       ? NULL
				       : ret;
		}
	}
	return NULL;
}

static char *describe_user(unsigned uid)
{
	struct passwd entry, *found = NULL;
	char buffer[4096], *ret = NULL;
	int n;

	if (getpwuid_r(uid, &entry, buffer, sizeof(buffer), &found) == 0 && found)
		n = asprintf(&ret, "a program of user '%s'", found->pw_name);
	else
		n = asprintf(&ret, "a program of user %u", uid);
	return n < 0 ? NULL : ret;
}

char *venv__port_holder(const struct port_spec *port, int project_fd)
{
	static const char *const tables[2][2] = { { "/proc/net/tcp", "/proc/net/tcp6" },
						  { "/proc/net/udp", "/proc/net/udp6" } };
	_cleanup_close_ int projects = -1;
	_cleanup_closedir_ DIR *proc = NULL;
	struct holder holder = { 0 };
	char *ret;

	for (int i = 0; i < 2 && !holder.found; i++)
		look_in(tables[port->protocol == PROTOCOL_UDP][i], port, &holder);
	if (!holder.found)
		return NULL;
	projects = openat(project_fd, "..", SEARCH);
	ret = projects < 0 ? NULL : find_in_projects(projects, port);
	if (ret)
		return ret;
	proc = opendir("/proc");
	for (const struct dirent *entry; proc && (entry = readdir(proc));)
		if (isdigit((unsigned char)entry->d_name[0]) &&
		    has_socket(dirfd(proc), entry->d_name, holder.inode))
			return describe_process(dirfd(proc), entry->d_name);
	return describe_user(holder.uid);
}
