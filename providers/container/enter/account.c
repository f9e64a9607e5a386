/* SPDX-License-Identifier: Apache-2.0 */
#include "account.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "util/cleanup.h"
#include "util/file.h"

enum { FIELDS_MAX = 8, ID_MAX = 65535 }; /* a machine has no other ids */

/* A decimal id, nothing before or after it; 4294967295 and what has no mapping are refused. */
static bool parse_id(const char *text, unsigned *ret)
{
	unsigned long value = 0;

	if (!*text || strlen(text) > 10)
		return false;
	for (; *text; text++) {
		if (*text < '0' || *text > '9')
			return false;
		value = value * 10 + (unsigned long)(*text - '0');
	}
	if (value > ID_MAX)
		return false;
	*ret = (unsigned)value;
	return true;
}

/* Cut the next line off *text; NULL at the end. */
static char *next_line(char **text)
{
	char *line = *text, *end;

	if (!line || !*line)
		return NULL;
	end = strchr(line, '\n');
	if (end)
		*end++ = '\0';
	*text = end;
	return line;
}

static size_t split(char *line, char *fields[FIELDS_MAX])
{
	size_t n = 0;

	while (line && n < FIELDS_MAX) {
		fields[n++] = line;
		line = strchr(line, ':');
		if (line)
			*line++ = '\0';
	}
	return n;
}

static bool copy_field(char *to, size_t size, const char *from)
{
	size_t length = strlen(from);

	if (length >= size)
		return false;
	memcpy(to, from, length + 1);
	return true;
}

/* The first entry whose name, or else whose id, is the wanted one. */
static int find_user(char *passwd, const char *wanted, struct account *ret)
{
	unsigned id = 0, uid, gid;
	bool numeric = parse_id(wanted, &id);
	char *line;

	while ((line = next_line(&passwd))) {
		char *fields[FIELDS_MAX];

		if (split(line, fields) < 7 || !*fields[0] || !parse_id(fields[2], &uid) ||
		    !parse_id(fields[3], &gid))
			continue;
		if (strcmp(fields[0], wanted) != 0 && !(numeric && uid == id))
			continue;
		if (!copy_field(ret->name, sizeof(ret->name), fields[0]) ||
		    !copy_field(ret->home, sizeof(ret->home), fields[5]) ||
		    !copy_field(ret->shell, sizeof(ret->shell), fields[6]))
			return -EINVAL;
		ret->uid = uid;
		ret->gid = gid;
		return 0;
	}
	if (!numeric && strcmp(wanted, "root") != 0)
		return -ENOENT;
	ret->uid = id;
	ret->gid = id;
	return 0;
}

static int find_group(char *group, const char *wanted, gid_t *ret)
{
	unsigned gid;
	char *line;

	if (parse_id(wanted, &gid)) {
		*ret = gid;
		return 0;
	}
	while ((line = next_line(&group))) {
		char *fields[FIELDS_MAX];

		if (split(line, fields) < 3 || strcmp(fields[0], wanted) != 0 ||
		    !parse_id(fields[2], &gid))
			continue;
		*ret = gid;
		return 0;
	}
	return -ENOENT;
}

static bool list_has(const char *list, const char *name)
{
	size_t length = strlen(name);

	while (*list) {
		size_t n = strcspn(list, ",");

		if (n == length && memcmp(list, name, n) == 0)
			return true;
		list += n + (list[n] == ',');
	}
	return false;
}

static size_t find_groups(char *group, const struct account *account, gid_t ret[ACCOUNT_GROUPS_MAX])
{
	size_t n = 0;
	unsigned gid;
	char *line;

	while (n < ACCOUNT_GROUPS_MAX && (line = next_line(&group))) {
		char *fields[FIELDS_MAX];

		if (split(line, fields) < 4 || !parse_id(fields[2], &gid) || gid == account->gid)
			continue;
		if (list_has(fields[3], account->name))
			ret[n++] = gid;
	}
	return n;
}

int enter_account_parse(char *passwd, char *group, const char *text, struct account *ret)
{
	struct account account = { .home = "", .shell = "" };
	char user[64];
	const char *colon = strchr(text, ':');
	size_t length = colon ? (size_t)(colon - text) : strlen(text);
	int r;

	if (!length || length >= sizeof(user) || (colon && !colon[1]))
		return -EINVAL;
	memcpy(user, text, length);
	user[length] = '\0';
	r = find_user(passwd, user, &account);
	if (r == 0 && colon)
		r = find_group(group, colon + 1, &account.gid);
	if (r < 0)
		return r;
	if (account.home[0] != '/')
		(void)copy_field(account.home, sizeof(account.home),
				 account.uid == 0 && !account.name[0] ? "/root" : "/");
	if (account.shell[0] != '/')
		(void)copy_field(account.shell, sizeof(account.shell), "/bin/sh");
	if (!account.name[0] && account.uid == 0)
		(void)copy_field(account.name, sizeof(account.name), "root");
	*ret = account;
	return 0;
}

/* A machine can put a link, a FIFO, a device or endless text there. NULL: nothing to read. */
char *enter_read_text(int root_fd, const char *path, off_t max)
{
	_cleanup_close_ int fd =
		venv__open_in_root(root_fd, path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0);
	_cleanup_free_ char *text = NULL;
	size_t length = 0;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > max)
		return NULL;
	text = malloc((size_t)st.st_size + 1);
	while (text && length < (size_t)st.st_size) {
		ssize_t n = read(fd, text + length, (size_t)st.st_size - length);

		if (n <= 0)
			break;
		length += (size_t)n;
	}
	if (text)
		text[length] = '\0';
	return take_ptr(text);
}

int enter_account_find(int root_fd, const char *text, struct account *ret)
{
	_cleanup_free_ char *passwd = enter_read_text(root_fd, "/etc/passwd", ACCOUNT_FILE_MAX);
	_cleanup_free_ char *group =
		strchr(text, ':') ? enter_read_text(root_fd, "/etc/group", ACCOUNT_FILE_MAX) : NULL;

	return enter_account_parse(passwd, group, text, ret);
}

size_t enter_account_groups(int root_fd, const struct account *account,
			    gid_t ret[ACCOUNT_GROUPS_MAX])
{
	_cleanup_free_ char *group =
		account->name[0] ? enter_read_text(root_fd, "/etc/group", ACCOUNT_FILE_MAX) : NULL;

	return find_groups(group, account, ret);
}
