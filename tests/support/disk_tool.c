/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Disk images from the command line, for tests: disk_tool DIRECTORY COMMAND NAME FORMAT [ARGUMENT...]
 *
 *   create NAME FORMAT LENGTH [CLUSTER_BITS [BACKING BACKING_FORMAT]]
 *   open|ropen NAME FORMAT            open and close it, writable or not
 *   info|check NAME FORMAT
 *   grow NAME FORMAT LENGTH
 *   read NAME FORMAT OFFSET LENGTH    to stdout
 *   write NAME FORMAT OFFSET LENGTH BYTE
 *   fsx NAME FORMAT MODEL SEED COUNT  random operations on the disk and on a plain file MODEL
 *   stamp NAME FORMAT SEED COUNT      random operations that say what they do, to be killed
 *
 * Files below an image are looked for in DIRECTORY. An error is one line, CODE: message; exit status 1.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "libvenv/disk/disk.h"

enum { PIECE_MAX = 300 * 1024, BLOCK = 4096 };

struct call {
	struct disk_store store;
	const char *name;
	enum disk_format format;
	char **argument;
	int n;
};

static int fail(venv_error *err)
{
	printf("%s: %s\n", venv_code_name(venv_error_code(err)), venv_error_message(err));
	venv_error_free(err);
	return 1;
}

static uint64_t number(const struct call *call, int i)
{
	return i < call->n ? strtoull(call->argument[i], NULL, 0) : 0;
}

static enum disk_format format_of(const char *name)
{
	return strcmp(name, "raw") == 0 ? DISK_RAW : DISK_QCOW2;
}

static int open_disk(struct call *call, bool read_only, struct disk **ret, venv_error **err)
{
	const struct disk_options options = {
		.format = call->format,
		.read_only = read_only,
		.resolve = venv__disk_resolve_in_store,
		.resolve_user = &call->store,
	};
	int fd =
		openat(call->store.dir_fd, call->name, (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC);

	if (fd < 0)
		return venv__fail_errno(err, errno, "%s", call->name);
	return venv__disk_open(fd, call->name, &options, ret, err);
}

static int run_create(struct call *call, venv_error **err)
{
	const struct disk_create create = {
		.format = call->format,
		.length = number(call, 0),
		.cluster_bits = (unsigned)number(call, 1),
		.backing = call->n > 3 ? call->argument[2] : NULL,
		.backing_format = call->n > 3 ? format_of(call->argument[3]) : DISK_RAW,
	};
	_cleanup_close_ int fd = openat(call->store.dir_fd, call->name,
					O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0)
		return venv__fail_errno(err, errno, "%s", call->name);
	return venv__disk_create(fd, &create, err);
}

static int run_open(struct call *call, venv_error **err)
{
	struct disk *disk;
	int r = open_disk(call, false, &disk, err);

	return r < 0 ? r : venv__disk_close(disk, err);
}

/* Reads all of it, too. */
static int run_ropen(struct call *call, venv_error **err)
{
	_cleanup_disk_ struct disk *disk = NULL;
	_cleanup_free_ char *data = malloc(1 << 20);
	uint64_t length;
	int r = open_disk(call, true, &disk, err);

	length = r < 0 ? 0 : MIN(venv__disk_length(disk), 64ULL << 20);
	for (uint64_t at = 0; data && r >= 0 && at < length; at += 1 << 20)
		r = venv__disk_read(disk, at, data, MIN(length - at, 1ULL << 20), err);
	return r;
}

static int run_info(struct call *call, venv_error **err)
{
	_cleanup_close_ int fd = openat(call->store.dir_fd, call->name, O_RDONLY | O_CLOEXEC);
	struct disk_info info;
	int r = venv__disk_info(fd, call->name, call->format, &info, err);

	if (r < 0)
		return r;
	printf("length %llu version %u cluster_bits %u refcount_bits %u snapshots %u %s%s%s%s\n",
	       (unsigned long long)info.length, info.version, info.cluster_bits, info.refcount_bits,
	       info.n_snapshots, info.zstd ? "zstd " : "", info.dirty ? "dirty " : "",
	       info.corrupt ? "corrupt " : "", info.backing);
	return 0;
}

static int run_check(struct call *call, venv_error **err)
{
	_cleanup_disk_ struct disk *disk = NULL;
	struct disk_check check;
	int r = open_disk(call, true, &disk, err);

	if (r >= 0)
		r = venv__disk_check(disk, &check, err);
	if (r >= 0)
		printf("clusters %llu leaks %llu errors %llu\n", (unsigned long long)check.clusters,
		       (unsigned long long)check.leaks, (unsigned long long)check.errors);
	return r;
}

static int run_grow(struct call *call, venv_error **err)
{
	struct disk *disk;
	int r = open_disk(call, false, &disk, err), s;

	if (r < 0)
		return r;
	r = venv__disk_grow(disk, number(call, 0), err);
	s = venv__disk_close(disk, r < 0 ? NULL : err);
	return r < 0 ? r : s;
}

static int run_read(struct call *call, venv_error **err)
{
	_cleanup_disk_ struct disk *disk = NULL;
	_cleanup_free_ char *data = malloc(number(call, 1) + 1);
	int r = open_disk(call, true, &disk, err);

	if (r >= 0 && data)
		r = venv__disk_read(disk, number(call, 0), data, number(call, 1), err);
	if (r >= 0 && data)
		(void)fwrite(data, 1, number(call, 1), stdout);
	return r;
}

static int run_write(struct call *call, venv_error **err)
{
	_cleanup_free_ char *data = malloc(number(call, 1) + 1);
	struct disk *disk;
	int r = open_disk(call, false, &disk, err), s;

	if (r < 0 || !data)
		return r;
	memset(data, (int)number(call, 2), number(call, 1));
	r = venv__disk_write(disk, number(call, 0), data, number(call, 1), err);
	s = venv__disk_close(disk, r < 0 ? NULL : err);
	return r < 0 ? r : s;
}

/* ---- random operations ------------------------------------------------------------------------------ */

struct fsx {
	struct disk *disk;
	int model;
	uint64_t length, random;
	char *mine, *theirs; /* PIECE_MAX each */
};

static uint64_t draw(struct fsx *fsx, uint64_t below)
{
	fsx->random ^= fsx->random << 13;
	fsx->random ^= fsx->random >> 7;
	fsx->random ^= fsx->random << 17;
	return (fsx->random >> 11) % below;
}

/* As an engine does it: in place where the disk says where. */
static int by_map(struct fsx *fsx, uint64_t at, char *data, uint64_t length, bool write,
		  venv_error **err)
{
	while (length) {
		struct disk_extent extent;
		int r = venv__disk_map(fsx->disk, at, length, write, &extent, err);

		if (r < 0)
			return r;
		if (extent.place == DISK_ZEROES)
			memset(data, 0, extent.length);
		else if (extent.place == DISK_FILE && write)
			r = (int)pwrite(extent.fd, data, extent.length, (off_t)extent.offset);
		else if (extent.place == DISK_FILE)
			r = (int)pread(extent.fd, data, extent.length, (off_t)extent.offset);
		else if (write)
			r = venv__disk_write(fsx->disk, at, data, extent.length, err);
		else
			r = venv__disk_read(fsx->disk, at, data, extent.length, err);
		if (r < 0)
			return r;
		if (extent.place == DISK_FILE && r < (int)extent.length)
			memset(data + r, 0, extent.length - (uint64_t)r);
		at += extent.length;
		data += extent.length;
		length -= extent.length;
	}
	return 0;
}

static int compare(struct fsx *fsx, uint64_t at, uint64_t length, venv_error **err)
{
	ssize_t n = pread(fsx->model, fsx->theirs, length, (off_t)at);

	if (n >= 0)
		memset(fsx->theirs + n, 0, length - (uint64_t)n);
	for (uint64_t i = 0; i < length; i++) {
		if (fsx->mine[i] != fsx->theirs[i])
			return venv__fail(err, VENV_ERR_CORRUPT, "at %llu: %02x, not %02x",
					  (unsigned long long)(at + i), (unsigned char)fsx->mine[i],
					  (unsigned char)fsx->theirs[i]);
	}
	return 0;
}

static int model_write(struct fsx *fsx, uint64_t at, uint64_t length, venv_error **err)
{
	if (pwrite(fsx->model, fsx->mine, length, (off_t)at) != (ssize_t)length)
		return venv__fail_errno(err, errno, "model");
	return 0;
}

/* The content of what was discarded does not matter: it becomes what the disk says now. */
static int adopt(struct fsx *fsx, uint64_t at, uint64_t length, venv_error **err)
{
	int r = venv__disk_read(fsx->disk, at, fsx->mine, length, err);

	return r < 0 ? r : model_write(fsx, at, length, err);
}

static int step(struct fsx *fsx, venv_error **err)
{
	uint64_t at = draw(fsx, fsx->length), most = MIN(fsx->length - at, (uint64_t)PIECE_MAX);
	uint64_t length = 1 + draw(fsx, draw(fsx, 4) ? MIN(most, 9000) : most);
	unsigned what = (unsigned)draw(fsx, 100);
	int r;

	if (draw(fsx, 3) == 0) {
		at &= ~4095ULL;
		length =
			MIN((length + 4095) & ~4095ULL, MIN(fsx->length - at, (uint64_t)PIECE_MAX));
	}
	if (what < 40) {
		memset(fsx->mine, (int)draw(fsx, 256), length);
		fsx->mine[length / 2] = (char)draw(fsx, 256);
		r = model_write(fsx, at, length, err);
		if (r >= 0)
			r = what & 1 ? by_map(fsx, at, fsx->mine, length, true, err)
				     : venv__disk_write(fsx->disk, at, fsx->mine, length, err);
		return r;
	}
	if (what < 80) {
		r = what & 1 ? by_map(fsx, at, fsx->mine, length, false, err)
			     : venv__disk_read(fsx->disk, at, fsx->mine, length, err);
		return r < 0 ? r : compare(fsx, at, length, err);
	}
	if (what < 88) {
		r = venv__disk_discard(fsx->disk, at, length, err);
		return r < 0 ? r : adopt(fsx, at, length, err);
	}
	if (what >= 97)
		return venv__disk_flush(fsx->disk, err);
	memset(fsx->mine, 0, length);
	r = model_write(fsx, at, length, err);
	return r < 0 ? r : venv__disk_write_zeroes(fsx->disk, at, length, what & 1, err);
}

static int run_fsx(struct call *call, venv_error **err)
{
	uint64_t count = number(call, 2);
	struct fsx fsx = { .random = number(call, 1) * 2654435761U + 88172645463325252ULL };
	int r = open_disk(call, false, &fsx.disk, err), s;

	if (r < 0)
		return r;
	fsx.model =
		openat(call->store.dir_fd, call->argument[0], O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	fsx.length = venv__disk_length(fsx.disk);
	fsx.mine = malloc(PIECE_MAX);
	fsx.theirs = malloc(PIECE_MAX);
	if (fsx.model < 0 || !fsx.mine || !fsx.theirs ||
	    ftruncate(fsx.model, (off_t)fsx.length) < 0)
		r = venv__fail_errno(err, errno, "model");
	for (uint64_t i = 0; r >= 0 && i < count; i++) {
		r = step(&fsx, err);
		if (r < 0)
			(void)venv__wrap(r, err, "step %llu", (unsigned long long)i);
	}
	free(fsx.mine);
	free(fsx.theirs);
	(void)close(fsx.model);
	s = venv__disk_close(fsx.disk, r < 0 ? NULL : err);
	return r < 0 ? r : s;
}

/* ---- to be killed ------------------------------------------------------------------------------------- */

/* One line before and one after each operation: "w BLOCK N STAMP" (N blocks full of the stamp), "z BLOCK N"
 * (zeroes), "f" (a flush); then "." when it is done. */
static int stamp_step(struct fsx *fsx, uint32_t stamp, venv_error **err)
{
	uint64_t blocks = fsx->length / BLOCK, n = 1 + draw(fsx, draw(fsx, 5) ? 4 : 60);
	uint64_t at = draw(fsx, blocks), what = draw(fsx, 20);

	n = MIN(n, blocks - at);
	if (what == 0) {
		printf("f\n");
		return venv__disk_flush(fsx->disk, err);
	}
	if (what < 5) {
		printf("z %llu %llu\n", (unsigned long long)at, (unsigned long long)n);
		return venv__disk_write_zeroes(fsx->disk, at * BLOCK, n * BLOCK, what & 1, err);
	}
	printf("w %llu %llu %u\n", (unsigned long long)at, (unsigned long long)n, stamp);
	for (uint64_t i = 0; i < n * BLOCK; i += sizeof(stamp))
		memcpy(fsx->mine + i, &stamp, sizeof(stamp));
	return venv__disk_write(fsx->disk, at * BLOCK, fsx->mine, n * BLOCK, err);
}

static int run_stamp(struct call *call, venv_error **err)
{
	struct fsx fsx = { .random = number(call, 0) * 2654435761U + 88172645463325252ULL };
	uint64_t count = number(call, 1);
	int r = open_disk(call, false, &fsx.disk, err), s;

	if (r < 0)
		return r;
	(void)setvbuf(stdout, NULL, _IOLBF, 0);
	fsx.length = venv__disk_length(fsx.disk);
	fsx.mine = malloc(PIECE_MAX);
	for (uint32_t i = 1; fsx.mine && r >= 0 && i <= count; i++) {
		r = stamp_step(&fsx, i, err);
		if (r >= 0)
			printf(".\n");
	}
	free(fsx.mine);
	s = venv__disk_close(fsx.disk, r < 0 ? NULL : err);
	return r < 0 ? r : s;
}

static const struct {
	const char *name;
	int (*run)(struct call *call, venv_error **err);
	int arguments; /* at least */
} commands[] = {
	{ "create", run_create, 1 }, { "open", run_open, 0 },   { "ropen", run_ropen, 0 },
	{ "info", run_info, 0 },     { "check", run_check, 0 }, { "grow", run_grow, 1 },
	{ "read", run_read, 2 },     { "write", run_write, 3 }, { "fsx", run_fsx, 3 },
	{ "stamp", run_stamp, 2 },
};

int main(int argc, char **argv)
{
	venv_error *err = NULL;
	struct call call = { .argument = argv + 5, .n = argc - 5 };

	for (size_t i = 0; argc > 4 && i < ARRAY_SIZE(commands); i++) {
		if (strcmp(commands[i].name, argv[2]) != 0 || call.n < commands[i].arguments)
			continue;
		call.store.dir_fd = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		call.store.path = argv[1];
		call.name = argv[3];
		call.format = format_of(argv[4]);
		return commands[i].run(&call, &err) < 0 ? fail(err) : 0;
	}
	(void)fprintf(stderr, "usage: disk_tool DIRECTORY COMMAND NAME FORMAT [ARGUMENT...]\n");
	return 2;
}
