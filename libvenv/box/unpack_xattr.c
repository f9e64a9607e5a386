/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>
#include <sys/xattr.h>

#include "unpack.h"

enum { NAMES_MAX = 65536, VALUE_MAX = 65536 };

/*
 * An archive may carry what means something to programs (user.*), to the kernel's permission checks
 * (capabilities, access lists), and nothing that means something to overlayfs or a security module:
 * user.overlay.redirect in a layer would show files from elsewhere.
 */
bool venv__xattr_kept(const char *name)
{
	if (!strncmp(name, "user.overlay.", 13))
		return false;
	return !strncmp(name, "user.", 5) || !strcmp(name, "security.capability") ||
	       !strcmp(name, "system.posix_acl_access") ||
	       !strcmp(name, "system.posix_acl_default");
}

int venv__xattr_apply(int fd, const struct attribute *attributes, size_t n, uint64_t *refused)
{
	for (size_t i = 0; i < n; i++) {
		const struct attribute *a = &attributes[i];

		if (!venv__xattr_kept(a->name))
			continue;
		if (fsetxattr(fd, a->name, a->value, a->size, 0) == 0)
			continue;
		if (errno == ENOSPC || errno == EDQUOT || errno == ENOMEM || errno == EIO)
			return -errno;
		(*refused)++;
	}
	return 0;
}

int venv__xattr_copy(int from_fd, int to_fd, uint64_t *refused)
{
	_cleanup_free_ char *names = malloc(NAMES_MAX), *value = malloc(VALUE_MAX);
	ssize_t length;

	if (!names || !value)
		return -ENOMEM;
	length = flistxattr(from_fd, names, NAMES_MAX);
	if (length < 0)
		return errno == ENOTSUP ? 0 : -errno;
	for (const char *name = names; name < names + length; name += strlen(name) + 1) {
		ssize_t n =
			venv__xattr_kept(name) ? fgetxattr(from_fd, name, value, VALUE_MAX) : -1;
		struct attribute a = { .name = name, .value = value, .size = (size_t)n };
		int r = n < 0 ? 0 : venv__xattr_apply(to_fd, &a, 1, refused);

		if (r < 0)
			return r;
	}
	return 0;
}

int venv__xattr_opaque(int fd)
{
	return fsetxattr(fd, "user.overlay.opaque", "y", 1, 0) < 0 ? -errno : 0;
}
