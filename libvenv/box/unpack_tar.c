/* SPDX-License-Identifier: Apache-2.0 */
/* libarchive reads the tar format from our stream; what it says goes to our writer. */
#include <archive.h>
#include <archive_entry.h>
#include <ctype.h>
#include <string.h>

#include "unpack.h"

struct session {
	struct untar *untar;
	struct archive *archive;
	struct archive_entry *entry;
	struct writer *writer;
	venv_error *failed; /* of the source, inside a callback of libarchive */
	struct attribute *attributes;
	size_t capacity;
};

static la_ssize_t read_source(struct archive *archive, void *user, const void **ret)
{
	struct session *s = user;
	size_t length = 0;
	int r = s->untar->source->next(s->untar->source, ret, &length, &s->failed);

	if (r < 0) {
		archive_set_error(archive, EIO, "read");
		return -1;
	}
	return r == 0 ? 0 : (la_ssize_t)length;
}

static int archive_failed(struct session *s, venv_error **err)
{
	const char *text = archive_error_string(s->archive);
	_cleanup_free_ char *shown = NULL;
	int r;

	if (s->failed)
		return venv__error_take(take_ptr(s->failed), err);
	shown = venv__path_show(text ? text : "unknown error");
	if (shown)
		shown[0] = (char)tolower((unsigned char)shown[0]);
	r = venv__fail(err, VENV_ERR_BOX, "the archive is damaged: %s", shown ? shown : "?");
	return venv__hint(r, err, "make or download it again");
}

static int collect_attributes(struct session *s, struct tar_entry *e)
{
	size_t n = (size_t)archive_entry_xattr_reset(s->entry);

	if (n > s->capacity) {
		struct attribute *grown = realloc(s->attributes, n * sizeof(*grown));

		if (!grown)
			return VENV_ERR_NOMEM;
		s->attributes = grown;
		s->capacity = n;
	}
	e->attributes = s->attributes;
	while (e->n_attributes < n) {
		struct attribute *a = &s->attributes[e->n_attributes];

		if (archive_entry_xattr_next(s->entry, &a->name, &a->value, &a->size) != ARCHIVE_OK)
			break;
		e->n_attributes++;
	}
	return 0;
}

static enum tar_kind kind_of(struct archive_entry *entry)
{
	if (archive_entry_hardlink(entry))
		return ENTRY_HARDLINK;
	switch (archive_entry_filetype(entry)) {
	case AE_IFREG:
		return ENTRY_FILE;
	case AE_IFDIR:
		return ENTRY_DIR;
	case AE_IFLNK:
		return ENTRY_SYMLINK;
	case AE_IFIFO:
		return ENTRY_FIFO;
	default:
		return ENTRY_DEVICE;
	}
}

static int describe(struct session *s, struct tar_entry *e, venv_error **err)
{
	const char *path = archive_entry_pathname(s->entry);

	if (!path || !*path)
		return venv__fail(err, VENV_ERR_BOX, "the archive has an entry without a name");
	*e = (struct tar_entry){
		.path = path,
		.kind = kind_of(s->entry),
		.mode = archive_entry_perm(s->entry),
		.uid = archive_entry_uid(s->entry),
		.gid = archive_entry_gid(s->entry),
		.size = archive_entry_size_is_set(s->entry) ? archive_entry_size(s->entry) : 0,
		.mtime = { archive_entry_mtime(s->entry), archive_entry_mtime_nsec(s->entry) },
	};
	if (e->mtime.tv_nsec < 0 || e->mtime.tv_nsec > 999999999)
		e->mtime.tv_nsec = 0;
	e->target = e->kind == ENTRY_HARDLINK ? archive_entry_hardlink(s->entry)
					      : archive_entry_symlink(s->entry);
	return collect_attributes(s, e) < 0 ? venv__fail_nomem(err) : 0;
}

static bool is_hex(const char *text, size_t length)
{
	return strspn(text, "0123456789abcdef") >= length;
}

/* Does an archive that begins with this name hold an image instead of a file system? */
static bool names_image(const char *path)
{
	static const char *const names[] = { "blobs", "index.json", "oci-layout", "manifest.json",
					     "repositories" };
	size_t length;

	while (!strncmp(path, "./", 2))
		path += 2;
	length = strcspn(path, "/");
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (length == strlen(names[i]) && !strncmp(path, names[i], length))
			return true;
	return length >= 64 && is_hex(path, 64) &&
	       (length == 64 || !strncmp(path + 64, ".tar", 4) || !strncmp(path + 64, ".json", 5));
}

/* Does it hold a Vagrant box? These are its usual names, which no file system has at its top. */
static bool names_box(const char *path)
{
	static const char *const names[] = { "metadata.json", "Vagrantfile", "info.json", "box.img",
					     "box_0.img",     "box_1.img",   "box.ovf" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (!strcmp(path, names[i]))
			return true;
	return false;
}

static int start_writer(struct session *s, const char *path, venv_error **err)
{
	struct untar *u = s->untar;

	while (path[0] == '.' && path[1] == '/')
		path += 2;
	if (u->mode == UNTAR_AUTO && !*path)
		return 0; /* "./" says nothing */
	u->image = u->mode == UNTAR_AUTO && names_image(path);
	u->box = u->mode == UNTAR_BOX || (u->mode == UNTAR_AUTO && names_box(path));
	s->writer = venv__writer_new(u->root_fd, u->image || u->box ? WRITER_PLAIN : WRITER_LAYER,
				     u->limits);
	return s->writer ? 0 : venv__fail_nomem(err);
}

static int copy_data(struct session *s, venv_error **err)
{
	const void *data;
	la_int64_t offset;
	size_t length;
	int r;

	for (;;) {
		r = archive_read_data_block(s->archive, &data, &length, &offset);
		if (r == ARCHIVE_EOF)
			return 0;
		if (r != ARCHIVE_OK && r != ARCHIVE_WARN)
			return archive_failed(s, err);
		r = venv__writer_data(s->writer, data, length, offset, err);
		if (r < 0)
			return r;
	}
}

static int one_entry(struct session *s, struct tar_entry *root, venv_error **err)
{
	struct tar_entry e;
	int r = describe(s, &e, err);

	if (r == 0 && !s->writer)
		r = start_writer(s, e.path, err);
	if (r == 0 && !s->writer) {
		*root = e; /* its strings are gone with the next entry; they are not needed */
		root->path = "./";
		root->n_attributes = 0;
		return 0;
	}
	if (r == 0 && root->path)
		r = venv__writer_begin(s->writer, root, err);
	root->path = NULL;
	if (r == 0)
		r = venv__writer_begin(s->writer, &e, err);
	if (r == 0 && e.kind == ENTRY_FILE)
		r = copy_data(s, err);
	if (r == 0)
		r = venv__writer_end(s->writer, &e, err);
	if (s->untar->tick)
		s->untar->tick(s->untar->user);
	return r;
}

static int all_entries(struct session *s, venv_error **err)
{
	struct tar_entry root = { 0 };
	int r;

	for (;;) {
		r = archive_read_next_header2(s->archive, s->entry);
		if (r == ARCHIVE_EOF)
			break;
		if (r != ARCHIVE_OK &&
		    r != ARCHIVE_WARN) /* "retry" is a damaged header passed over */
			return archive_failed(s, err);
		r = one_entry(s, &root, err);
		if (r < 0)
			return r;
	}
	if (!s->writer) { /* nothing but perhaps the root */
		s->writer = venv__writer_new(s->untar->root_fd, WRITER_LAYER, s->untar->limits);
		if (!s->writer)
			return venv__fail_nomem(err);
		r = root.path ? venv__writer_begin(s->writer, &root, err) : 0;
	} else {
		r = 0;
	}
	return r < 0 ? r : venv__writer_finish(s->writer, s->untar->list_fd, err);
}

int venv__untar(struct untar *untar, venv_error **err)
{
	struct session s = { .untar = untar,
			     .archive = archive_read_new(),
			     .entry = archive_entry_new() };
	int r;

	if (!s.archive || !s.entry)
		r = venv__fail_nomem(err);
	else if (archive_read_support_format_tar(s.archive) != ARCHIVE_OK ||
		 archive_read_open(s.archive, &s, NULL, read_source, NULL) != ARCHIVE_OK)
		r = archive_failed(&s, err);
	else
		r = untar->mode == UNTAR_AUTO ? 0 : start_writer(&s, "", err);
	if (r == 0)
		r = all_entries(&s, err);
	if (s.writer) {
		untar->counts = *venv__writer_counts(s.writer);
		untar->machine = venv__writer_machine(s.writer);
	}
	venv__writer_free(s.writer);
	archive_entry_free(s.entry);
	archive_read_free(s.archive);
	venv_error_free(s.failed);
	free(s.attributes);
	return r;
}
