/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Boxes: the content-addressed store below <data>/boxes, sources and recipes.
 *
 * A box is a record (names, digest, ordered layers, image configuration); a layer is a directory of an
 * unpacked root file system difference, named by the digest of its uncompressed tar (diff id), shared
 * between boxes, in the form that overlayfs wants (whiteouts, user.overlay.* attributes), owned
 * through the store's id map.
 *
 * A box of kind disk has images instead of layers: whole virtual disks, never written again, each named
 * by the digest of its file, on which machines lay overlays. What format an image has is decided once,
 * when it is added, and is from then on what the record says: no image is ever looked at to find out.
 *
 *   <data>/boxes/layers/<diffid>/{fs/,meta.json}   <data>/boxes/records/<digest>.json
 *   <data>/boxes/disks/<digest>.{qcow2,raw}        <data>/boxes/made/<box digest>-<bytes>.raw
 *   <data>/boxes/names/<name with / as %2F>.json   <data>/boxes/stage/   <data>/boxes/lock
 */
#ifndef VENV_BOX_H
#define VENV_BOX_H

#include "../context.h"
#include "../op.h"
#include "../util/buf.h"

enum box_kind { BOX_ROOTFS, BOX_DISK, BOX_KERNEL };
const char *venv__box_kind_name(enum box_kind kind); /* "rootfs", "disk", "kernel" */

struct box {                /* all owned; venv__box_done() */
	char *name;         /* "debian/12" */
	char *version;      /* "0" when the source has none */
	char *digest;       /* "sha256:…": of the record's content: what venv.lock pins */
	char *architecture; /* "amd64"… */
	char *source;       /* where it came from, as given */
	enum box_kind kind;
	char **layers;         /* absolute paths of layer roots, topmost first */
	size_t root;           /* of them: the topmost whose archive says whose "/" is, or 0 */
	char **disks;          /* BOX_DISK: absolute paths of images, the one to boot from first */
	char *format;          /* of the disks: "qcow2", "raw" */
	uint64_t virtual_size; /* of the first disk, in bytes */
	bool insecure_key;     /* Vagrant's: lets in its well-known key, which is to be replaced */
	json_t *vagrant; /* what a Vagrant box says of itself ("info", "vagrantfile"), or NULL */
	/* from the image's configuration; each NULL when it says nothing */
	char **env;
	char **entrypoint;
	char **cmd;
	char *user;
	char *workdir;
	char *stop_signal; /* "SIGTERM" or a number */
	char **volumes;
	char **exposed; /* "5432/tcp" */
	uint64_t size;  /* bytes of all layers, or of what the disks take of the store */
};
void venv__box_done(struct box *box);
#define _cleanup_box_ _cleanup_(venv__box_done)

/*
 * Find a box in the store by name ("debian/12", optional "@version"), by path of a source that was
 * added before, or by digest ("sha256:…").
 * @param constraint RubyGems version constraint or NULL
 * @return 0; VENV_ERR_NOT_FOUND (nothing in the store), VENV_ERR_UNSUPPORTED (other architecture)
 */
int venv__box_open(struct venv *ctx, const char *reference, const char *constraint,
		   const char *architecture, struct box *ret, venv_error **err);
/* Is there a recipe of that name? */
bool venv__box_has_recipe(struct venv *ctx, const char *name);
/* What venv_box_recipes() answers; NULL: out of memory. */
json_t *venv__recipe_list(struct venv *ctx);
/*
 * Would what the recipe makes be of a version that will do, as far as it states one?
 * @return 1, 0 when there is no recipe, or a code: VENV_ERR_NOT_FOUND when it would not
 */
int venv__box_recipe_fits(struct venv *ctx, const char *reference, const char *constraint,
			  venv_error **err);
/* Does a version do for a constraint ("~> 1.2, != 1.2.5")? 1, 0, or a code when that cannot be read. */
int venv__version_matches(const char *version, const char *constraint, venv_error **err);
/* Names like this one, for "did you mean"; owned by the caller, or NULL. */
char *venv__box_suggest(struct venv *ctx, const char *name);

/* Add from a file or directory; phases "fetch", "unpack". name NULL: from the source. "raw:FILE" and
 * "qcow2:FILE" say what format a disk image has. */
int venv__box_add(struct venv *ctx, const char *name, const char *source, struct venv_op *op,
		  struct box *ret, venv_error **err);
/* Build a recipe (name or directory); output of the build as events of phase "build". */
int venv__box_build(struct venv *ctx, const char *recipe, struct venv_op *op, struct box *ret,
		    venv_error **err);
/*
 * The disk that a rootfs box is for a virtual machine: a raw image with an ext4 file system, without
 * partitions, made on first use and kept in the store as long as the box is. Phase "build".
 * @param bytes how large; 0: what the box takes and a quarter more
 * @param[out] ret_path absolute, read-only, owned by the caller
 */
int venv__box_make_disk(struct venv *ctx, const struct box *box, uint64_t bytes, struct venv_op *op,
			char **ret_path, venv_error **err);
/*
 * The kernel for virtual machines of rootfs boxes (kernel.c): the directory that boxes/kernel-debian-12 packs,
 * absolute, owned by the caller. Built by its recipe, after a notice, when the store has none yet.
 */
int venv__box_kernel(struct venv *ctx, const char *machine, struct venv_op *op, char **ret_path,
		     venv_error **err);
json_t *venv__box_to_json(const struct box *box);
int venv__box_list(struct venv *ctx, json_t **ret, venv_error **err);
int venv__box_info(struct venv *ctx, const char *name, json_t **ret, venv_error **err);
int venv__box_remove(struct venv *ctx, const char *name, venv_error **err);
int venv__box_prune(struct venv *ctx, json_t **ret, venv_error **err);

/*
 * The store lock: shared while machines are created or started, exclusive for prune and remove.
 * fd (close it to let go) or a negative code.
 */
int venv__store_lock(struct venv *ctx, bool exclusive, struct venv_op *op, venv_error **err);

/*
 * Remove a tree that machines wrote, whose files may belong to any id of the map: venv-unpack, inside
 * the map, does it. What is missing is fine.
 */
int venv__store_remove_tree(struct venv *ctx, int dir_fd, const char *name, venv_error **err);
/* Make a directory that guest ids own (upper, work, a volume): owner uid:gid of the guest. */
int venv__store_make_dir(struct venv *ctx, int dir_fd, const char *name, uid_t uid, gid_t gid,
			 mode_t mode, venv_error **err);

/*
 * Given by core (machine.c): the names of machines whose record names this box digest or one of these
 * layers, as "project/machine" strings; NULL-terminated, owned by the caller.
 */
int venv__machines_using(struct venv *ctx, const char *digest, char ***ret, venv_error **err);
/* Given by core: digests of all boxes that some machine uses. */
int venv__machines_digests(struct venv *ctx, char ***ret, venv_error **err);

#endif
