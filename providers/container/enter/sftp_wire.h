/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SFTP version 3: numbers, packets in and out, attributes, handles. Private to sftp*.c and its
 * tests.
 */
#ifndef VENV_ENTER_SFTP_WIRE_H
#define VENV_ENTER_SFTP_WIRE_H

#include <dirent.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

enum {
	SFTP_VERSION = 3,
	SFTP_PACKET_MAX = 256 * 1024,           /* as OpenSSH: length field's largest value */
	SFTP_DATA_MAX = SFTP_PACKET_MAX - 1024, /* of one read or write */
	SFTP_HANDLES_MAX = 512,
	SFTP_OUT_SIZE = 2 * SFTP_PACKET_MAX
};

enum sftp_type {
	SFTP_INIT = 1,
	SFTP_OPEN = 3,
	SFTP_CLOSE,
	SFTP_READ,
	SFTP_WRITE,
	SFTP_LSTAT,
	SFTP_FSTAT,
	SFTP_SETSTAT,
	SFTP_FSETSTAT,
	SFTP_OPENDIR,
	SFTP_READDIR,
	SFTP_REMOVE,
	SFTP_MKDIR,
	SFTP_RMDIR,
	SFTP_REALPATH,
	SFTP_STAT,
	SFTP_RENAME,
	SFTP_READLINK,
	SFTP_SYMLINK,
	SFTP_REPLY_VERSION = 2,
	SFTP_REPLY_STATUS = 101,
	SFTP_REPLY_HANDLE,
	SFTP_REPLY_DATA,
	SFTP_REPLY_NAME,
	SFTP_REPLY_ATTRS,
	SFTP_EXTENDED = 200,
	SFTP_REPLY_EXTENDED
};

enum sftp_status {
	SFTP_OK,
	SFTP_EOF,
	SFTP_NO_SUCH_FILE,
	SFTP_PERMISSION_DENIED,
	SFTP_FAILURE,
	SFTP_BAD_MESSAGE,
	SFTP_OP_UNSUPPORTED = 8
};

enum {
	SFTP_ATTR_SIZE = 1,
	SFTP_ATTR_IDS = 2,
	SFTP_ATTR_MODE = 4,
	SFTP_ATTR_TIMES = 8,
	SFTP_ATTR_EXTENDED = 0x80000000
};
enum {
	SFTP_OPEN_READ = 1,
	SFTP_OPEN_WRITE = 2,
	SFTP_OPEN_APPEND = 4,
	SFTP_OPEN_CREATE = 8,
	SFTP_OPEN_TRUNCATE = 16,
	SFTP_OPEN_EXCLUSIVE = 32
};

struct sftp_handle {
	int fd; /* -1: free, or a directory */
	DIR *dir;
	bool append;
	uint32_t generation; /* a handle that was closed does not become another file */
};

struct sftp {
	int out_fd;
	bool broken;  /* nobody reads our answers any more */
	bool started; /* had its INIT */
	unsigned char *out;
	size_t out_length, reply_start;
	struct sftp_handle handles[SFTP_HANDLES_MAX];
};

/* A request that is being read. Getters past the end set bad and give zeros. */
struct sftp_in {
	const unsigned char *data;
	size_t left;
	bool bad;
	uint32_t id;
};

struct sftp_attrs {
	uint32_t flags, uid, gid, mode, atime, mtime;
	uint64_t size;
};

int sftp_init(struct sftp *sftp, int out_fd); /* 0 or -ENOMEM */
void sftp_done(struct sftp *sftp);
/* One packet without its length field; false: not worth going on. */
bool sftp_packet(struct sftp *sftp, const unsigned char *data, size_t length);
void sftp_flush(struct sftp *sftp);

uint8_t sftp_get_u8(struct sftp_in *in);
uint32_t sftp_get_u32(struct sftp_in *in);
uint64_t sftp_get_u64(struct sftp_in *in);
const unsigned char *sftp_get_string(struct sftp_in *in, size_t *ret_length);
bool sftp_get_path(struct sftp_in *in, char ret[PATH_MAX]); /* "" becomes "." */
void sftp_get_attrs(struct sftp_in *in, struct sftp_attrs *ret);

void sftp_begin(struct sftp *sftp, enum sftp_type type, uint32_t id);
void sftp_put_u32(struct sftp *sftp, uint32_t value);
void sftp_put_u64(struct sftp *sftp, uint64_t value);
void sftp_put_string(struct sftp *sftp, const void *data, size_t length);
void sftp_put_attrs(struct sftp *sftp, const struct stat *st);
void sftp_end(struct sftp *sftp);
/* Space for an answer of this size, flushing if need be; where its bytes go. */
unsigned char *sftp_reserve(struct sftp *sftp, size_t length);
void sftp_reply_status(struct sftp *sftp, uint32_t id, enum sftp_status status,
		       const char *message);
void sftp_reply_errno(struct sftp *sftp, uint32_t id, int number); /* 0: it went well */
void sftp_reply_name(struct sftp *sftp, uint32_t id, const char *name);

/* NULL: none free, or no such handle. */
struct sftp_handle *sftp_handle_new(struct sftp *sftp, int fd, DIR *dir, uint32_t id);
struct sftp_handle *sftp_get_handle(struct sftp *sftp, struct sftp_in *in);
int sftp_handle_close(struct sftp_handle *handle); /* 0 or errno */

/* sftp_files.c */
void sftp_file_request(struct sftp *sftp, enum sftp_type type, struct sftp_in *in);
int sftp_apply(int fd, const char *path, const struct sftp_attrs *attrs, bool follow); /* errno */
int sftp_canonical(const char *path, char ret[PATH_MAX]);                              /* errno */

/* sftp_extended.c */
void sftp_put_extensions(struct sftp *sftp);
void sftp_extended(struct sftp *sftp, struct sftp_in *in);

#endif
