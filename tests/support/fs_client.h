/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A FUSE client for tests: sends requests to a server on a temporary directory, without a kernel.
 *
 * Requests and answers go in pieces of `piece` bytes, each its own allocation, so that a sanitizer sees
 * who reads or writes too far.
 */
#ifndef TESTS_FS_CLIENT_H
#define TESTS_FS_CLIENT_H

#include <linux/fuse.h>
#include <string.h>

#include "fs/server.h"

struct fs_client {
	char path[64];
	int dir; /* the directory that is shared */
	struct fs_server *server;
	uint64_t unique;
	size_t piece;  /* 0: one piece */
	uint32_t len;  /* instead of the right one; 0: the right one */
	size_t answer; /* length of the last answer, with its header */
	bool no_wait;  /* -EAGAIN may come then */
};

struct fs_part {
	const void *data;
	size_t size;
};

#define PART(x)                                                                                    \
	{                                                                                          \
		&(x), sizeof(x)                                                                    \
	}
#define TEXT(s)                                                                                    \
	{                                                                                          \
		(s), strlen(s) + 1                                                                 \
	}
#define PARTS(...) ((const struct fs_part[]){ __VA_ARGS__, { 0 } })
#define NONE ((const struct fs_part[]){ { 0 } })

/* A server on an empty directory, for guest uid 1000 and gid 1000, with FUSE_INIT done. */
int fs_client_open(struct fs_client *c, const struct fs_options *options);
void fs_client_close(struct fs_client *c);
/* Send it. @return bytes of the answer (behind the header), or the error that it tells, or what fs_serve()
 * returned below 0 (-EPROTO and -EAGAIN come as -1000 - errno then) */
ssize_t fs_ask(struct fs_client *c, uint32_t opcode, uint64_t node, const struct fs_part *parts,
	       void *out, size_t out_size);
/* Short-hands: error or 0, ids through pointers */
int fs_lookup(struct fs_client *c, uint64_t dir, const char *name, uint64_t *ret_node);
int fs_open(struct fs_client *c, uint64_t node, uint32_t flags, uint64_t *ret_fh);
int fs_create(struct fs_client *c, uint64_t dir, const char *name, uint32_t flags, uint32_t mode,
	      uint64_t *ret_node, uint64_t *ret_fh);
int fs_mkdir(struct fs_client *c, uint64_t dir, const char *name, uint64_t *ret_node);
int fs_release(struct fs_client *c, uint64_t node, uint64_t fh);
ssize_t fs_read(struct fs_client *c, uint64_t node, uint64_t fh, uint64_t offset, void *data,
		uint32_t size);
ssize_t fs_write(struct fs_client *c, uint64_t node, uint64_t fh, uint64_t offset, const void *data,
		 uint32_t size);
int fs_forget(struct fs_client *c, uint64_t node, uint64_t lookups);
/* A file of the host's side */
void fs_host_file(struct fs_client *c, const char *name, const char *text);

#endif
