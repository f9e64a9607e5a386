/* SPDX-License-Identifier: Apache-2.0 */
/* Archives of strangers: sniffing, inflating, the tar reader, the writer and the merge. Below /dev/shm,
 * where a directory is made and removed for each input. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "libvenv/box/unpack.h"
#include "libvenv/box/unpack_inflate.h"
#include "libvenv/util/file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The inflater without the threads of a stream, which would only cost time here. */
struct plain {
	struct source source;
	struct inflater *inflater;
	char chunk[65536];
};

static int next_chunk(struct source *source, const void **ret, size_t *ret_length, venv_error **err)
{
	struct plain *plain = CONTAINER_OF(source, struct plain, source);
	int r = venv__inflater_read(plain->inflater, plain->chunk, sizeof(plain->chunk), ret_length,
				    err);

	*ret = plain->chunk;
	return r < 0 ? r : *ret_length > 0;
}

static void merge(int root, int list)
{
	const int lower[1] = { root };
	struct merge merge = { .root_fd = root, .list_fd = list, .lower = lower, .n_lower = 1 };

	(void)venv__merge(&merge, NULL);
}

static void unpack(int fd, int root, int list, bool automatic)
{
	static const struct limits limits = {
		.bytes = 1 << 20, .entries = 200, .ratio = 100, .depth = 32
	};
	struct plain plain = { .source.next = next_chunk };
	struct untar untar = { .source = &plain.source,
			       .root_fd = root,
			       .list_fd = list,
			       .mode = automatic ? UNTAR_AUTO : UNTAR_LAYER,
			       .limits = &limits };
	venv_error *err = NULL;

	if (venv__inflater_new(fd, &plain.inflater, NULL) < 0)
		return;
	if (venv__untar(&untar, &err) == 0)
		merge(root, list);
	venv_error_free(err);
	venv__inflater_free(plain.inflater);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_close_ int fd = memfd_create("input", MFD_CLOEXEC), root = -1;
	_cleanup_close_ int list = memfd_create("list", MFD_CLOEXEC);
	char path[] = "/dev/shm/venv-fuzz.XXXXXX", host[64];
	struct stat st;

	if (size < 1 || fd < 0 || list < 0 || pwrite(fd, data + 1, size - 1, 0) < 0 ||
	    !mkdtemp(path))
		return 0;
	/* what must stay untouched lies beside the root */
	(void)snprintf(host, sizeof(host), "%s/root", path);
	(void)mkdir(host, 0755);
	root = open(host, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (root >= 0)
		unpack(fd, root, list, data[0] & 1);
	if (stat(path, &st) < 0 || st.st_nlink != 3)
		__builtin_trap();
	(void)close(take_fd(&root));
	(void)venv__tree_delete(AT_FDCWD, path, NULL);
	return 0;
}
