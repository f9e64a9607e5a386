/* SPDX-License-Identifier: Apache-2.0 */
/* The header of a qcow2 image: fixed fields, features, extensions, and the name of the file below. */
#ifndef VENV_DISK_QCOW2_HEADER_H
#define VENV_DISK_QCOW2_HEADER_H

#include "disk.h"

enum {
	QCOW2_MAGIC = 0x514649fb,
	QCOW2_HEADER_V2 = 72,
	QCOW2_HEADER_V3 = 104,
	QCOW2_HEADER_SIZE = 112, /* what we write */
	QCOW2_BACKING_MAX = 1023,
	QCOW2_L1_BYTES_MAX = 32 << 20,
	QCOW2_REFS_BYTES_MAX = 8 << 20,
};

enum { /* where the fields are */
       AT_MAGIC = 0,
       AT_VERSION = 4,
       AT_BACKING_OFFSET = 8,
       AT_BACKING_SIZE = 16,
       AT_CLUSTER_BITS = 20,
       AT_SIZE = 24,
       AT_CRYPT = 32,
       AT_L1_SIZE = 36,
       AT_L1_OFFSET = 40,
       AT_REFS_OFFSET = 48,
       AT_REFS_CLUSTERS = 56,
       AT_N_SNAPSHOTS = 60,
       AT_SNAPSHOTS = 64,
       AT_INCOMPATIBLE = 72,
       AT_COMPATIBLE = 80,
       AT_AUTOCLEAR = 88,
       AT_REF_ORDER = 96,
       AT_HEADER_LENGTH = 100,
       AT_COMPRESSION = 104,
};

enum { /* incompatible features: bits */
       QCOW2_DIRTY = 0,
       QCOW2_CORRUPT = 1,
       QCOW2_DATA_FILE = 2,
       QCOW2_COMPRESSION = 3,
       QCOW2_EXTENDED_L2 = 4,
};

enum {
	QCOW2_EXT_END = 0,
	QCOW2_EXT_BACKING_FORMAT = (int)0xe2792aca,
	QCOW2_EXT_FEATURES = 0x6803f857,
};

struct qcow2_header {
	unsigned version;
	unsigned cluster_bits;
	uint64_t size; /* of the disk */
	uint64_t l1_offset, refs_offset, snapshots_offset;
	uint32_t l1_size, refs_clusters, n_snapshots;
	uint64_t incompatible, autoclear;
	unsigned ref_order; /* log2 of the bits of a refcount */
	unsigned length;    /* of the header */
	bool zstd;
	char backing[QCOW2_BACKING_MAX + 1]; /* "": none */
	char backing_format[32];             /* "": not said */
};

/* Read and check all that can be checked without a look at the tables. */
int venv__qcow2_header_read(int fd, const char *name, struct qcow2_header *ret, venv_error **err);
/* VENV_ERR_UNSUPPORTED: it says none, or one that we do not read. */
int venv__qcow2_backing_format(const struct qcow2_header *header, enum disk_format *ret,
			       venv_error **err);
/* L1 entries that a disk of this length needs; UINT64_MAX: more than there may be. */
uint64_t venv__qcow2_l1_size(uint64_t size, unsigned cluster_bits);
/* Overwrite one field, which is as good as atomic. 0 or -errno */
int venv__qcow2_header_put64(int fd, unsigned at, uint64_t value);

#endif
