/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Images in the store: files that nobody writes to again, mode 0400, named by their content.
 *
 * An image gets there as a link to a file of the stage, made by its descriptor: the very file that was
 * checked and hashed, whatever its name there means by now. The stage's own name goes with the stage.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "store.h"

static const char *const formats[] = { "qcow2", "raw" };

bool venv__disk_format_known(const char *format)
{
	for (size_t i = 0; i < ARRAY_SIZE(formats); i++)
		if (!strcmp(format, formats[i]))
			return true;
	return false;
}

char *venv__disk_file(const char *hex, const char *format)
{
	char *name;

	return asprintf(&name, "%s.%s", hex, format) < 0 ? NULL : name;
}

/* ---- Publishing --------------------------------------------------------------------------- */

int venv__disk_keep(int fd, int dir, const char *name, venv_error **err)
{
	char path[64];

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (fchown(fd, geteuid(), getegid()) < 0 || fchmod(fd, 0400) < 0 || fsync(fd) < 0)
		return venv__fail_errno(err, errno, "cannot write a disk image");
	if (linkat(AT_FDCWD, path, dir, name, AT_SYMLINK_FOLLOW) < 0)
		return errno == EEXIST ? 1
				       : venv__fail_errno(err, errno,
							  "cannot put a disk image into the store");
	if (fsync(dir) < 0)
		return venv__fail_errno(err, errno, "cannot write a disk image");
	return 0;
}

int venv__disk_publish(const struct store *store, int fd, const char *hex, const char *format,
		       venv_error **err)
{
	_cleanup_free_ char *name = venv__disk_file(hex, format);
	int r = name ? venv__disk_keep(fd, store->disks, name, err) : venv__fail_nomem(err);

	return r < 0 ? r : 0;
}

/* ---- In records --------------------------------------------------------------------------- */

json_t *venv__disk_refs_content(const struct record *record)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < record->n_disks; i++) {
		const struct disk_ref *disk = &record->disks[i];

		(void)json_array_append_new(
			list, venv__json_pack("{s:o, s:I, s:s*}", "digest",
					      json_sprintf("sha256:%s", disk->hex), "virtual_size",
					      (json_int_t)disk->length, "name", disk->name));
	}
	return list;
}

json_t *venv__disk_refs_to_json(const struct record *record)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < record->n_disks; i++) {
		const struct disk_ref *disk = &record->disks[i];

		(void)json_array_append_new(
			list, venv__json_pack("{s:s, s:I, s:I, s:s*}", "key", disk->hex, "size",
					      (json_int_t)disk->size, "virtual_size",
					      (json_int_t)disk->length, "name", disk->name));
	}
	return list;
}

bool venv__disk_refs_read(const json_t *list, struct record *record)
{
	size_t n = json_array_size(list);

	if (n == 0 || n > BOX_DISKS_MAX)
		return false;
	record->disks = calloc(n, sizeof(*record->disks));
	if (!record->disks)
		return false;
	for (size_t i = 0; i < n; i++) {
		struct disk_ref *disk = &record->disks[record->n_disks++];
		const json_t *item = json_array_get(list, i);
		const char *key = venv__json_str(item, "key"), *name = venv__json_str(item, "name");

		if (!key || strlen(key) != DIGEST_HEX_SIZE - 1 ||
		    strspn(key, "0123456789abcdef") != DIGEST_HEX_SIZE - 1)
			return false;
		memcpy(disk->hex, key, DIGEST_HEX_SIZE);
		disk->size = (uint64_t)venv__json_int(item, "size", 0);
		disk->length = (uint64_t)venv__json_int(item, "virtual_size", 0);
		disk->name = name ? strdup(name) : NULL;
		if (name && !disk->name)
			return false;
	}
	return true;
}

int venv__disk_refs_to_box(const struct store *store, const struct record *record, struct box *box,
			   venv_error **err)
{
	for (size_t i = 0; i < record->n_disks; i++) {
		const struct disk_ref *disk = &record->disks[i];
		_cleanup_free_ char *name = venv__disk_file(disk->hex, record->format);

		if (!name || venv__strv_addf(&box->disks, "%s/disks/%s", store->path, name) < 0)
			return venv__fail_nomem(err);
		if (faccessat(store->disks, name, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
			return venv__hint(venv__fail(err, VENV_ERR_CORRUPT,
						     "its disk image %.12s is not in the store",
						     disk->hex),
					  err, "add the box again");
		box->size += disk->size;
	}
	box->format = strdup(record->format);
	box->virtual_size = record->disks[0].length;
	box->insecure_key = venv__json_bool(record->config, "insecure_key", false);
	box->vagrant = json_incref(json_object_get(record->config, "vagrant"));
	return box->format ? 0 : venv__fail_nomem(err);
}
