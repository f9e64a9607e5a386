/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compressed clusters: zlib without a header, or a zstd frame. They lie anywhere in the file, also across
 * its clusters, and are only read: what is written goes to a cluster of its own. The cluster unpacked last
 * is kept, because small reads come in order. Nothing is unpacked beyond the size of a cluster.
 */
#include <zlib.h>
#include <zstd.h>

#include "bytes.h"
#include "qcow2.h"

enum { ZSTD_WINDOW_BITS = 23 }; /* 8 MiB: more than any cluster needs */

struct zip {
	uint8_t *data;   /* a cluster */
	uint64_t entry;  /* whose data it is; 0: of none */
	uint8_t *packed; /* as it lies in the file */
	z_stream z;
	ZSTD_DCtx *zstd; /* NULL: zlib */
};

void venv__zip_free(struct zip *zip)
{
	if (!zip)
		return;
	if (zip->zstd)
		(void)ZSTD_freeDCtx(zip->zstd);
	else
		(void)inflateEnd(&zip->z);
	free(zip->data);
	free(zip->packed);
	free(zip);
}

static struct zip *new_zip(uint64_t cluster_size, bool zstd)
{
	struct zip *zip = calloc(1, sizeof(*zip));

	if (!zip)
		return NULL;
	zip->data = malloc(cluster_size);
	/* an entry has bits for 2^(cluster_bits - 8) sectors */
	zip->packed = malloc(2 * cluster_size);
	if (zstd)
		zip->zstd = ZSTD_createDCtx();
	else if (inflateInit2(&zip->z, -15) != Z_OK)
		zip->packed = (free(zip->packed), NULL);
	if (zip->data && zip->packed && (!zstd || zip->zstd))
		return zip;
	venv__zip_free(zip);
	return NULL;
}

static bool unzip_zlib(struct zip *zip, size_t packed_size, size_t size)
{
	int r = inflateReset(&zip->z);

	if (r != Z_OK)
		return false;
	zip->z.next_in = zip->packed;
	zip->z.avail_in = (uInt)packed_size;
	zip->z.next_out = zip->data;
	zip->z.avail_out = (uInt)size;
	r = inflate(&zip->z, Z_FINISH);
	/* Z_BUF_ERROR: what follows in the last sector is no longer ours */
	return (r == Z_STREAM_END || r == Z_BUF_ERROR) && !zip->z.avail_out;
}

static bool unzip_zstd(struct zip *zip, size_t packed_size, size_t size)
{
	ZSTD_inBuffer in = { zip->packed, packed_size, 0 };
	ZSTD_outBuffer out = { zip->data, size, 0 };

	(void)ZSTD_DCtx_reset(zip->zstd, ZSTD_reset_session_and_parameters);
	(void)ZSTD_DCtx_setParameter(zip->zstd, ZSTD_d_windowLogMax, ZSTD_WINDOW_BITS);
	while (out.pos < out.size) {
		size_t before = in.pos + out.pos;
		size_t r = ZSTD_decompressStream(zip->zstd, &out, &in);

		if (ZSTD_isError(r) || in.pos + out.pos == before)
			return false;
	}
	return true;
}

static int unzip(struct qcow2 *q, uint64_t entry, const struct cluster *c, venv_error **err)
{
	struct zip *zip = q->zip;
	bool ok;
	int r;

	if (zip->entry == entry)
		return 0;
	zip->entry = 0;
	r = venv__pread_all(q->disk.fd, zip->packed, c->packed_size, c->host);
	if (r < 0)
		return venv__qcow2_io(q, r, err);
	ok = zip->zstd ? unzip_zstd(zip, c->packed_size, q->cluster_size)
		       : unzip_zlib(zip, c->packed_size, q->cluster_size);
	if (!ok)
		return venv__fail(err, VENV_ERR_CORRUPT,
				  "disk '%s' is damaged: a compressed cluster cannot be unpacked",
				  q->disk.name);
	zip->entry = entry;
	return 0;
}

int venv__qcow2_unpack(struct disk *disk, uint64_t offset, struct vec *vec, uint64_t length,
		       venv_error **err)
{
	struct qcow2 *q = qcow2_of(disk);
	uint64_t *at, entry, n, inside = offset & (q->cluster_size - 1);
	struct cluster c;
	int r = venv__qcow2_entries(q, offset, false, &at, &n, err);

	if (r < 0)
		return r;
	entry = at ? get_be64(at) : 0;
	r = venv__qcow2_decode(q, entry, &c, err);
	if (r < 0)
		return r;
	if (c.kind != LAYER_PACKED || length > q->cluster_size - inside)
		return venv__fail(err, VENV_ERR_INVALID, "not compressed");
	if (!q->zip)
		q->zip = new_zip(q->cluster_size, q->header.zstd);
	if (!q->zip)
		return venv__fail_nomem(err);
	r = unzip(q, entry, &c, err);
	if (r < 0)
		return r;
	venv__vec_put(vec, q->zip->data + inside, length);
	return 0;
}
