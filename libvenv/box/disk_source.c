/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a file that somebody wants as a box is.
 *
 * The user decides it: by a prefix ("raw:FILE"), by the name's ending, or, for qcow2 alone, by a file that
 * begins as qcow2 images do (cloud images of this format are called ".img" as often as ".qcow2"). This
 * is the only place where an image's own bytes have a say: what is decided here is written to the
 * record, and nothing looks at them for it again. Whoever wrote such bytes into a raw disk gains
 * nothing by it: images that name other files are refused.
 */
#include <string.h>

#include "store.h"

enum { HEAD_SIZE = 4 };

#define UNZIP "mkdir box && cd box && unzip %s && tar -czf ../NEW.box *"

#define CONVERT "qemu-img convert -O qcow2 %s NEW.qcow2"

struct ending {
	const char *text;
	const char *format; /* NULL: none that we take */
	const char *what;   /* then: what it is, and what to run */
	const char *advice;
};

static const char compressed[] = "compressed disk images";

static const struct ending endings[] = {
	{ ".qcow2", "qcow2", NULL, NULL },
	{ ".raw", "raw", NULL, NULL },
	{ ".img", "raw", NULL, NULL },
	{ ".vmdk", NULL, "VMDK images", CONVERT },
	{ ".vdi", NULL, "VDI images", CONVERT },
	{ ".vhd", NULL, "VHD images", CONVERT },
	{ ".vhdx", NULL, "VHDX images", CONVERT },
	{ ".qcow2.gz", NULL, compressed, "gzip -dk %s" },
	{ ".img.gz", NULL, compressed, "gzip -dk %s" },
	{ ".raw.gz", NULL, compressed, "gzip -dk %s" },
	{ ".qcow2.xz", NULL, compressed, "xz -dk %s" },
	{ ".img.xz", NULL, compressed, "xz -dk %s" },
	{ ".raw.xz", NULL, compressed, "xz -dk %s" },
	{ ".qcow2.zst", NULL, compressed, "zstd -d %s" },
	{ ".img.zst", NULL, compressed, "zstd -d %s" },
	{ ".raw.zst", NULL, compressed, "zstd -d %s" },
	{ ".zip", NULL, "zip archives", UNZIP },
};

static bool ends_with(const char *path, const char *text)
{
	size_t length = strlen(path), n = strlen(text);

	return length > n && strcasecmp(path + length - n, text) == 0;
}

bool venv__disk_source_is_box(const char *path)
{
	return ends_with(path, ".box");
}

static const struct ending *ending_of(const char *path)
{
	for (size_t i = 0; i < ARRAY_SIZE(endings); i++)
		if (ends_with(path, endings[i].text))
			return &endings[i];
	return NULL;
}

static int not_taken(const char *what, const char *advice, const char *path, venv_error **err)
{
	const char *mark = strstr(advice, "%s");
	int r = venv__fail(err, VENV_ERR_UNSUPPORTED, "%s are not supported as boxes", what);

	return venv__hint(r, err, "run '%.*s%s%s' and add what that makes", (int)(mark - advice),
			  advice, path, mark + 2);
}

static int by_name(const char *path, bool qcow2, const char **ret, venv_error **err)
{
	const struct ending *ending = ending_of(path);

	if (ending && !ending->format)
		return not_taken(ending->what, ending->advice, path, err);
	if (qcow2 && ending && !strcmp(ending->text, ".raw"))
		return venv__hint(venv__fail(err, VENV_ERR_INVALID,
					     "it is called '.raw' and begins as a qcow2 image"),
				  err, "say what it is: 'qcow2:%s' or 'raw:%s'", path, path);
	if (!qcow2 && ending && !strcmp(ending->format, "qcow2"))
		return venv__hint(venv__fail(err, VENV_ERR_BOX, "it is no qcow2 image"), err,
				  "make or download it again");
	*ret = qcow2 ? "qcow2" : ending ? ending->format : NULL;
	return 0;
}

int venv__disk_source_format(int fd, const char *path, const char *said, const char **ret_format,
			     venv_error **err)
{
	unsigned char head[HEAD_SIZE] = { 0 };
	const char *format = said;
	int r = 0;

	if (pread(fd, head, sizeof(head), 0) < 0)
		return venv__fail_errno(err, errno, "cannot read it");
	if (!said && !memcmp(head, "PK\3\4", HEAD_SIZE)) /* Vagrant takes boxes that are zip */
		return not_taken("zip archives", UNZIP, path, err);
	if (!said)
		r = by_name(path, !memcmp(head, "QFI\373", HEAD_SIZE), &format, err);
	if (r == 0)
		*ret_format = format;
	return r;
}
