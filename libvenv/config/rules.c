/* SPDX-License-Identifier: Apache-2.0 */
/* Rules for text that no type expresses: names, addresses, paths, version constraints. */
#include "keys.h"

#include <arpa/inet.h>
#include <string.h>

#define LOWER "abcdefghijklmnopqrstuvwxyz"
#define UPPER "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"

enum { NAME_MAX_LENGTH = 63, HOSTNAME_MAX_LENGTH = 64, USER_MAX_LENGTH = 32 };

bool venv__name_is_valid(const char *name)
{
	size_t n = strlen(name);

	return n && n <= NAME_MAX_LENGTH && strspn(name, LOWER DIGITS "-") == n && name[0] != '-' &&
	       name[n - 1] != '-';
}

bool venv__env_name_is_valid(const char *name, size_t length)
{
	return length && strspn(name, LOWER UPPER DIGITS "_") >= length && !strchr(DIGITS, name[0]);
}

int venv__check_name(const struct key *key, const struct node *node, venv_error **err)
{
	(void)key;
	if (venv__name_is_valid(node->text))
		return 0;
	return venv__hint(venv__bad(err, node, "invalid name '%s'", node->text), err,
			  "use small letters, digits and '-' within, at most %d", NAME_MAX_LENGTH);
}

int venv__check_hostname(const struct key *key, const struct node *node, venv_error **err)
{
	const char *label = node->text;
	bool good = strlen(label) <= HOSTNAME_MAX_LENGTH;
	size_t n;

	(void)key;
	for (; good; label += n + 1) {
		n = strspn(label, LOWER UPPER DIGITS "-");
		good = n && n <= NAME_MAX_LENGTH && label[0] != '-' && label[n - 1] != '-' &&
		       (!label[n] || label[n] == '.');
		if (!label[n])
			break;
	}
	if (good)
		return 0;
	return venv__hint(venv__bad(err, node, "invalid host name '%s'", node->text), err,
			  "use letters, digits and '-' within, at most %d", HOSTNAME_MAX_LENGTH);
}

int venv__check_user(const struct key *key, const struct node *node, venv_error **err)
{
	size_t n = strlen(node->text);

	(void)key;
	if (n && n <= USER_MAX_LENGTH && !strpbrk(node->text, ":/ \t\r\n,=\"'\\") &&
	    node->text[0] != '-')
		return 0;
	return venv__hint(venv__bad(err, node, "invalid user name '%s'", node->text), err,
			  "write the name or the number of a user in the machine");
}

/* "12.5", "1.0.0-rc.1" */
static bool is_version(const char *text, size_t length)
{
	bool new_part = true;

	if (!length || !strchr(DIGITS, text[0]))
		return false;
	for (size_t i = 0; i < length; i++) {
		if (strchr(".-", text[i])) {
			if (new_part)
				return false;
			new_part = true;
		} else if (strchr(LOWER UPPER DIGITS, text[i])) {
			new_part = false;
		} else {
			return false;
		}
	}
	return !new_part;
}

static const char *skip_spaces(const char *p)
{
	return p + strspn(p, " ");
}

int venv__check_constraint(const struct key *key, const struct node *node, venv_error **err)
{
	static const char *const operators[] = { "~>", ">=", "<=", "!=", "=", ">", "<" };
	const char *p = node->text;
	struct place place;
	size_t n;

	(void)key;
	for (;; p += n + 1) {
		p = skip_spaces(p);
		for (size_t i = 0; i < ARRAY_SIZE(operators); i++)
			if (strncmp(p, operators[i], strlen(operators[i])) == 0) {
				p = skip_spaces(p + strlen(operators[i]));
				break;
			}
		n = strcspn(p, ", ");
		if (!is_version(p, n))
			break;
		p = skip_spaces(p + n);
		n = 0;
		if (!*p)
			return 0;
		if (*p != ',')
			break;
	}
	place = venv__node_at(node, p);
	return venv__hint(venv__fail_spec(err, VENV_ERR_CONFIG, &place,
					  "invalid version constraint '%s'", node->text),
			  err, "write a version, or as in \"~> 12.5\" or \">= 12, < 13\"");
}

/* A number below limit at *p, which it moves; -1: none. */
static long read_number(const char **p, long limit)
{
	long value = 0;

	if (!**p || !strchr(DIGITS, **p))
		return -1;
	for (; **p && strchr(DIGITS, **p); (*p)++) {
		value = value * 10 + (**p - '0');
		if (value >= limit)
			return -1;
	}
	return value;
}

int venv__check_cpuset(const struct key *key, const struct node *node, venv_error **err)
{
	const char *p = node->text;
	struct place place;
	long first, last;

	(void)key;
	for (;; p++) {
		first = last = read_number(&p, 8192);
		if (first >= 0 && *p == '-') {
			p++;
			last = read_number(&p, 8192);
		}
		if (first < 0 || last < first || (*p && *p != ','))
			break;
		if (!*p)
			return 0;
	}
	place = venv__node_at(node, p);
	return venv__hint(venv__fail_spec(err, VENV_ERR_CONFIG, &place,
					  "invalid set of processors '%s'", node->text),
			  err, "write numbers and ranges, as in 0-1,4");
}

int venv__check_guest_path(const struct key *key, const struct node *node, venv_error **err)
{
	static const char *const taken[] = { "/proc", "/sys", "/dev" };
	_cleanup_free_ char *clean = NULL;
	const char *rest;

	(void)key;
	if (node->text[0] != '/')
		return venv__hint(venv__bad(err, node, "path '%s' in the machine is not absolute",
					    node->text),
				  err, "begin it with '/'");
	clean = venv__path_clean(node->text);
	if (!clean)
		return venv__fail_nomem(err);
	if (strcmp(clean, "/") == 0)
		return venv__hint(venv__bad(err, node, "'/' would hide the whole machine"), err,
				  "name a directory, as in /workspace");
	for (size_t i = 0; i < ARRAY_SIZE(taken); i++)
		if (venv__path_below(clean, taken[i], &rest))
			return venv__hint(venv__bad(err, node, "%s belongs to the machine's kernel",
						    taken[i]),
					  err, "name another directory, as in /workspace");
	return 0;
}

int venv__check_address(const struct key *key, const struct node *node, venv_error **err)
{
	unsigned char address[sizeof(struct in6_addr)];

	(void)key;
	if (inet_pton(AF_INET, node->text, address) == 1 ||
	    inet_pton(AF_INET6, node->text, address) == 1)
		return 0;
	return venv__hint(venv__bad(err, node, "'%s' is not an address", node->text), err,
			  "write 127.0.0.1 for this host only, 0.0.0.0 for everybody");
}

bool venv__parse_ipv4(const char *text, uint32_t *ret_address)
{
	struct in_addr address;

	if (inet_pton(AF_INET, text, &address) != 1)
		return false;
	*ret_address = ntohl(address.s_addr);
	return true;
}

int venv__check_ipv4(const struct key *key, const struct node *node, venv_error **err)
{
	uint32_t address;

	(void)key;
	if (venv__parse_ipv4(node->text, &address))
		return 0;
	return venv__hint(venv__bad(err, node, "'%s' is not an IPv4 address", node->text), err,
			  "write it without a prefix length, as in 192.168.56.10");
}

bool venv__parse_subnet(const char *text, uint32_t *ret_address, unsigned *ret_prefix)
{
	const char *slash = strchr(text, '/'), *p;
	char address[INET_ADDRSTRLEN];
	long prefix;

	if (!slash || (size_t)(slash - text) >= sizeof(address))
		return false;
	memcpy(address, text, (size_t)(slash - text));
	address[slash - text] = '\0';
	p = slash + 1;
	prefix = read_number(&p, 33);
	if (prefix < 0 || *p || !venv__parse_ipv4(address, ret_address))
		return false;
	*ret_prefix = (unsigned)prefix;
	return true;
}

/* Where a network of ours may not be, whoever says so. */
static const char *reserved(uint32_t address)
{
	if (address >> 24 == 0 || address >> 24 == 127)
		return "this host's own";
	if (address >> 16 == 0xa9fe)
		return "link-local";
	return address >> 28 >= 0xe ? "not for machines" : NULL;
}

int venv__check_subnet(const struct key *key, const struct node *node, venv_error **err)
{
	struct in_addr base;
	uint32_t address, mask;
	unsigned prefix;
	char text[INET_ADDRSTRLEN];

	(void)key;
	if (!venv__parse_subnet(node->text, &address, &prefix))
		return venv__hint(venv__bad(err, node, "'%s' is not a subnet", node->text), err,
				  "write it as 192.168.56.0/24");
	if (prefix < 8 || prefix > 29)
		return venv__hint(venv__bad(err, node, "a subnet with prefix /%u is too %s", prefix,
					    prefix < 8 ? "large" : "small"),
				  err, "write a prefix from /8 to /29, as in 192.168.56.0/24");
	if (reserved(address))
		return venv__hint(
			venv__bad(err, node, "subnet '%s' is %s", node->text, reserved(address)),
			err, "take a private one, as in 192.168.56.0/24");
	mask = UINT32_MAX << (32 - prefix);
	if (!(address & ~mask))
		return 0;
	base.s_addr = htonl(address & mask);
	(void)inet_ntop(AF_INET, &base, text, sizeof(text));
	return venv__hint(venv__bad(err, node, "'%s' is an address within a subnet", node->text),
			  err, "write %s/%u", text, prefix);
}

int venv__check_mode(const struct key *key, const struct node *node, venv_error **err)
{
	size_t n = strlen(node->text);

	(void)key;
	if (n >= 3 && n <= 4 && strspn(node->text, "01234567") == n)
		return 0;
	return venv__hint(venv__bad(err, node, "'%s' is not a file mode", node->text), err,
			  "write three or four octal digits, as in \"0644\"");
}

int venv__host_path(const struct reader *reader, const struct node *node, const char *text,
		    char **ret, venv_error **err)
{
	_cleanup_free_ char *home = NULL;
	_cleanup_free_ char *joined = NULL;
	char *clean;

	if (!*text)
		return venv__hint(venv__bad(err, node, "a path on the host is missing"), err,
				  "write '.' for the project's directory");
	if (text[0] == '~' && text[1] && text[1] != '/')
		return venv__hint(venv__bad(err, node, "cannot tell where '%s' is", text), err,
				  "write an absolute path; a file of this name is './%s'", text);
	home = venv__path_home(text);
	joined = home ? venv__path_join(reader->dir, home) : NULL;
	if (!joined)
		return venv__fail_nomem(err);
	clean = venv__path_clean(joined);
	if (!clean)
		return venv__fail_nomem(err);
	*ret = clean;
	return 0;
}

bool venv__is_outside(const struct reader *reader, const char *path)
{
	const char *rest;

	return !venv__path_below(path, reader->dir, &rest);
}
