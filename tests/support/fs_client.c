/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/fs_client.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "util/file.h"

enum { PIECES_MAX = 1024 };

struct pieces {
	struct iovec iov[PIECES_MAX];
	size_t n;
};

/* size bytes in pieces; data may be NULL */
static void cut(struct pieces *p, const void *data, size_t size, size_t piece)
{
	p->n = 0;
	for (size_t at = 0; at < size && p->n < PIECES_MAX; p->n++) {
		size_t n = piece ? MIN(piece, size - at) : size - at;
		char *copy = malloc(n);

		if (!copy)
			abort();
		if (data)
			memcpy(copy, (const char *)data + at, n);
		p->iov[p->n] = (struct iovec){ .iov_base = copy, .iov_len = n };
		at += n;
	}
}

static size_t join(struct pieces *p, void *data, size_t size)
{
	size_t at = 0;

	for (size_t i = 0; i < p->n; i++) {
		size_t n = MIN(p->iov[i].iov_len, size - at);

		if (data)
			memcpy((char *)data + at, p->iov[i].iov_base, n);
		at += n;
		free(p->iov[i].iov_base);
	}
	return at;
}

static char *put_together(struct fs_client *c, uint32_t opcode, uint64_t node,
			  const struct fs_part *parts, size_t *ret_size)
{
	struct fuse_in_header header = { .opcode = opcode, .unique = ++c->unique, .nodeid = node };
	size_t size = sizeof(header), at = sizeof(header);
	char *data;

	for (const struct fs_part *p = parts; p->data; p++)
		size += p->size;
	data = malloc(size);
	if (!data)
		abort();
	header.len = c->len ? c->len : (uint32_t)size;
	memcpy(data, &header, sizeof(header));
	for (const struct fs_part *p = parts; p->data; at += p->size, p++)
		memcpy(data + at, p->data, p->size);
	*ret_size = size;
	return data;
}

ssize_t fs_ask(struct fs_client *c, uint32_t opcode, uint64_t node, const struct fs_part *parts,
	       void *out, size_t out_size)
{
	size_t size, room = out_size + sizeof(struct fuse_out_header);
	_cleanup_free_ char *data = put_together(c, opcode, node, parts, &size);
	_cleanup_free_ char *answer = malloc(room);
	_cleanup_free_ struct pieces *in = malloc(sizeof(*in)), *reply = malloc(sizeof(*reply));
	struct fuse_out_header header = { 0 };
	struct fs_request request;
	ssize_t n;

	if (!answer || !in || !reply)
		abort();
	cut(in, data, size, c->piece);
	cut(reply, NULL, room, c->piece);
	request = (struct fs_request){
		.in = in->iov, .n_in = in->n, .out = reply->iov, .n_out = reply->n
	};
	n = fs_serve(c->server, &request, !c->no_wait);
	(void)join(in, NULL, 0);
	(void)join(reply, answer, room);
	c->answer = n < 0 ? 0 : (size_t)n;
	if (n <= 0)
		return n < 0 ? n - 1000 : 0;
	memcpy(&header, answer, sizeof(header));
	if ((size_t)n < sizeof(header) || header.len != n || header.unique != c->unique ||
	    (size_t)n > room || (header.error && n != sizeof(header)))
		abort();
	if (header.error)
		return header.error;
	if (out)
		memcpy(out, answer + sizeof(header), (size_t)n - sizeof(header));
	return n - (ssize_t)sizeof(header);
}

static int init(struct fs_client *c)
{
	const struct fuse_init_in in = {
		.major = 7, .minor = 38, .max_readahead = 1 << 20, .flags = ~0U
	};
	struct fuse_init_out out;

	return fs_ask(c, FUSE_INIT, 0, PARTS(PART(in)), &out, sizeof(out)) == sizeof(out) ? 0 : -1;
}

int fs_client_open(struct fs_client *c, const struct fs_options *options)
{
	struct fs_options o = { .guest_uid = 1000, .guest_gid = 1000 };

	*c = (struct fs_client){ .path = "/tmp/venv-test-fs.XXXXXX" };
	(void)umask(0);
	if (!mkdtemp(c->path))
		return -1;
	c->dir = open(c->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (c->dir < 0 || fs_server_new(c->dir, -1, options ? options : &o, &c->server, NULL) < 0)
		return -1;
	return init(c);
}

void fs_client_close(struct fs_client *c)
{
	fs_server_free(c->server);
	(void)close(c->dir);
	(void)venv__tree_delete(AT_FDCWD, c->path, NULL);
}

int fs_lookup(struct fs_client *c, uint64_t dir, const char *name, uint64_t *ret_node)
{
	struct fuse_entry_out out;
	ssize_t n = fs_ask(c, FUSE_LOOKUP, dir, PARTS(TEXT(name)), &out, sizeof(out));

	if (n >= 0 && ret_node)
		*ret_node = out.nodeid;
	return n < 0 ? (int)n : 0;
}

int fs_mkdir(struct fs_client *c, uint64_t dir, const char *name, uint64_t *ret_node)
{
	const struct fuse_mkdir_in in = { .mode = 0755 };
	struct fuse_entry_out out;
	ssize_t n = fs_ask(c, FUSE_MKDIR, dir, PARTS(PART(in), TEXT(name)), &out, sizeof(out));

	if (n >= 0 && ret_node)
		*ret_node = out.nodeid;
	return n < 0 ? (int)n : 0;
}

int fs_open(struct fs_client *c, uint64_t node, uint32_t flags, uint64_t *ret_fh)
{
	const struct fuse_open_in in = { .flags = flags };
	struct fuse_open_out out;
	ssize_t n = fs_ask(c, flags & O_DIRECTORY ? FUSE_OPENDIR : FUSE_OPEN, node, PARTS(PART(in)),
			   &out, sizeof(out));

	if (n >= 0)
		*ret_fh = out.fh;
	return n < 0 ? (int)n : 0;
}

int fs_create(struct fs_client *c, uint64_t dir, const char *name, uint32_t flags, uint32_t mode,
	      uint64_t *ret_node, uint64_t *ret_fh)
{
	const struct fuse_create_in in = { .flags = flags | O_CREAT, .mode = S_IFREG | mode };
	struct {
		struct fuse_entry_out entry;
		struct fuse_open_out open;
	} out;
	ssize_t n = fs_ask(c, FUSE_CREATE, dir, PARTS(PART(in), TEXT(name)), &out, sizeof(out));

	if (n < 0)
		return (int)n;
	*ret_node = out.entry.nodeid;
	*ret_fh = out.open.fh;
	return 0;
}

int fs_release(struct fs_client *c, uint64_t node, uint64_t fh)
{
	const struct fuse_release_in in = { .fh = fh };

	return (int)fs_ask(c, FUSE_RELEASE, node, PARTS(PART(in)), NULL, 0);
}

ssize_t fs_read(struct fs_client *c, uint64_t node, uint64_t fh, uint64_t offset, void *data,
		uint32_t size)
{
	const struct fuse_read_in in = { .fh = fh, .offset = offset, .size = size };

	return fs_ask(c, FUSE_READ, node, PARTS(PART(in)), data, size);
}

ssize_t fs_write(struct fs_client *c, uint64_t node, uint64_t fh, uint64_t offset, const void *data,
		 uint32_t size)
{
	const struct fuse_write_in in = { .fh = fh, .offset = offset, .size = size };
	struct fuse_write_out out;
	ssize_t n = fs_ask(c, FUSE_WRITE, node, PARTS(PART(in), { data, size }), &out, sizeof(out));

	return n < 0 ? n : (ssize_t)out.size;
}

int fs_forget(struct fs_client *c, uint64_t node, uint64_t lookups)
{
	const struct fuse_forget_in in = { .nlookup = lookups };

	return (int)fs_ask(c, FUSE_FORGET, node, PARTS(PART(in)), NULL, 0);
}

void fs_host_file(struct fs_client *c, const char *name, const char *text)
{
	int fd = openat(c->dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	if (fd < 0 || venv__write_all(fd, text, strlen(text)) < 0)
		abort();
	(void)close(fd);
}
