/* SPDX-License-Identifier: Apache-2.0 */
#include "names.h"

#include <errno.h>
#include <string.h>

bool fs_name_ok(const char *name)
{
	return *name && !strchr(name, '/') && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

int fs_take_string(struct fs_iov *in, char *ret, size_t size)
{
	struct fs_iov start = *in;
	size_t taken = fs_iov_take(in, ret, size);
	const char *end = memchr(ret, '\0', taken);

	if (!end)
		return taken == size ? -ENAMETOOLONG : -EINVAL;
	*in = start;
	fs_iov_skip(in, (size_t)(end - ret) + 1);
	return (int)(end - ret);
}

int fs_take_name(struct fs_iov *in, char ret[FS_NAME_SIZE])
{
	int r = fs_take_string(in, ret, FS_NAME_SIZE);

	if (r < 0)
		return r;
	return fs_name_ok(ret) ? 0 : -EINVAL;
}
