/* SPDX-License-Identifier: Apache-2.0 */
/* The layers of a box that is being added (add_layers.c). */
#ifndef VENV_BOX_ADD_H
#define VENV_BOX_ADD_H

#include "store.h"

struct part { /* one layer */
	struct stage stage;
	int fs; /* its directory */
	int list;
	bool fresh; /* in the stage, to be published */
	bool synced;
	char chain[DIGEST_HEX_SIZE];
	struct layer_ref ref;
	json_t *counts;
};

struct adding {
	struct store *store;
	struct venv_op *op;
	struct part *parts;
	size_t n_parts, capacity;
	uint64_t done, total; /* bytes of sources */
};

void venv__adding_done(struct adding *a);
#define _cleanup_adding_ _cleanup_(venv__adding_done)

/* Room for so many parts: before the first. */
int venv__adding_reserve(struct adding *a, size_t n, venv_error **err);
struct part *venv__part_new(struct adding *a);
/* stage/<id>/fs, owned by the guest's root, and the list for the merge. */
int venv__part_stage(struct adding *a, struct part *p, venv_error **err);
/*
 * Unpack fd into the part's stage, as a "layer", a "box", or what it turns out to be ("auto"). ret_hash: of the file
 * as it is, or NULL.
 */
int venv__part_unpack(struct adding *a, struct part *p, int fd, const char *as, const char *what,
		      char *ret_hash, json_t **ret, venv_error **err);
/* What the unpacker said of a layer becomes the part's. */
int venv__part_take(struct adding *a, struct part *p, const json_t *result, const char *what,
		    venv_error **err);
/* The next part: the image's layer i, from the store or unpacked. */
int venv__part_add(struct adding *a, const struct image *image, size_t i, const char *source,
		   venv_error **err);
/* All of them to disk, and into layers/. */
int venv__adding_publish(struct adding *a, venv_error **err);
int64_t venv__adding_size(int fd); /* of a file; 0: not known */

#endif
