/* SPDX-License-Identifier: Apache-2.0 */
#include "handles.h"

#include <errno.h>
#include <stdlib.h>

#include "inodes.h"
#include "util/cleanup.h"

enum { SLOTS_FIRST = 64 };

void fs_handles_init(struct fs_handles *t, uint32_t max)
{
	*t = (struct fs_handles){ .max = max };
	(void)pthread_mutex_init(&t->lock, NULL);
}

static struct fs_inode *destroy(struct fs_handle *handle)
{
	struct fs_inode *inode = handle->inode;

	if (handle->fd >= 0)
		(void)close(handle->fd);
	(void)pthread_mutex_destroy(&handle->position);
	free(handle);
	return inode;
}

void fs_handles_reset(struct fs_handles *t, void (*forget)(void *user, struct fs_inode *),
		      void *user)
{
	(void)pthread_mutex_lock(&t->lock);
	t->first_free = 0;
	t->open = 0;
	for (uint32_t i = t->n; i-- > 0;) {
		struct fs_slot *slot = &t->slot[i];

		if (slot->handle)
			forget(user, destroy(take_ptr(slot->handle)));
		slot->next_free = t->first_free;
		t->first_free = i + 1;
	}
	(void)pthread_mutex_unlock(&t->lock);
}

void fs_handles_done(struct fs_handles *t)
{
	free(t->slot);
	(void)pthread_mutex_destroy(&t->lock);
	*t = (struct fs_handles){ 0 };
}

static int more_slots(struct fs_handles *t)
{
	uint32_t n = MIN(t->max, t->n ? t->n * 2 : SLOTS_FIRST);
	struct fs_slot *slot;

	if (n == t->n)
		return -ENFILE;
	slot = realloc(t->slot, n * sizeof(*slot));
	if (!slot)
		return -ENOMEM;
	t->slot = slot;
	for (uint32_t i = n; i-- > t->n;) {
		slot[i] = (struct fs_slot){ .next_free = t->first_free };
		t->first_free = i + 1;
	}
	t->n = n;
	return 0;
}

/* Under lock. */
static int add(struct fs_handles *t, struct fs_handle *handle)
{
	struct fs_slot *slot;
	int r = t->first_free ? 0 : more_slots(t);

	if (r < 0)
		return r;
	slot = &t->slot[t->first_free - 1];
	handle->id = (uint64_t)slot->uses << 32 | (t->first_free - 1);
	t->first_free = slot->next_free;
	slot->uses++;
	slot->handle = handle;
	t->open++;
	return 0;
}

int fs_handle_new(struct fs_handles *t, struct fs_inode *inode, int fd, int flags, bool directory,
		  struct fs_handle **ret)
{
	struct fs_handle *handle = calloc(1, sizeof(*handle));
	int r;

	if (!handle)
		return -ENOMEM;
	*handle = (struct fs_handle){
		.inode = inode, .fd = fd, .flags = flags, .directory = directory, .users = 2
	};
	(void)pthread_mutex_init(&handle->position, NULL);
	(void)pthread_mutex_lock(&t->lock);
	r = add(t, handle);
	(void)pthread_mutex_unlock(&t->lock);
	if (r < 0) {
		(void)pthread_mutex_destroy(&handle->position);
		free(handle);
		return r;
	}
	*ret = handle;
	return 0;
}

/* Under lock. */
static struct fs_slot *find(struct fs_handles *t, uint64_t id, const struct fs_inode *inode)
{
	uint32_t i = (uint32_t)id;

	if (i >= t->n || !t->slot[i].handle || t->slot[i].handle->id != id ||
	    t->slot[i].handle->inode != inode)
		return NULL;
	return &t->slot[i];
}

int fs_handle_get(struct fs_handles *t, uint64_t id, const struct fs_inode *inode, bool directory,
		  struct fs_handle **ret)
{
	const struct fs_slot *slot;
	int r = -EBADF;

	(void)pthread_mutex_lock(&t->lock);
	slot = find(t, id, inode);
	if (slot && slot->handle->directory == directory && slot->handle->fd < 0) {
		r = -ESTALE;
	} else if (slot && slot->handle->directory == directory) {
		slot->handle->users++;
		*ret = slot->handle;
		r = 0;
	}
	(void)pthread_mutex_unlock(&t->lock);
	return r;
}

int fs_handle_remove(struct fs_handles *t, uint64_t id, const struct fs_inode *inode,
		     bool directory, struct fs_handle **ret)
{
	struct fs_slot *slot;
	int r = -EBADF;

	(void)pthread_mutex_lock(&t->lock);
	slot = find(t, id, inode);
	if (slot && slot->handle->directory == directory) {
		*ret = take_ptr(
			slot->handle); /* in use as much as before: not by the table any more */
		slot->next_free = t->first_free;
		t->first_free = (uint32_t)id + 1;
		t->open--;
		r = 0;
	}
	(void)pthread_mutex_unlock(&t->lock);
	return r;
}

struct fs_inode *fs_handle_put(struct fs_handles *t, struct fs_handle *handle)
{
	bool last;

	(void)pthread_mutex_lock(&t->lock);
	last = --handle->users == 0;
	(void)pthread_mutex_unlock(&t->lock);
	return last ? destroy(handle) : NULL;
}

/* ---- from a state ----------------------------------------------------------------------------- */

void fs_handles_restored(struct fs_handles *t)
{
	t->first_free = 0;
	for (uint32_t i = t->n; i-- > 0;) {
		if (t->slot[i].handle)
			continue;
		t->slot[i].next_free = t->first_free;
		t->first_free = i + 1;
	}
}

int fs_handles_restore(struct fs_handles *t, const uint32_t *uses, uint32_t n)
{
	struct fs_slot *slot;

	if (n > t->max || t->open)
		return -EPROTO;
	slot = calloc(n + 1, sizeof(*slot));
	if (!slot)
		return -ENOMEM;
	for (uint32_t i = 0; i < n; i++)
		slot[i].uses = uses[i];
	free(t->slot);
	t->slot = slot;
	t->n = n;
	t->first_free = 0;
	return 0;
}

int fs_handle_restore(struct fs_handles *t, uint32_t slot, struct fs_inode *inode, int fd,
		      int flags)
{
	struct fs_handle *handle;

	if (slot >= t->n || t->slot[slot].handle || t->slot[slot].uses == 0)
		return -EPROTO;
	handle = calloc(1, sizeof(*handle));
	if (!handle)
		return -ENOMEM;
	*handle = (struct fs_handle){ .id = (uint64_t)(t->slot[slot].uses - 1) << 32 | slot,
				      .inode = inode,
				      .fd = fd,
				      .flags = flags,
				      .directory = inode->key.type == S_IFDIR,
				      .users = 1 };
	(void)pthread_mutex_init(&handle->position, NULL);
	t->slot[slot].handle = handle;
	t->open++;
	return 0;
}
