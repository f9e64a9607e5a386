/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Manifests of images. "\n%%\n" divides the input into files: blobs, and last index.json, or with "D" as the
 * first byte manifest.json. "@0" to "@9" in a file stand for the digest of the file before that has this
 * number, "$0" to "$9" for its bare digits, "#0" to "#9" for its size, since no fuzzer finds a digest. What is taken becomes a box's record,
 * is written and read again, and is what a machine's plan is made from.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "libvenv/box/store.h"
#include "libvenv/util/digest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { BLOBS_MAX = 10 };

struct blobs {
	char hex[BLOBS_MAX][DIGEST_HEX_SIZE];
	size_t size[BLOBS_MAX];
	size_t count;
};

static void expand(const struct blobs *blobs, const uint8_t *data, size_t size, struct buf *text)
{
	for (size_t i = 0; i < size; i++) {
		size_t n = i + 1 < size ? (size_t)data[i + 1] - '0' : BLOBS_MAX;

		if (n < blobs->count && data[i] == '@')
			venv__buf_printf(text, "sha256:%s", blobs->hex[n]);
		else if (n < blobs->count && data[i] == '$')
			venv__buf_puts(text, blobs->hex[n]);
		else if (n < blobs->count && data[i] == '#')
			venv__buf_printf(text, "%zu", blobs->size[n]);
		else
			n = BLOBS_MAX;
		if (n == BLOBS_MAX)
			venv__buf_add(text, &data[i], 1);
		else
			i++;
	}
}

static void put(int dir, const char *name, const struct buf *text)
{
	_cleanup_close_ int fd =
		openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (fd < 0 || venv__write_all(fd, text->data ? text->data : "", text->length) < 0)
		abort();
}

static void lay_out(int dir, const uint8_t *data, size_t size)
{
	static const char mark[] = "\n%%\n";
	bool saved = size && *data == 'D';
	struct blobs blobs = { .count = 0 };

	data += saved;
	size -= saved;
	for (;;) {
		const uint8_t *end = memmem(data, size, mark, sizeof(mark) - 1);
		size_t length = end ? (size_t)(end - data) : size;
		_cleanup_buf_ struct buf text = { 0 };
		char name[128];

		expand(&blobs, data, length, &text);
		if (!end || blobs.count == BLOBS_MAX) {
			put(dir, saved ? "manifest.json" : "index.json", &text);
			return;
		}
		if (venv__digest_of(text.data ? text.data : "", text.length,
				    blobs.hex[blobs.count]) < 0)
			abort();
		blobs.size[blobs.count] = text.length;
		(void)snprintf(name, sizeof(name), "blobs/sha256/%s", blobs.hex[blobs.count++]);
		put(dir, name, &text);
		data += length + sizeof(mark) - 1;
		size -= length + sizeof(mark) - 1;
	}
}

static void check(const struct image *image)
{
	if (!image->architecture || !image->config || !image->n_layers ||
	    (image->name && !venv__name_valid(image->name)))
		abort();
	for (size_t i = 0; i < image->n_layers; i++)
		if (!image->layers[i].path || strlen(image->layers[i].diff_id) != 64 ||
		    strspn(image->layers[i].diff_id, "0123456789abcdef") != 64)
			abort();
}

static void record(int dir, const struct image *image)
{
	static char path[] = "/nowhere";
	struct store store = { .path = path, .dir = dir, .records = dir, .layers = dir };
	_cleanup_record_ struct record written = { 0 }, read = { 0 };
	_cleanup_box_ struct box box = { 0 };

	written.architecture = strdup(image->architecture);
	written.config = json_incref(image->config);
	written.layers = calloc(image->n_layers, sizeof(*written.layers));
	written.n_layers = image->n_layers;
	for (size_t i = 0; i < image->n_layers; i++) {
		memcpy(written.layers[i].key, image->layers[i].diff_id, DIGEST_HEX_SIZE);
		memcpy(written.layers[i].diff_id, image->layers[i].diff_id, DIGEST_HEX_SIZE);
		(void)mkdirat(dir, written.layers[i].key, 0700);
	}
	if (venv__record_seal(&written, NULL) < 0 ||
	    venv__record_write(&store, &written, NULL) < 0 ||
	    venv__record_read(&store, written.digest, &read, NULL) < 0 ||
	    !json_equal(written.config, read.config))
		abort();
	if (venv__record_to_box(&store, &read, "x", "1", &box, NULL) < 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char path[] = "/dev/shm/venv-fuzz.XXXXXX";
	_cleanup_image_ struct image image = { .dir = -1 };
	_cleanup_error_ venv_error *error = NULL;
	int dir;

	if (!mkdtemp(path))
		return 0;
	dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0 || mkdirat(dir, "blobs", 0700) < 0 || mkdirat(dir, "blobs/sha256", 0700) < 0)
		abort();
	lay_out(dir, data, size);
	if (venv__image_read(dup(dir), size & 1, NULL, &image, &error) == 0) {
		check(&image);
		record(dir, &image);
	} else if (!*venv_error_message(error)) {
		abort();
	}
	(void)close(dir);
	(void)venv__tree_delete(AT_FDCWD, path, NULL);
	return 0;
}
