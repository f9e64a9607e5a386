/* SPDX-License-Identifier: Apache-2.0 */
/*
 * venv-unpack: the parts of the program that reads archives of strangers.
 *
 *   stream   bytes of a descriptor, inflated, hashed, within limits          (unpack_stream.c)
 *   untar    libarchive's tar reader on a stream, entries to a writer        (unpack_tar.c)
 *   writer   entries to a directory by the rules of an overlay layer         (unpack_writer.c)
 *   merge    what a layer takes from those below it, once they are there     (unpack_merge.c)
 *   disk     whether an image can be a box                                   (unpack_disk.c)
 *   mkdisk   a disk of a box's layers                                        (unpack_mkdisk.c)
 *   vagrant  what a Vagrant box says of itself                               (unpack_vagrant.c)
 *   sandbox  rights that the program gives up before it reads the first byte (unpack_sandbox.c)
 */
#ifndef VENV_BOX_UNPACK_H
#define VENV_BOX_UNPACK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "../util/digest.h"
#include "../util/json.h"

struct limits {
	uint64_t bytes;   /* of data written */
	uint64_t entries; /* of the archive, and directories made for them */
	uint64_t ratio;   /* bytes out per byte in, from RATIO_FREE on */
	unsigned depth;   /* of a path */
};
enum { LIMIT_RATIO = 2000, LIMIT_DEPTH = 512 };
#define LIMIT_BYTES (UINT64_C(256) << 30)
#define LIMIT_ENTRIES UINT64_C(4000000)
#define LIMIT_RATIO_FREE (UINT64_C(64) << 20)

/* ---- Stream ------------------------------------------------------------------------------- */

/* What untar reads: 1 and a chunk that is good until the next call, 0 at the end, or a code. */
struct source {
	int (*next)(struct source *source, const void **ret, size_t *ret_length, venv_error **err);
};

struct stream; /* begins with a struct source */

/* fd is borrowed and read from its present position. */
struct stream *venv__stream_new(int fd, const struct limits *limits, venv_error **err);
struct source *venv__stream_source(struct stream *stream);
/* Bytes of the descriptor that were read so far. @threads any */
uint64_t venv__stream_position(struct stream *stream);
/* Read to the end, join the threads. */
int venv__stream_finish(struct stream *stream, char ret_hex[DIGEST_HEX_SIZE], bool *ret_marked,
			venv_error **err);
void venv__stream_free(struct stream *stream);

/* ---- Writer ------------------------------------------------------------------------------- */

enum writer_mode {
	WRITER_LAYER, /* owners, whiteouts, attributes: as overlayfs wants them */
	WRITER_PLAIN  /* an archive of archives: files, directories and links without owners */
};

enum tar_kind { ENTRY_FILE, ENTRY_DIR, ENTRY_SYMLINK, ENTRY_HARDLINK, ENTRY_FIFO, ENTRY_DEVICE };

struct attribute {
	const char *name;
	const void *value;
	size_t size;
};

struct tar_entry {
	const char *path;
	const char *target; /* of a link */
	enum tar_kind kind;
	mode_t mode;
	int64_t uid, gid;
	int64_t size;
	struct timespec mtime;
	struct attribute *attributes;
	size_t n_attributes;
};

struct counts {
	uint64_t entries, files, directories, bytes;
	uint64_t duplicates;    /* names that occurred again: the last one won */
	uint64_t through_links; /* entries below a symbolic link of the same layer */
	uint64_t devices;       /* not made */
	uint64_t attributes;    /* that the file system refused */
	uint64_t implicit;      /* directories that no entry describes */
	uint64_t pending;       /* hard links to files of lower layers */
	uint64_t moved; /* directories whose content went where a lower layer's link points */
	uint64_t
		roots; /* entries for the root itself: without one its attributes are a lower layer's */
};

struct writer;

struct writer *venv__writer_new(int root_fd, enum writer_mode mode, const struct limits *limits);
/* Begin an entry: attributes of files are applied by venv__writer_end(). */
int venv__writer_begin(struct writer *writer, const struct tar_entry *entry, venv_error **err);
int venv__writer_data(struct writer *writer, const void *data, size_t length, int64_t offset,
		      venv_error **err);
int venv__writer_end(struct writer *writer, const struct tar_entry *entry, venv_error **err);
/* Times of directories, links that came before their target. list_fd: NUL-terminated lines for
 * the merge, "D path" (no entry describes it) and "L path", "T target" (hard link); -1: none. */
int venv__writer_finish(struct writer *writer, int list_fd, venv_error **err);
const struct counts *venv__writer_counts(const struct writer *writer);
/* The ELF machine of most programs; 0 when there are none. */
unsigned venv__writer_machine(const struct writer *writer);
void venv__writer_free(struct writer *writer);

/* ---- Paths (unpack_path.c) ---------------------------------------------------------------- */

/* Text of a path without leading "/" and "./"; "" is the root. Refuses "..", and what is too long
 * or deep. */
int venv__path_entry(const char *path, unsigned depth, char **ret, venv_error **err);
/* Open below root, refusing links, "..", other file systems. fd or -errno. */
int venv__open_strict(int root_fd, const char *path, int flags);
/* Called for each directory that had to be made. */
typedef int (*made_fn)(void *user, const char *path);
/*
 * Follow the links of a directory's path as if root were "/": the same path without links.
 * made NULL: what is missing is -ENOENT, else it is made. 0 or -errno.
 */
int venv__path_resolve(int root_fd, const char *path, made_fn made, void *user, char **ret);
/* Text that may stand in a message: bytes that are no UTF-8 as \xNN. Never NULL. Owned by the
 * caller, unless it is "?". */
char *venv__path_show(const char *path);
/* Fail about an entry: "'path': …" with the text of number unless it is 0. */
int venv__entry_fail(venv_error **err, int code, int number, const char *path, const char *format,
		     ...) _printf_(5, 6);

/* ---- Extended attributes (unpack_xattr.c) ------------------------------------------------- */

bool venv__xattr_kept(const char *name);
/* All kept attributes of one file or directory; counts what is refused. 0 or -errno (ENOSPC). */
int venv__xattr_apply(int fd, const struct attribute *attributes, size_t n, uint64_t *refused);
/* The same from another file. */
int venv__xattr_copy(int from_fd, int to_fd, uint64_t *refused);
int venv__xattr_opaque(int fd); /* 0 or -errno */
/* Owner, mode, attributes and time of another directory. 0 or -errno */
int venv__dress_like(int fd, int like_fd, const struct stat *like, uint64_t *refused);

/* ---- Archive, merge, sandbox -------------------------------------------------------------- */

enum untar_mode { UNTAR_LAYER, UNTAR_BOX, UNTAR_AUTO };

struct untar {
	struct source *source;
	int root_fd;
	int list_fd;
	enum untar_mode mode;
	const struct limits *limits;
	void (*tick)(void *user); /* called now and then; may be NULL */
	void *user;
	/* out */
	bool image; /* UNTAR_AUTO: it is an archive of an image, written plainly */
	bool box;   /* the same of a Vagrant box */
	struct counts counts;
	unsigned machine;
};
int venv__untar(struct untar *untar, venv_error **err);

struct merge {
	int root_fd;
	int list_fd;
	const int *lower; /* topmost first */
	size_t n_lower;
	struct counts counts; /* out */
};
int venv__merge(struct merge *merge, venv_error **err);

/* ---- Disk boxes --------------------------------------------------------------------------- */

/* {"length"} of the disk in the image. name: for messages */
int venv__image_check(int fd, const char *name, const char *format, json_t **ret, venv_error **err);
/* Of metadata.json and info.json (NULL: there is none):
 * {"format", "architecture", "disks": [{"path", "name"?, "virtual_size"?}], "info"} */
int venv__vagrant_read(const char *text, size_t length, const char *info, size_t info_length,
		       json_t **ret, venv_error **err);

struct mkdisk {
	int stage_fd; /* an empty directory of guest root's: the image is made in it, as "disk" */
	int *layers;  /* topmost first */
	size_t n_layers;
	size_t root;    /* the layer whose root is that of the disk, but for what is in it */
	const char *id; /* 64 hex digits that the file system's ids are made from */
	uint64_t bytes; /* 0: what it takes and a quarter more; out: how large it is */
	int empty_fd, top_fd, place_fd, tree_fd, disk_fd; /* inside, as what follows */
	bool top_used, top_used_before;
	uint64_t content, entries;
};
int venv__mkdisk(struct mkdisk *mkdisk, venv_error **err);

/* Bring a small tree to disk, once the parent makes one durable change of its own after it. */
int venv__tree_sync(int root_fd, venv_error **err);

/* Become guest root, keep only the rights to write files, see only these directories. */
int venv__sandbox_enter(const int *writable, size_t n_writable, const int *readable,
			size_t n_readable, venv_error **err);

/* The same in two steps, for what mounts before it is confined, and then runs programs of the host: they
 * read the tree, write the disk, and have their libraries. */
int venv__sandbox_become_root(venv_error **err);
int venv__sandbox_tools(int tree_fd, int disk_fd, venv_error **err);

#endif
