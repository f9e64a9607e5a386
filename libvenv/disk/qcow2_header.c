/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading a stranger's header. Every number is checked here against what the format allows, against the
 * limits of ours and against the length of the file, so that the rest can compute with them: with at
 * most 2^21 bytes a cluster, 32 MiB of L1 and 8 MiB of refcount table nothing overflows 63 bits.
 *
 * Only fixed fields are ever written again, in place: extensions that we do not know stay as they are.
 */
#include "qcow2_header.h"

#include <string.h>
#include <sys/stat.h>

#include "bytes.h"
#include "vec.h"

/* What is read of an image before its fields are known: all headers that a cluster has room for, and we. */
enum { HEAD_SIZE = 64 * 1024 };

struct head {
	const char *name;
	const uint8_t *data;
	size_t size; /* bytes of the file at data; beyond are zeroes up to HEAD_SIZE */
	uint64_t file_size;
};

static int bad(const struct head *head, venv_error **err, const char *what)
{
	return venv__fail(err, VENV_ERR_CORRUPT, "disk '%s': %s", head->name, what);
}

/* ---- features ---------------------------------------------------------------------------------- */

static const char *const known_features[] = {
	[QCOW2_DIRTY] = NULL, /* dealt with */
	[QCOW2_CORRUPT] = NULL,     [QCOW2_DATA_FILE] = "external data file",
	[QCOW2_COMPRESSION] = NULL, [QCOW2_EXTENDED_L2] = "extended L2 entries",
};

/* What the image itself calls an incompatible feature: entries of type, bit and 46 bytes of name. */
static void name_feature(const uint8_t *table, size_t size, unsigned bit, char *ret, size_t max)
{
	(void)snprintf(ret, max, "unknown feature %u", bit);
	for (; size >= 48; size -= 48, table += 48) {
		if (table[0] != 0 || table[1] != bit)
			continue;
		(void)snprintf(ret, max, "%.46s", (const char *)table + 2);
		for (char *c = ret; *c; c++) {
			if (*c < ' ' || *c > '~')
				*c = '?';
		}
	}
}

static int check_features(const struct head *head, const struct qcow2_header *header,
			  const uint8_t *names, size_t names_size, venv_error **err)
{
	for (unsigned bit = 0; bit < 64; bit++) {
		char name[64];

		if (!(header->incompatible >> bit & 1))
			continue;
		if (bit < ARRAY_SIZE(known_features) && !known_features[bit])
			continue;
		if (bit < ARRAY_SIZE(known_features))
			(void)snprintf(name, sizeof(name), "%s", known_features[bit]);
		else
			name_feature(names, names_size, bit, name, sizeof(name));
		return venv__hint(
			venv__fail(err, VENV_ERR_UNSUPPORTED,
				   "disk '%s' needs a feature of qcow2 that is not supported: %s",
				   head->name, name),
			err, "convert it: qemu-img convert -O qcow2 OLD NEW");
	}
	return 0;
}

/* ---- fields ------------------------------------------------------------------------------------ */

static int check_compression(const struct head *head, struct qcow2_header *header, venv_error **err)
{
	unsigned type = header->length > AT_COMPRESSION ? head->data[AT_COMPRESSION] : 0;
	bool said = header->incompatible >> QCOW2_COMPRESSION & 1;

	if (type > 1)
		return venv__fail(err, VENV_ERR_UNSUPPORTED,
				  "disk '%s': compression type %u is not supported", head->name,
				  type);
	if (said != (type != 0))
		return bad(head, err, "compression type and feature bit contradict each other");
	header->zstd = type == 1;
	return 0;
}

static int parse_version(const struct head *head, struct qcow2_header *header, venv_error **err)
{
	const uint8_t *d = head->data;

	if (head->size < QCOW2_HEADER_V2 || get_be32(d + AT_MAGIC) != QCOW2_MAGIC)
		return bad(head, err, "not a qcow2 image");
	header->version = get_be32(d + AT_VERSION);
	if (header->version != 2 && header->version != 3)
		return venv__fail(err, VENV_ERR_UNSUPPORTED,
				  "disk '%s': version %u of qcow2 is not supported", head->name,
				  header->version);
	header->ref_order = 4;
	header->length = QCOW2_HEADER_V2;
	if (header->version == 2)
		return 0;
	if (head->size < QCOW2_HEADER_V3)
		return bad(head, err, "the header is cut off");
	header->incompatible = get_be64(d + AT_INCOMPATIBLE);
	header->autoclear = get_be64(d + AT_AUTOCLEAR);
	header->ref_order = get_be32(d + AT_REF_ORDER);
	header->length = get_be32(d + AT_HEADER_LENGTH);
	return 0;
}

struct limit {
	bool wrong;
	const char *what;
};

static int check_limits(const struct head *head, const struct limit *limits, size_t n,
			venv_error **err)
{
	for (size_t i = 0; i < n; i++) {
		if (limits[i].wrong)
			return bad(head, err, limits[i].what);
	}
	return 0;
}

/* Whether [offset, offset + size) is no piece of the file that begins at a cluster. The last cluster may
 * be there in part. */
static bool misplaced(const struct head *head, const struct qcow2_header *header, uint64_t offset,
		      uint64_t size)
{
	uint64_t mask = (1ULL << header->cluster_bits) - 1;
	uint64_t end = (head->file_size + mask) & ~mask;

	return (offset & mask) || !offset || offset > end || size > end - offset;
}

uint64_t venv__qcow2_l1_size(uint64_t size, unsigned cluster_bits)
{
	unsigned bits = cluster_bits + cluster_bits - 3;
	uint64_t n = (size >> bits) + ((size & ((1ULL << bits) - 1)) != 0);

	return n > QCOW2_L1_BYTES_MAX / 8 ? UINT64_MAX : n;
}

static int parse_fields(const struct head *head, struct qcow2_header *h, venv_error **err)
{
	const uint8_t *d = head->data;

	h->cluster_bits = get_be32(d + AT_CLUSTER_BITS);
	h->size = get_be64(d + AT_SIZE);
	h->l1_size = get_be32(d + AT_L1_SIZE);
	h->l1_offset = get_be64(d + AT_L1_OFFSET);
	h->refs_offset = get_be64(d + AT_REFS_OFFSET);
	h->refs_clusters = get_be32(d + AT_REFS_CLUSTERS);
	h->n_snapshots = get_be32(d + AT_N_SNAPSHOTS);
	h->snapshots_offset = get_be64(d + AT_SNAPSHOTS);
	if (h->cluster_bits < DISK_CLUSTER_BITS_MIN || h->cluster_bits > DISK_CLUSTER_BITS_MAX)
		return bad(head, err, "the size of its clusters is out of range");
	if (get_be32(d + AT_CRYPT))
		return venv__fail(err, VENV_ERR_UNSUPPORTED,
				  "disk '%s' is encrypted, which is not supported", head->name);
	{
		uint64_t cluster = 1ULL << h->cluster_bits;
		uint64_t l1_bytes = 8ULL * h->l1_size;
		uint64_t ref_bytes = (uint64_t)h->refs_clusters << h->cluster_bits;
		const struct limit limits[] = {
			{ h->size > INT64_MAX, "its length is out of range" },
			{ h->ref_order > 6, "the size of its refcounts is out of range" },
			{ h->version > 2 && (h->length < QCOW2_HEADER_V3 || h->length % 8 ||
					     h->length > cluster || h->length > HEAD_SIZE),
			  "the length of the header is out of range" },
			{ l1_bytes > QCOW2_L1_BYTES_MAX, "the L1 table is too large" },
			{ h->l1_size < venv__qcow2_l1_size(h->size, h->cluster_bits),
			  "the L1 table is too small for the disk" },
			{ h->l1_size && misplaced(head, h, h->l1_offset, l1_bytes),
			  "the L1 table lies outside of the file" },
			{ !h->refs_clusters, "there is no refcount table" },
			{ ref_bytes > QCOW2_REFS_BYTES_MAX, "the refcount table is too large" },
			{ misplaced(head, h, h->refs_offset, ref_bytes),
			  "the refcount table lies outside of the file" },
			{ h->n_snapshots > 65536, "there are too many snapshots" },
			{ h->n_snapshots && misplaced(head, h, h->snapshots_offset, 1),
			  "the snapshots lie outside of the file" },
		};

		return check_limits(head, limits, ARRAY_SIZE(limits), err);
	}
}

/* ---- the rest of the first cluster --------------------------------------------------------------- */

static int parse_backing(const struct head *head, struct qcow2_header *header, venv_error **err)
{
	uint64_t offset = get_be64(head->data + AT_BACKING_OFFSET);
	uint32_t size = get_be32(head->data + AT_BACKING_SIZE);
	uint64_t end = MIN((uint64_t)HEAD_SIZE, 1ULL << header->cluster_bits);

	if (!offset || !size)
		return 0;
	if (size > QCOW2_BACKING_MAX)
		return bad(head, err, "the name of the file below is too long");
	if (offset < header->length || offset > end || size > end - offset)
		return bad(head, err, "the name of the file below lies outside of the header");
	memcpy(header->backing, head->data + offset, size);
	if (memchr(header->backing, 0, size))
		return bad(head, err, "the name of the file below has a zero in it");
	return 0;
}

static int parse_extensions(const struct head *head, struct qcow2_header *header,
			    const uint8_t **ret_names, size_t *ret_names_size, venv_error **err)
{
	uint64_t backing = get_be64(head->data + AT_BACKING_OFFSET);
	uint64_t end = MIN((uint64_t)HEAD_SIZE, 1ULL << header->cluster_bits);
	uint64_t at = header->length;

	if (header->backing[0])
		end = MIN(end, backing);
	for (uint64_t size; at + 8 <= end; at += 8 + ((size + 7) & ~7ULL)) {
		uint32_t type = get_be32(head->data + at);
		const uint8_t *data = head->data + at + 8;

		size = get_be32(head->data + at + 4);
		if (type == QCOW2_EXT_END)
			break;
		if (size > end - at - 8)
			return bad(head, err, "a header extension is cut off");
		if (type == (uint32_t)QCOW2_EXT_FEATURES) {
			*ret_names = data;
			*ret_names_size = size;
		}
		if (type != (uint32_t)QCOW2_EXT_BACKING_FORMAT)
			continue;
		if (size >= sizeof(header->backing_format))
			return bad(head, err, "the format of the file below is too long");
		memcpy(header->backing_format, data, size);
	}
	return 0;
}

int venv__qcow2_header_read(int fd, const char *name, struct qcow2_header *ret, venv_error **err)
{
	_cleanup_free_ uint8_t *data = malloc(HEAD_SIZE);
	struct head head = { .name = name, .data = data };
	const uint8_t *names = NULL;
	size_t names_size = 0;
	off_t end = lseek(fd, 0, SEEK_END);
	int r;

	if (!data)
		return venv__fail_nomem(err);
	r = end < 0 ? -errno : venv__pread_all(fd, data, HEAD_SIZE, 0);
	if (r < 0)
		return venv__fail_errno(err, -r, "cannot read disk '%s'", name);
	head.file_size = (uint64_t)end;
	head.size = (size_t)MIN(head.file_size, (uint64_t)HEAD_SIZE);
	*ret = (struct qcow2_header){ 0 };
	r = parse_version(&head, ret, err);
	if (r >= 0)
		r = parse_fields(&head, ret, err);
	if (r >= 0)
		r = parse_backing(&head, ret, err);
	if (r >= 0)
		r = parse_extensions(&head, ret, &names, &names_size, err);
	if (r >= 0)
		r = check_features(&head, ret, names, names_size, err);
	return r < 0 ? r : check_compression(&head, ret, err);
}

int venv__qcow2_backing_format(const struct qcow2_header *header, enum disk_format *ret,
			       venv_error **err)
{
	static const struct {
		const char *name;
		enum disk_format format;
	} formats[] = { { "raw", DISK_RAW }, { "qcow2", DISK_QCOW2 } };

	for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
		if (strcmp(header->backing_format, formats[i].name) == 0) {
			*ret = formats[i].format;
			return 0;
		}
	}
	if (!header->backing_format[0])
		return venv__hint(venv__fail(err, VENV_ERR_UNSUPPORTED,
					     "the image does not say the format of '%s' below it",
					     header->backing),
				  err, "say it: qemu-img rebase -u -b FILE -F FORMAT IMAGE");
	return venv__fail(err, VENV_ERR_UNSUPPORTED,
			  "the image lies on a file of a format that is not supported");
}

int venv__qcow2_header_put64(int fd, unsigned at, uint64_t value)
{
	uint8_t field[8];

	put_be64(field, value);
	return venv__pwrite_all(fd, field, sizeof(field), at);
}
