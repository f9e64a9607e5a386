/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A session as a state: the inodes that the guest knows, each with its directory and name there, and what
 * it has open. Descriptors do not outlive the process: inodes get theirs again when they are used
 * (inodes.h), open files when the state is loaded.
 *   One section for each kind of thing; the file may be anybody's: counts are bounded by what follows them,
 * numbers are unique and below those that come next, names are single components, directories do not lie
 * in themselves.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "call.h"
#include "machine/state.h"
#include "util/cleanup.h"

enum {
	TAG_SESSION = STATE_TAG('F', 'S', 'S', 'E'),
	TAG_INODES = STATE_TAG('F', 'S', 'I', 'N'),
	TAG_NAMES = STATE_TAG('F', 'S', 'N', 'A'),
	TAG_HANDLES = STATE_TAG('F', 'S', 'H', 'A'),
	VERSION = 1,
	INODE_SIZE = 8 + 8 + 4 + 4 + 4 + 8 + 8 + 8,
	NAME_SIZE_MIN = 8 + 8 + 1 + 1,
	OPEN_FLAGS = O_ACCMODE | O_SYNC | O_DSYNC, /* see open.c */
};

typedef void (*inode_fn)(const struct fs_inode *inode, struct state_writer *writer);

/* ---- saving ------------------------------------------------------------------------------------- */

static void put_inode(const struct fs_inode *inode, struct state_writer *writer)
{
	state_put_u64(writer, inode->id);
	state_put_u64(writer, inode->key.ino);
	state_put_u32(writer, inode->key.dev_major);
	state_put_u32(writer, inode->key.dev_minor);
	state_put_u32(writer, inode->key.type);
	state_put_u64(writer, (uint64_t)inode->key.born);
	state_put_u64(writer, inode->lookups);
	state_put_u64(writer, inode->stamp);
}

static void put_name(const struct fs_inode *inode, struct state_writer *writer)
{
	size_t length = inode->name ? strlen(inode->name) : 0;

	if (!length || !inode->parent)
		return;
	state_put_u64(writer, inode->id);
	state_put_u64(writer, inode->parent->id);
	state_put_u8(writer, (uint8_t)length); /* components are shorter than FS_NAME_SIZE */
	state_put(writer, inode->name, length);
}

static int put_all(const struct fs_inodes *t, uint32_t tag, inode_fn put,
		   struct state_writer *writer)
{
	state_begin(writer, tag, VERSION);
	for (size_t i = 0; i < t->size; i++)
		for (const struct fs_inode *inode = t->bucket[FS_BY_ID][i].first; inode;
		     inode = inode->next[FS_BY_ID])
			if (inode != t->root)
				put(inode, writer);
	return state_end(writer);
}

static int put_handles(const struct fs_handles *t, struct state_writer *writer)
{
	state_begin(writer, TAG_HANDLES, VERSION);
	state_put_u32(writer, t->n);
	for (uint32_t i = 0; i < t->n; i++)
		state_put_u32(writer, t->slot[i].uses);
	for (uint32_t i = 0; i < t->n; i++) {
		const struct fs_handle *handle = t->slot[i].handle;

		if (!handle)
			continue;
		state_put_u32(writer, i);
		state_put_u64(writer, handle->inode->id);
		state_put_u32(writer, (uint32_t)handle->flags);
	}
	return state_end(writer);
}

int fs_server_save(struct fs_server *server, struct state_writer *writer)
{
	int r;

	state_begin(writer, TAG_SESSION, VERSION);
	state_put_u8(writer, server->ready);
	state_put_u64(writer, server->inodes.next_id);
	r = state_end(writer);
	if (r == 0)
		r = put_all(&server->inodes, TAG_INODES, put_inode, writer);
	if (r == 0)
		r = put_all(&server->inodes, TAG_NAMES, put_name, writer);
	return r < 0 ? r : put_handles(&server->handles, writer);
}

/* ---- loading ------------------------------------------------------------------------------------ */

static int get_session(struct fs_server *server, struct state_reader *reader)
{
	int r = state_enter(reader, TAG_SESSION, VERSION);
	uint64_t next_id;
	uint8_t ready;

	if (r < 0)
		return r;
	ready = state_get_u8(reader);
	next_id = state_get_u64(reader);
	r = state_leave(reader);
	if (r == 0 && (ready > 1 || next_id <= FUSE_ROOT_ID || next_id > INT64_MAX))
		r = -EPROTO;
	if (r < 0)
		return r;
	server->ready = ready;
	server->inodes.next_id = next_id;
	return 0;
}

static bool is_type(uint32_t type)
{
	return type == S_IFREG || type == S_IFDIR || type == S_IFLNK || type == S_IFIFO ||
	       type == S_IFSOCK || type == S_IFCHR || type == S_IFBLK;
}

static int get_inodes(struct fs_inodes *t, struct state_reader *reader)
{
	int r = state_enter(reader, TAG_INODES, VERSION);

	while (r >= 0 && state_left(reader) >= INODE_SIZE) {
		struct fs_key key = { 0 };
		uint64_t id = state_get_u64(reader), lookups, stamp;

		key.ino = state_get_u64(reader);
		key.dev_major = state_get_u32(reader);
		key.dev_minor = state_get_u32(reader);
		key.type = state_get_u32(reader);
		key.born = (int64_t)state_get_u64(reader);
		lookups = state_get_u64(reader);
		stamp = state_get_u64(reader);
		r = is_type(key.type) ? fs_inode_restore(t, id, &key, lookups, stamp) : -EPROTO;
	}
	return r < 0 ? r : state_leave(reader);
}

static int get_names(struct fs_inodes *t, struct state_reader *reader)
{
	int r = state_enter(reader, TAG_NAMES, VERSION);

	while (r >= 0 && state_left(reader) >= NAME_SIZE_MIN) {
		char name[FS_NAME_SIZE] = "";
		uint64_t id = state_get_u64(reader), parent = state_get_u64(reader);
		size_t length = state_get_u8(reader);

		state_get(reader, name, length);
		r = strlen(name) == length ? fs_inode_restore_place(t, id, parent, name) : -EPROTO;
	}
	return r < 0 ? r : state_leave(reader);
}

static int open_again(struct fs_server *server, struct fs_inode *inode, int flags)
{
	if (inode->key.type == S_IFDIR)
		return fs_open_inode(server, inode, O_RDONLY | O_DIRECTORY);
	if (server->options.read_only && (flags & O_ACCMODE) != O_RDONLY)
		return -EROFS;
	return fs_open_inode(server, inode, flags & OPEN_FLAGS);
}

/*
 * A file that cannot be opened any more is one that is gone. One that the guest has forgotten it cannot name:
 * its release was still on the way.
 */
static int get_handle(struct fs_server *server, struct state_reader *reader)
{
	uint32_t slot = state_get_u32(reader);
	uint64_t id = state_get_u64(reader);
	int flags = (int)(state_get_u32(reader) & OPEN_FLAGS), r, fd;
	struct fs_inode *inode = NULL;

	r = fs_inode_get(&server->inodes, id, &inode);
	if (r < 0)
		return 0;
	fd = open_again(server, inode, flags);
	r = fs_handle_restore(&server->handles, slot, inode, MAX(fd, -1), flags);
	if (r < 0) {
		fs_inode_put(&server->inodes, inode);
		if (fd >= 0)
			(void)close(fd);
	}
	return r;
}

static int get_slots(struct fs_handles *t, struct state_reader *reader)
{
	uint32_t n = state_get_u32(reader);
	_cleanup_free_ uint32_t *uses = NULL;

	if (n > state_left(reader) / sizeof(*uses))
		return -EPROTO;
	uses = calloc((size_t)n + 1, sizeof(*uses));
	if (!uses)
		return -ENOMEM;
	for (uint32_t i = 0; i < n; i++)
		uses[i] = state_get_u32(reader);
	return fs_handles_restore(t, uses, n);
}

static int get_handles(struct fs_server *server, struct state_reader *reader)
{
	int r = state_enter(reader, TAG_HANDLES, VERSION);

	if (r >= 0)
		r = get_slots(&server->handles, reader);
	while (r == 0 && state_left(reader))
		r = get_handle(server, reader);
	return r < 0 ? r : state_leave(reader);
}

int fs_server_load(struct fs_server *server, struct state_reader *reader)
{
	int r;

	fs_server_reset(server);
	r = get_session(server, reader);
	if (r == 0)
		r = get_inodes(&server->inodes, reader);
	if (r == 0)
		r = get_names(&server->inodes, reader);
	if (r == 0)
		r = get_handles(server, reader);
	if (r == 0) {
		fs_handles_restored(&server->handles);
		fs_inodes_restored(&server->inodes);
	} else {
		fs_server_reset(server);
	}
	return r;
}
