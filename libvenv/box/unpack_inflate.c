/* SPDX-License-Identifier: Apache-2.0 */
#include "unpack_inflate.h"

#include <lzma.h>
#include <stdbool.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

enum { INPUT_SIZE = 256 * 1024, XZ_MEMORY = 512 * 1024 * 1024 };

struct inflater {
	const struct codec *codec;
	int fd;
	uint64_t position;
	unsigned char *input;
	size_t start, end; /* of what is not consumed in input */
	bool eof;          /* of the descriptor */
	bool ended;        /* of what can be inflated */
	bool inside;       /* a frame is open: the end would be too early */
	z_stream gzip;
	lzma_stream xz;
	ZSTD_DStream *zstd;
};

struct codec {
	const char *name;
	int (*open)(struct inflater *inflater);
	/* Consume input, produce output; returns 0, or -1 with *why set. */
	int (*work)(struct inflater *inflater, unsigned char *out, size_t size, size_t *done,
		    const char **why);
	void (*close)(struct inflater *inflater);
};

static int fill(struct inflater *in, venv_error **err)
{
	ssize_t n;

	if (in->eof || in->start < in->end)
		return 0;
	do
		n = read(in->fd, in->input, INPUT_SIZE);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return venv__fail_errno(err, errno, "cannot read the archive");
	in->eof = n == 0;
	in->start = 0;
	in->end = (size_t)n;
	in->position += (uint64_t)n;
	return 0;
}

/* ---- gzip --------------------------------------------------------------------------------- */

static int gzip_open(struct inflater *in)
{
	return inflateInit2(&in->gzip, 15 + 16) == Z_OK ? 0 : -1;
}

static int gzip_work(struct inflater *in, unsigned char *out, size_t size, size_t *done,
		     const char **why)
{
	int r;

	if (!in->inside) {
		/* between members: padding or something appended ends the data, as with gzip itself */
		if (in->input[in->start] != 0x1f) {
			in->ended = true;
			return 0;
		}
		(void)inflateReset(&in->gzip);
		in->inside = true;
	}
	in->gzip.next_in = in->input + in->start;
	in->gzip.avail_in = (uInt)(in->end - in->start);
	in->gzip.next_out = out;
	in->gzip.avail_out = (uInt)size;
	r = inflate(&in->gzip, Z_NO_FLUSH);
	in->start = in->end - in->gzip.avail_in;
	*done = size - in->gzip.avail_out;
	if (r == Z_STREAM_END)
		in->inside = false;
	else if (r != Z_OK && r != Z_BUF_ERROR) {
		*why = in->gzip.msg ? in->gzip.msg : "data error";
		return -1;
	}
	return 0;
}

static void gzip_close(struct inflater *in)
{
	(void)inflateEnd(&in->gzip);
}

/* ---- xz ----------------------------------------------------------------------------------- */

static int xz_open(struct inflater *in)
{
	in->inside = true;
	return lzma_stream_decoder(&in->xz, XZ_MEMORY, LZMA_CONCATENATED) == LZMA_OK ? 0 : -1;
}

static int xz_work(struct inflater *in, unsigned char *out, size_t size, size_t *done,
		   const char **why)
{
	lzma_ret r;

	in->xz.next_in = in->input + in->start;
	in->xz.avail_in = in->end - in->start;
	in->xz.next_out = out;
	in->xz.avail_out = size;
	r = lzma_code(&in->xz, in->eof ? LZMA_FINISH : LZMA_RUN);
	in->start = in->end - in->xz.avail_in;
	*done = size - in->xz.avail_out;
	if (r == LZMA_STREAM_END) {
		in->inside = false;
		in->ended = true;
	} else if (r != LZMA_OK && !(r == LZMA_BUF_ERROR && !in->eof)) {
		*why = r == LZMA_MEMLIMIT_ERROR ? "it needs more than 512 MiB of memory"
		       : r == LZMA_BUF_ERROR    ? "it is cut short"
						: "data error";
		return -1;
	}
	return 0;
}

static void xz_close(struct inflater *in)
{
	lzma_end(&in->xz);
}

/* ---- zstd --------------------------------------------------------------------------------- */

static int zstd_open(struct inflater *in)
{
	in->zstd = ZSTD_createDStream();
	return in->zstd ? 0 : -1;
}

static int zstd_work(struct inflater *in, unsigned char *out, size_t size, size_t *done,
		     const char **why)
{
	ZSTD_inBuffer input = { in->input, in->end, in->start };
	ZSTD_outBuffer output = { out, size, 0 };
	size_t r = ZSTD_decompressStream(in->zstd, &output, &input);

	in->start = input.pos;
	*done = output.pos;
	if (ZSTD_isError(r)) {
		*why = ZSTD_getErrorName(r);
		return -1;
	}
	in->inside = r != 0;
	return 0;
}

static void zstd_close(struct inflater *in)
{
	(void)ZSTD_freeDStream(in->zstd);
}

/* ---- What it is --------------------------------------------------------------------------- */

static const struct codec gzip = { "gzip", gzip_open, gzip_work, gzip_close };
static const struct codec xz = { "xz", xz_open, xz_work, xz_close };
static const struct codec zstd = { "zstd", zstd_open, zstd_work, zstd_close };

static const struct {
	const char *magic;
	size_t length;
	const struct codec *codec;
	const char *refused;
} kinds[] = {
	{ "\x1f\x8b", 2, &gzip, NULL },
	{ "\xfd"
	  "7zXZ",
	  5, &xz, NULL },
	{ "\x28\xb5\x2f\xfd", 4, &zstd, NULL },
	{ "BZh", 3, NULL, "it is compressed by bzip2: use gzip, xz or zstd" },
	{ "\x04\x22\x4d\x18", 4, NULL, "it is compressed by lz4: use gzip, xz or zstd" },
	{ "QFI\xfb", 4, NULL, "it is a qcow2 disk, no root file system" },
	{ "PK\x03\x04", 4, NULL, "it is a zip archive: make a tar archive" },
	{ "7z\xbc\xaf", 4, NULL, "it is a 7z archive: make a tar archive" },
	{ "hsqs", 4, NULL, "it is a squashfs image: make a tar archive" },
	{ "!<arch>\n", 8, NULL, "it is an ar archive or a Debian package: make a tar archive" },
};

static bool skippable_frame(const unsigned char *p, size_t n)
{
	return n >= 4 && (p[0] & 0xf0) == 0x50 && p[1] == 0x2a && p[2] == 0x4d && p[3] == 0x18;
}

/* The checksum of a tar header: every kind of tar has it. All zero is an empty archive. */
static bool tar_header(const unsigned char *p, size_t n)
{
	unsigned long sum = 0, stated;
	char text[9] = { 0 };
	int signed_sum = 0;
	bool zero = true;

	if (n < 512)
		return false;
	for (size_t i = 0; i < 512; i++) {
		unsigned char c = i >= 148 && i < 156 ? ' ' : p[i];

		sum += c;
		signed_sum += (signed char)c;
		zero = zero && !p[i];
	}
	memcpy(text, p + 148, 8);
	stated = strtoul(text, NULL, 8);
	return zero || stated == sum || (signed_sum >= 0 && stated == (unsigned long)signed_sum);
}

static int recognize(struct inflater *in, venv_error **err)
{
	const unsigned char *p = in->input;
	size_t n = in->end;

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (n < kinds[i].length || memcmp(p, kinds[i].magic, kinds[i].length) != 0)
			continue;
		in->codec = kinds[i].codec;
		return kinds[i].refused ? venv__fail(err, VENV_ERR_BOX, "%s", kinds[i].refused) : 0;
	}
	if (skippable_frame(p, n)) {
		in->codec = &zstd;
		return 0;
	}
	if (tar_header(p, n))
		return 0;
	return venv__fail(err, VENV_ERR_BOX,
			  n ? "it is no tar archive (plain, .gz, .xz or .zst)"
			    : "the file is empty");
}

/* Regular files give whole blocks; a pipe may give less than a header at first. */
static int fill_first(struct inflater *in, venv_error **err)
{
	while (in->end < 512 && !in->eof) {
		ssize_t n = read(in->fd, in->input + in->end, INPUT_SIZE - in->end);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return venv__fail_errno(err, errno, "cannot read the archive");
		in->eof = n == 0;
		in->end += (size_t)n;
		in->position += (uint64_t)n;
	}
	return 0;
}

int venv__inflater_new(int fd, struct inflater **ret, venv_error **err)
{
	struct inflater *in = calloc(1, sizeof(*in));
	int r;

	if (!in)
		return venv__fail_nomem(err);
	in->fd = fd;
	in->xz = (lzma_stream)LZMA_STREAM_INIT;
	in->input = calloc(1, INPUT_SIZE); /* fresh pages: as cheap as malloc(), and never unset */
	r = in->input ? fill_first(in, err) : venv__fail_nomem(err);
	if (r == 0)
		r = recognize(in, err);
	if (r < 0)
		in->codec = NULL;
	if (r == 0 && in->codec && in->codec->open(in) < 0)
		r = venv__fail_nomem(err);
	if (r < 0) {
		venv__inflater_free(in);
		return r;
	}
	*ret = in;
	return 0;
}

static int read_plain(struct inflater *in, unsigned char *out, size_t size, size_t *ret_length,
		      venv_error **err)
{
	ssize_t n;

	if (in->start < in->end) { /* what was looked at */
		*ret_length = MIN(size, in->end - in->start);
		memcpy(out, in->input + in->start, *ret_length);
		in->start += *ret_length;
		return 0;
	}
	do
		n = read(in->fd, out, size);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return venv__fail_errno(err, errno, "cannot read the archive");
	in->position += (uint64_t)n;
	*ret_length = (size_t)n;
	return 0;
}

static int cut_short(const struct inflater *in, venv_error **err)
{
	int r = venv__fail(err, VENV_ERR_BOX, "the %s data is cut short", in->codec->name);

	return venv__hint(r, err, "the file is incomplete: make or download it again");
}

int venv__inflater_read(struct inflater *in, void *space, size_t size, size_t *ret_length,
			venv_error **err)
{
	size_t total = 0;
	bool at_end;
	int r;

	if (!in->codec)
		return read_plain(in, space, size, ret_length, err);
	while (total < size && !in->ended) {
		const char *why = "";
		size_t done = 0;

		r = fill(in, err);
		if (r < 0)
			return r;
		at_end = in->eof && in->start == in->end;
		if (at_end && !in->inside)
			break;
		if (in->codec->work(in, (unsigned char *)space + total, size - total, &done, &why) <
		    0)
			return venv__fail(err, VENV_ERR_BOX, "the %s data is damaged: %s",
					  in->codec->name, why);
		total += done;
		/* nothing came out of what the codec still held back */
		if (at_end && !done && !in->ended && in->inside)
			return cut_short(in, err);
	}
	*ret_length = total;
	return 0;
}

uint64_t venv__inflater_position(const struct inflater *in)
{
	return in->position;
}

void venv__inflater_free(struct inflater *in)
{
	if (!in)
		return;
	if (in->codec)
		in->codec->close(in);
	free(in->input);
	free(in);
}
