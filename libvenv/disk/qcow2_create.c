/* SPDX-License-Identifier: Apache-2.0 */
/* A new image: the header with its extensions, an empty L1, refcounts. Version 3, 16-bit refcounts. */
#include <string.h>

#include "bytes.h"
#include "qcow2.h"

enum { REF_ORDER = 4 };

static const char *const format_names[] = { [DISK_RAW] = "raw", [DISK_QCOW2] = "qcow2" };

struct layout {
	unsigned cluster_bits;
	uint64_t l1_size, l1_clusters;
	struct refs_plan refs;
};

static int lay_out(const struct disk_create *create, struct layout *ret, venv_error **err)
{
	unsigned bits = create->cluster_bits ? create->cluster_bits : DISK_CLUSTER_BITS_DEFAULT;
	uint64_t cluster = 1ULL << bits, data, tables;

	if (bits < DISK_CLUSTER_BITS_MIN || bits > DISK_CLUSTER_BITS_MAX)
		return venv__fail(err, VENV_ERR_INVALID,
				  "the size of the clusters is out of range");
	ret->cluster_bits = bits;
	ret->l1_size = venv__qcow2_l1_size(create->length, bits);
	if (ret->l1_size == UINT64_MAX)
		return venv__fail(err, VENV_ERR_INVALID,
				  "too large for a disk with clusters of %llu bytes",
				  (unsigned long long)cluster);
	ret->l1_clusters = (ret->l1_size * 8 + cluster - 1) >> bits;
	ret->refs = (struct refs_plan){
		.cluster_bits = bits,
		.ref_order = REF_ORDER,
		.start = 1 + ret->l1_clusters,
	};
	/* room in the refcount table for all that may come, as far as it may be that large */
	data = (create->length >> bits) + 1;
	tables = ret->l1_size + ret->l1_clusters + data / (cluster / 2) + 64;
	data = MIN(data + tables, (QCOW2_REFS_BYTES_MAX / 8ULL) << (bits - 1));
	venv__refs_plan(&ret->refs, data);
	return 0;
}

static uint8_t *put_extension(uint8_t *at, uint32_t type, const char *data, size_t size)
{
	put_be32(at, type);
	put_be32(at + 4, (uint32_t)size);
	memcpy(at + 8, data, size);
	return at + 8 + ((size + 7) & ~7U);
}

/* The names by which other programs tell what they miss: type, bit, name. */
static uint8_t *put_features(uint8_t *at)
{
	static const struct {
		uint8_t bit;
		const char *name;
	} features[] = {
		{ QCOW2_DIRTY, "dirty bit" },
		{ QCOW2_CORRUPT, "corrupt bit" },
	};
	char table[ARRAY_SIZE(features) * 48] = "";

	for (size_t i = 0; i < ARRAY_SIZE(features); i++) {
		table[i * 48 + 1] = (char)features[i].bit;
		memcpy(table + i * 48 + 2, features[i].name, strlen(features[i].name));
	}
	return put_extension(at, QCOW2_EXT_FEATURES, table, sizeof(table));
}

static int put_header(uint8_t *header, const struct disk_create *create,
		      const struct layout *layout, venv_error **err)
{
	uint64_t cluster = 1ULL << layout->cluster_bits;
	size_t name = create->backing ? strlen(create->backing) : 0;
	uint8_t *at = header + QCOW2_HEADER_SIZE;

	if (name > QCOW2_BACKING_MAX || (create->backing && !name))
		return venv__fail(err, VENV_ERR_INVALID, "the name of the file below is too long");
	put_be32(header + AT_MAGIC, QCOW2_MAGIC);
	put_be32(header + AT_VERSION, 3);
	put_be32(header + AT_CLUSTER_BITS, layout->cluster_bits);
	put_be64(header + AT_SIZE, create->length);
	put_be32(header + AT_L1_SIZE, (uint32_t)layout->l1_size);
	put_be64(header + AT_L1_OFFSET, layout->l1_size ? cluster : 0);
	put_be64(header + AT_REFS_OFFSET, (layout->refs.start + layout->refs.n_blocks)
						  << layout->cluster_bits);
	put_be32(header + AT_REFS_CLUSTERS, (uint32_t)layout->refs.table_clusters);
	put_be32(header + AT_REF_ORDER, REF_ORDER);
	put_be32(header + AT_HEADER_LENGTH, QCOW2_HEADER_SIZE);
	if (create->backing) {
		const char *format = format_names[create->backing_format];

		at = put_extension(at, (uint32_t)QCOW2_EXT_BACKING_FORMAT, format, strlen(format));
	}
	at = put_features(at);
	at = put_extension(at, QCOW2_EXT_END, "", 0);
	if (name > cluster - (uint64_t)(at - header))
		return venv__fail(err, VENV_ERR_INVALID, "the name of the file below is too long");
	if (name) {
		put_be64(header + AT_BACKING_OFFSET, (uint64_t)(at - header));
		put_be32(header + AT_BACKING_SIZE, (uint32_t)name);
		memcpy(at, create->backing, name);
	}
	return 0;
}

int venv__qcow2_create(int fd, const struct disk_create *create, venv_error **err)
{
	_cleanup_free_ uint16_t *counts = NULL;
	_cleanup_free_ uint8_t *header = NULL;
	struct layout layout;
	uint64_t cluster;
	int r = lay_out(create, &layout, err);

	if (r < 0)
		return r;
	cluster = 1ULL << layout.cluster_bits;
	header = calloc(1, cluster);
	counts = calloc(layout.refs.start, sizeof(*counts));
	if (!header || !counts)
		return venv__fail_nomem(err);
	for (uint64_t i = 0; i < layout.refs.start; i++)
		counts[i] = 1;
	r = put_header(header, create, &layout, err);
	if (r < 0)
		return r;
	r = venv__refs_write(fd, &layout.refs, counts, NULL);
	if (r >= 0)
		r = venv__pwrite_zeroes(fd, layout.l1_clusters * cluster, cluster);
	if (r >= 0) /* last: an image that is not whole is none */
		r = venv__pwrite_all(fd, header, cluster, 0);
	return r < 0 ? venv__fail_errno(err, -r, "cannot make a disk") : 0;
}
