/* SPDX-License-Identifier: Apache-2.0 */
/* Inside libvenv/box: the store's directories, staging, the unpacker, records. */
#ifndef VENV_BOX_STORE_H
#define VENV_BOX_STORE_H

#include "../util/digest.h"
#include "box.h"

/* ---- Store (store.c) ---------------------------------------------------------------------- */

struct store {
	struct venv *ctx;
	char *path; /* <data>/boxes */
	int dir, layers, disks, made, records, names, stage;
};
int venv__store_open(struct venv *ctx, struct store *ret, venv_error **err);
void venv__store_done(struct store *store);
#define _cleanup_store_ _cleanup_(venv__store_done)
#define STORE_INIT                                                                                 \
	{                                                                                          \
		NULL, NULL, -1, -1, -1, -1, -1, -1, -1                                             \
	}

/* Take a lock, asking op for cancellation while somebody else has it, and saying so. 0 or a code. */
int venv__store_wait(int fd, bool exclusive, const char *what, struct venv_op *op,
		     venv_error **err);
/* Hold the lock of one thing being made, as a box of this name: fd or a code. */
int venv__store_lock_name(const struct store *store, const char *name, struct venv_op *op,
			  venv_error **err);

/*
 * A staging directory: stage/<id>/ while stage/<id>.lock is held, by us or by an unpacker of ours that
 * still runs. One whose lock nobody holds is garbage and goes with venv__stage_sweep().
 */
struct stage {
	const struct store *store;
	char *id;
	int lock;
	int dir;
};
#define STAGE_INIT                                                                                 \
	{                                                                                          \
		NULL, NULL, -1, -1                                                                 \
	}
int venv__stage_new(const struct store *store, struct stage *ret, venv_error **err);
/* Removes what is still there. */
void venv__stage_done(struct stage *stage);
#define _cleanup_stage_ _cleanup_(venv__stage_done)
/* Move it to layers/<key>: 0, 1 when there is such a layer already, or a code. */
int venv__stage_publish(struct stage *stage, const char *key, venv_error **err);
void venv__stage_sweep(const struct store *store);

/* ---- The unpacker (worker.c) -------------------------------------------------------------- */

struct worker_task {
	const json_t *request;
	const int *fds;
	size_t n_fds;
	const int *more; /* for the merge: sent after the request */
	size_t n_more;
	int lock;         /* stays held while the unpacker lives; -1: none */
	const char *what; /* for messages: "layer 2 of 'x'" */
	struct venv_op *op;
	uint64_t base, total; /* of the progress of phase "unpack"; total 0: none is told */
	int hash_fd;          /* hash this file meanwhile; -1: none */
	bool tell_hash;       /* the progress is that of the hashing */
	char *ret_hash;       /* DIGEST_HEX_SIZE */
};
/* Run venv-unpack on it. ret may be NULL. */
int venv__worker_run(struct venv *ctx, struct worker_task *task, json_t **ret, venv_error **err);

/* ---- Images (image.c) --------------------------------------------------------------------- */

struct image_layer {
	char *path;    /* in the image's directory */
	char *digest;  /* hex of the blob; NULL: not named by its content */
	char *diff_id; /* hex */
	int64_t size;  /* stated; -1: not */
};

struct image {
	int dir;     /* of the layout or of the unpacked archive */
	bool inside; /* of a stranger's archive: links are followed only inside of dir */
	char *name;  /* from the image itself, or NULL */
	char *version;
	char *architecture;
	json_t *config;             /* the "config" object, reduced to what we take */
	struct image_layer *layers; /* bottom first */
	size_t n_layers;
};
/* The hint for it. */
#define VENV__IMAGE_DAMAGED "the image is damaged or was changed: make or download it again"
/* Read the manifests of an OCI layout or `docker save` directory. dir is taken over. */
int venv__image_read(int dir, bool inside, const char *tag, struct image *ret, venv_error **err);
int venv__image_open(const struct image *image, const char *path, venv_error **err);
void venv__image_done(struct image *image);
#define _cleanup_image_ _cleanup_(venv__image_done)
/* "amd64" of this host, of an ELF machine (NULL: unknown). */
const char *venv__architecture_host(void);
const char *venv__architecture_of_elf(unsigned machine);

/* ---- Records (record.c) ------------------------------------------------------------------- */

struct layer_ref {
	char key[DIGEST_HEX_SIZE]; /* of its directory */
	char diff_id[DIGEST_HEX_SIZE];
	uint64_t size;
	bool root; /* its archive says whose the root is */
};

struct disk_ref {
	char hex[DIGEST_HEX_SIZE]; /* of the image's file, which is called by it */
	uint64_t size;             /* what it takes of the store */
	uint64_t length;           /* of the virtual disk */
	char *name;                /* NULL: the box gives it none */
};

struct record {
	enum box_kind kind;
	char *format; /* BOX_DISK: of all images */
	struct disk_ref *disks;
	size_t n_disks;
	char *architecture;
	char *source;
	json_t *config;
	struct layer_ref *layers; /* bottom first */
	size_t n_layers;
	char digest[DIGEST_HEX_SIZE];
	int64_t added;
};
void venv__record_done(struct record *record);
#define _cleanup_record_ _cleanup_(venv__record_done)
/* Fill in the digest of the content. */
int venv__record_seal(struct record *record, venv_error **err);
int venv__record_write(const struct store *store, const struct record *record, venv_error **err);
/* hex without "sha256:" */
int venv__record_read(const struct store *store, const char *hex, struct record *ret,
		      venv_error **err);
int venv__record_to_box(const struct store *store, const struct record *record, const char *name,
			const char *version, struct box *ret, venv_error **err);
/* Reduce an image's configuration to what a box says; new reference. */
json_t *venv__record_config(const json_t *config);

/* Names: "debian/12" with its versions. */
bool venv__name_valid(const char *name);
/* Split "name@version"; version may become NULL. */
int venv__name_split(const char *reference, char **ret_name, char **ret_version, venv_error **err);
int venv__name_read(const struct store *store, const char *name, json_t **ret, venv_error **err);
/* Point name (and its aliases) with this version at a record. */
int venv__name_set(const struct store *store, const char *name, char *const *aliases,
		   const char *version, const struct record *record, venv_error **err);
int venv__name_list(const struct store *store, char ***ret, venv_error **err);
char *venv__name_file(const char *name); /* "debian%2F12.json" */

/* ---- RubyGems versions (version.c) -------------------------------------------------------- */

bool venv__version_valid(const char *version);
int venv__version_compare(const char *a, const char *b);

/* ---- Adding (add.c) ----------------------------------------------------------------------- */

struct addition {
	const char *name;    /* NULL: from the source */
	const char *version; /* NULL: from the source, else "0" */
	char *const *aliases;
	const char *source; /* recorded; NULL: the path */
	bool kernel;        /* the archive is one of a kernel, with its modules */
	const char *format; /* of a disk image, when the user says so; NULL: see disk_source.c */
};
int venv__add_path(struct store *store, const char *path, const struct addition *how,
		   struct venv_op *op, struct box *ret, venv_error **err);

/* What a box is called when it comes from this path. image_name, image_version: its own, or NULL. */
int venv__add_name(const struct addition *how, const char *image_name, const char *image_version,
		   const char *path, char **ret_name, char **ret_version, venv_error **err);
/* Seal the record, write it, point the name at it. */
int venv__add_record(const struct store *store, struct record *record, const struct addition *how,
		     const char *name, const char *version, struct box *ret, venv_error **err);

/* ---- Disks (add_disk.c, disk_*.c) ---------------------------------------- */

enum { BOX_DISKS_MAX = 32 };

struct disk_source { /* what a disk box is made from */
	const char *path;
	const char *format; /* of an image; NULL: it is the directory of a Vagrant box */
	int fd;
	bool ours; /* the directory is of our stage: what is in it may be taken */
};
int venv__add_disk(struct store *store, const struct disk_source *source,
		   const struct addition *how, struct venv_op *op, struct box *ret,
		   venv_error **err);

/* A file that somebody gave: *ret_format "qcow2" or "raw", or NULL for an archive. */
int venv__disk_source_format(int fd, const char *path, const char *said, const char **ret_format,
			     venv_error **err);
bool venv__disk_source_is_box(const char *path); /* "x.box" */

/* Put a file that is ours into the store, under its digest; also when it is there already. */
int venv__disk_publish(const struct store *store, int fd, const char *hex, const char *format,
		       venv_error **err);
/* Put a file that is ours under a name into a directory of the store: 0, 1 when there is one, or a code. */
int venv__disk_keep(int fd, int dir, const char *name, venv_error **err);
char *venv__disk_file(const char *hex, const char *format); /* NULL: out of memory */
bool venv__disk_format_known(const char *format);

json_t *venv__disk_refs_content(const struct record *record); /* what the box's digest is of */
json_t *venv__disk_refs_to_json(const struct record *record);
bool venv__disk_refs_read(const json_t *list, struct record *record);
int venv__disk_refs_to_box(const struct store *store, const struct record *record, struct box *box,
			   venv_error **err);

/* ---- Recipes (recipe.c) ------------------------------------------------------------------- */

/* Names of all recipes; owned by the caller. */
char **venv__recipe_names(struct venv *ctx);

#endif
