/* SPDX-License-Identifier: Apache-2.0 */
/* What a Vagrant box says of itself: metadata.json, and behind "\n%%\n" info.json. */
#include <string.h>

#include "libvenv/box/unpack.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const json_t *answer)
{
	const json_t *disks = json_object_get(answer, "disks");
	_cleanup_free_ char *text = json_dumps(answer, JSON_COMPACT);

	/* it must fit into one message */
	if (!text || strlen(text) > 60000 || !venv__json_str(answer, "format") ||
	    !venv__json_str(answer, "architecture") || !json_array_size(disks))
		abort();
	for (size_t i = 0; i < json_array_size(disks); i++) {
		const json_t *disk = json_array_get(disks, i);
		const char *path = venv__json_str(disk, "path");

		if (!path || !*path || *path == '/' || !strncmp(path, "../", 3) ||
		    strstr(path, "/../") || venv__json_int(disk, "virtual_size", 0) < 0)
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char mark[] = "\n%%\n";
	const uint8_t *end = memmem(data, size, mark, sizeof(mark) - 1);
	size_t length = end ? (size_t)(end - data) : size;
	const char *info = end ? (const char *)end + sizeof(mark) - 1 : NULL;
	_cleanup_error_ venv_error *err = NULL;
	_cleanup_json_ json_t *answer = NULL;

	if (venv__vagrant_read((const char *)data, length, info,
			       end ? size - length - sizeof(mark) + 1 : 0, &answer, &err) == 0)
		check(answer);
	else if (!*venv_error_message(err))
		abort();
	return 0;
}
