/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>

#include "call.h"
#include "util/cleanup.h"

void fs_locks_init(struct fs_locks *locks, size_t max_owners)
{
	*locks = (struct fs_locks){ .max_owners = max_owners };
	(void)pthread_mutex_init(&locks->lock, NULL);
}

void fs_locks_done(struct fs_locks *locks)
{
	(void)pthread_mutex_destroy(&locks->lock);
}

/* ---- who waits (all but the last under lock) ---------------------------------------------------- */

static struct fs_wait *find_wait(struct fs_locks *locks, uint64_t unique)
{
	for (size_t i = 0; i < locks->n_waits; i++)
		if (locks->wait[i].unique == unique)
			return &locks->wait[i];
	return NULL;
}

static void end_wait(struct fs_locks *locks, uint64_t unique)
{
	struct fs_wait *wait = find_wait(locks, unique);

	if (wait)
		*wait = locks->wait[--locks->n_waits];
}

static bool take_early(struct fs_locks *locks, uint64_t unique)
{
	for (size_t i = 0; i < FS_EARLY_MAX; i++)
		if (locks->early[i] == unique) {
			locks->early[i] = 0;
			return true;
		}
	return false;
}

/* The lock is taken by another. FS_LATER, -EINTR, or -ENOLCK: too many wait. */
static int must_wait(struct fs_locks *locks, uint64_t unique)
{
	struct fs_wait *wait = find_wait(locks, unique);

	if (wait && !wait->interrupted)
		return FS_LATER;
	if (wait || take_early(locks, unique)) {
		end_wait(locks, unique);
		return -EINTR;
	}
	if (locks->n_waits == FS_WAITS_MAX)
		return -ENOLCK;
	locks->wait[locks->n_waits++] = (struct fs_wait){ .unique = unique };
	return FS_LATER;
}

bool fs_locks_interrupt(struct fs_locks *locks, uint64_t unique)
{
	struct fs_wait *wait;

	(void)pthread_mutex_lock(&locks->lock);
	wait = find_wait(locks, unique);
	if (wait)
		wait->interrupted = true;
	else
		locks->early[locks->next_early++ % FS_EARLY_MAX] = unique;
	(void)pthread_mutex_unlock(&locks->lock);
	return wait;
}

void fs_server_interrupt(struct fs_server *server)
{
	struct fs_locks *locks = &server->locks;

	(void)pthread_mutex_lock(&locks->lock);
	for (size_t i = 0; i < locks->n_waits; i++)
		locks->wait[i].interrupted = true;
	(void)pthread_mutex_unlock(&locks->lock);
	if (server->options.wake)
		server->options.wake(server->options.user);
}

void fs_locks_wake(struct fs_server *server)
{
	struct fs_locks *locks = &server->locks;
	bool awaited;

	(void)pthread_mutex_lock(&locks->lock);
	awaited = locks->n_waits > 0;
	(void)pthread_mutex_unlock(&locks->lock);
	if (awaited && server->options.wake)
		server->options.wake(server->options.user);
}

/* ---- owners (under lock) ------------------------------------------------------------------------ */

static struct fs_lock_owner **bucket_of(struct fs_locks *locks, const struct fs_inode *inode)
{
	return &locks->bucket[inode->id % FS_OWNER_BUCKETS];
}

static struct fs_lock_owner *find_owner(struct fs_locks *locks, const struct fs_inode *inode,
					uint64_t owner)
{
	struct fs_lock_owner *o = *bucket_of(locks, inode);

	while (o && (o->inode != inode || o->owner != owner))
		o = o->next;
	return o;
}

/* An open file description of the owner's: with as much access as the guest's own handle could have. */
static int open_for_locks(struct fs_call *call)
{
	static const int access[] = { O_RDWR, O_RDONLY, O_WRONLY };
	int fd = -EBADF;

	for (size_t i = 0; i < ARRAY_SIZE(access); i++) {
		if (call->server->options.read_only && access[i] != O_RDONLY)
			continue;
		fd = fs_open_inode(call->server, call->inode, access[i]);
		if (fd != -EACCES && fd != -EROFS && fd != -ETXTBSY)
			break;
	}
	return fd;
}

static int add_owner(struct fs_call *call, uint64_t owner, struct fs_lock_owner **ret)
{
	struct fs_locks *locks = &call->server->locks;
	struct fs_lock_owner **bucket = bucket_of(locks, call->inode), *o;
	int fd;

	if (locks->n_owners >= locks->max_owners)
		return -ENOLCK;
	fd = open_for_locks(call);
	if (fd < 0)
		return fd;
	o = malloc(sizeof(*o));
	if (!o) {
		(void)close(fd);
		return -ENOMEM;
	}
	*o = (struct fs_lock_owner){
		.next = *bucket, .inode = call->inode, .owner = owner, .fd = fd
	};
	fs_inode_use(&call->server->inodes, call->inode);
	*bucket = o;
	locks->n_owners++;
	*ret = o;
	return 0;
}

/* Which owners: NULL is any */
struct which {
	const struct fs_inode *inode;
	const uint64_t *owner, *handle;
};

static bool is_one(const struct fs_lock_owner *o, const struct which *which)
{
	return (!which->inode || o->inode == which->inode) &&
	       (!which->owner || o->owner == *which->owner) &&
	       (!which->handle || o->handle == *which->handle);
}

static bool close_owners(struct fs_server *server, struct fs_lock_owner **at,
			 const struct which *which)
{
	bool closed = false;

	while (*at) {
		struct fs_lock_owner *o = *at;

		if (!is_one(o, which)) {
			at = &o->next;
			continue;
		}
		*at = o->next;
		(void)close(o->fd);
		fs_inode_put(&server->inodes, o->inode);
		free(o);
		server->locks.n_owners--;
		closed = true;
	}
	return closed;
}

static void close_which(struct fs_server *server, const struct which *which)
{
	struct fs_locks *locks = &server->locks;
	bool closed = false;

	(void)pthread_mutex_lock(&locks->lock);
	if (which->inode) {
		closed = close_owners(server, bucket_of(locks, which->inode), which);
	} else {
		for (size_t i = 0; i < FS_OWNER_BUCKETS; i++)
			closed |= close_owners(server, &locks->bucket[i], which);
		locks->n_waits = 0;
	}
	(void)pthread_mutex_unlock(&locks->lock);
	if (closed)
		fs_locks_wake(server);
}

void fs_locks_close(struct fs_server *server, const struct fs_inode *inode, const uint64_t *owner)
{
	close_which(server, &(struct which){ .inode = inode, .owner = owner });
}

void fs_locks_release(struct fs_server *server, const struct fs_inode *inode, uint64_t handle)
{
	close_which(server, &(struct which){ .inode = inode, .handle = &handle });
}

/* ---- operations --------------------------------------------------------------------------------- */

/* The guest's range as the host's. */
static int to_flock(const struct fuse_file_lock *lk, struct flock *ret)
{
	if (lk->start > INT64_MAX || lk->end < lk->start)
		return -EINVAL;
	*ret = (struct flock){
		.l_type = (short)lk->type,
		.l_whence = SEEK_SET,
		.l_start = (off_t)lk->start,
		.l_len = lk->end >= INT64_MAX ? 0 : (off_t)(lk->end - lk->start + 1),
	};
	return lk->type == F_RDLCK || lk->type == F_WRLCK || lk->type == F_UNLCK ? 0 : -EINVAL;
}

static int set_range(struct fs_call *call, bool *ret_unlocked)
{
	const struct fuse_lk_in *lk = &call->args.lk;
	struct fs_locks *locks = &call->server->locks;
	struct fs_lock_owner *o = find_owner(locks, call->inode, lk->owner);
	struct flock range;
	int r = to_flock(&lk->lk, &range);

	if (r < 0 || (!o && range.l_type == F_UNLCK))
		return r;
	if (!o)
		r = add_owner(call, lk->owner, &o);
	if (r < 0)
		return r;
	o->handle = lk->fh;
	if (fcntl(o->fd, F_OFD_SETLK, &range) < 0)
		return -errno;
	if (range.l_type != F_UNLCK)
		o->pid = lk->lk.pid;
	*ret_unlocked = range.l_type != F_WRLCK;
	return 0;
}

static int set_whole(struct fs_call *call, bool *ret_unlocked)
{
	static const struct {
		uint32_t type;
		int operation;
	} types[] = { { F_RDLCK, LOCK_SH }, { F_WRLCK, LOCK_EX }, { F_UNLCK, LOCK_UN } };
	struct fs_handle *handle;
	int r;

	r = fs_handle_get(&call->server->handles, call->args.lk.fh, call->inode, false, &handle);
	if (r < 0)
		r = fs_handle_get(&call->server->handles, call->args.lk.fh, call->inode, true,
				  &handle);
	if (r < 0)
		return r;
	r = -EINVAL;
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (types[i].type == call->args.lk.lk.type)
			r = flock(handle->fd, types[i].operation | LOCK_NB) < 0 ? -errno : 0;
	/* a conversion gives the old lock up first, also when it fails then */
	*ret_unlocked = true;
	fs_put_handle(call->server, handle);
	return r;
}

static int set_lock(struct fs_call *call, bool wait)
{
	struct fs_locks *locks = &call->server->locks;
	bool unlocked = false, waited;
	int r;

	(void)pthread_mutex_lock(&locks->lock);
	waited = find_wait(locks, call->in.unique);
	r = call->args.lk.lk_flags & FUSE_LK_FLOCK ? set_whole(call, &unlocked)
						   : set_range(call, &unlocked);
	if (r == -EACCES)
		r = -EAGAIN;
	if (r == -EAGAIN && wait)
		r = must_wait(locks, call->in.unique);
	else if (waited)
		end_wait(locks, call->in.unique);
	(void)pthread_mutex_unlock(&locks->lock);
	if (unlocked && r != FS_LATER)
		fs_locks_wake(call->server);
	return r;
}

int fs_op_setlk(struct fs_call *call)
{
	return set_lock(call, false);
}

int fs_op_setlkw(struct fs_call *call)
{
	return set_lock(call, true);
}

static int get_range(struct fs_call *call, struct flock *range)
{
	const struct fs_lock_owner *o =
		find_owner(&call->server->locks, call->inode, call->args.lk.owner);
	_cleanup_close_ int fd = -1;

	if (!o) {
		fd = open_for_locks(call);
		if (fd < 0)
			return fd;
	}
	range->l_pid = 0;
	return fcntl(o ? o->fd : fd, F_OFD_GETLK, range) < 0 ? -errno : 0;
}

/* Whose lock that is: the owner to whom it is no other's. 0: of several, or of the host's. */
static uint32_t holder(const struct fs_call *call, const struct flock *range)
{
	for (struct fs_lock_owner *o = *bucket_of(&call->server->locks, call->inode); o;
	     o = o->next) {
		struct flock again = *range;

		again.l_type = F_WRLCK;
		again.l_pid = 0;
		if (o->inode == call->inode && o->owner != call->args.lk.owner &&
		    fcntl(o->fd, F_OFD_GETLK, &again) == 0 && again.l_type == F_UNLCK)
			return o->pid;
	}
	return 0;
}

int fs_op_getlk(struct fs_call *call)
{
	struct fuse_lk_out out = { .lk.type = F_UNLCK };
	struct flock range;
	int r = to_flock(&call->args.lk.lk, &range);

	if (r < 0)
		return r;
	(void)pthread_mutex_lock(&call->server->locks.lock);
	r = get_range(call, &range);
	if (r == 0 && range.l_type != F_UNLCK)
		out.lk.pid = holder(call, &range);
	(void)pthread_mutex_unlock(&call->server->locks.lock);
	if (r < 0)
		return r;
	out.lk.type = (uint32_t)range.l_type;
	if (range.l_type != F_UNLCK) {
		out.lk.start = (uint64_t)range.l_start;
		out.lk.end = range.l_len ? (uint64_t)(range.l_start + range.l_len - 1) : INT64_MAX;
	}
	return fs_reply(call, &out, sizeof(out));
}
