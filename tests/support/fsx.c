/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Does a file hold what was written to it? Random operations on one file beside a model in memory:
 *
 *	fsx [-n OPERATIONS] [-s SEED] [-l LONGEST] FILE
 *
 * FILE is made anew, and removed when all was well. What the file system refuses as not supported is told
 * once and left out. Where file and model differ it says where, what the last operations were and how to
 * do the same again, keeps the file and ends with 1.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	LOG = 40,            /* operations that are remembered */
	PAGE = 4096,         /* what direct input and output is aligned to, too */
	LONGEST = 256 << 10, /* of the file */
	PIECE = 64 << 10,    /* of one operation */
	OPERATIONS = 5000,
	FSYNC_ONE_OF = 3,
};

struct done {
	unsigned long number;
	const char *what;
	size_t at, length, to, size; /* size: of the file before */
};

struct fsx {
	const char *path;
	int fd, append_fd, direct_fd;
	unsigned char *model, *buffer; /* each of `longest` bytes; buffer is aligned */
	size_t size, longest;
	uint64_t seed, random;
	unsigned long number;
	struct done log[LOG];
};

/* An operation: 0, or the errno it was refused with */
typedef int (*fsx_fn)(struct fsx *x, struct done *done);

/* ---- numbers and messages ------------------------------------------------------------------------ */

static uint64_t next(struct fsx *x)
{
	uint64_t z = x->random += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

static size_t below(struct fsx *x, size_t limit)
{
	return limit ? (size_t)(next(x) % limit) : 0;
}

static size_t smaller(size_t a, size_t b)
{
	return a < b ? a : b;
}

static void print_log(const struct fsx *x)
{
	unsigned long first = x->number > LOG ? x->number - LOG + 1 : 1;

	(void)printf("the last operations:\n");
	for (unsigned long n = first; n <= x->number; n++) {
		const struct done *done = &x->log[n % LOG];

		(void)printf("  %lu %s at %#zx length %#zx to %#zx, file of %#zx\n", done->number,
			     done->what, done->at, done->length, done->to, done->size);
	}
}

static _Noreturn void different(const struct fsx *x, const char *what)
{
	(void)printf("fsx: operation %lu: %s\n", x->number, what);
	print_log(x);
	(void)printf("the same again: fsx -n %lu -s %llu -l %zu %s\n", x->number,
		     (unsigned long long)x->seed, x->longest, x->path);
	exit(1);
}

static _Noreturn void failed(const struct fsx *x, const char *call, int number)
{
	char text[128];

	(void)snprintf(text, sizeof(text), "%s: %s", call, strerror(number));
	different(x, text);
}

/* What was read at an offset, beside the model; behind the file's end there are zeroes. */
static void compare(const struct fsx *x, const unsigned char *got, size_t at, size_t length)
{
	size_t i = 0, last, bad = 0;
	char text[160];

	while (i < length && got[i] == (at + i < x->size ? x->model[at + i] : 0))
		i++;
	if (i == length)
		return;
	last = i;
	for (size_t j = i; j < length; j++)
		if (got[j] != (at + j < x->size ? x->model[at + j] : 0)) {
			last = j;
			bad++;
		}
	(void)snprintf(text, sizeof(text),
		       "%zu bytes differ in %#zx..%#zx: %#x there, %#x expected", bad, at + i,
		       at + last, got[i], at + i < x->size ? x->model[at + i] : 0);
	different(x, text);
}

/* ---- the model ----------------------------------------------------------------------------------- */

/* A range of at least one byte that may end behind the file's end. */
static void any_range(struct fsx *x, struct done *done)
{
	done->at = below(x, x->longest);
	done->length = 1 + below(x, smaller(PIECE, x->longest - done->at));
}

/* A range within the file, or none. */
static bool inner_range(struct fsx *x, struct done *done)
{
	done->at = below(x, x->size);
	done->length = x->size ? 1 + below(x, smaller(PIECE, x->size - done->at)) : 0;
	return done->length > 0;
}

static void aligned_range(struct fsx *x, struct done *done)
{
	done->at = below(x, x->longest / PAGE) * PAGE;
	done->length = (1 + below(x, smaller(PIECE, x->longest - done->at) / PAGE)) * PAGE;
	done->length = smaller(done->length, x->longest - done->at);
}

static void resize(struct fsx *x, size_t size)
{
	if (size > x->size)
		memset(x->model + x->size, 0, size - x->size);
	x->size = size;
}

/* New bytes, in the buffer and at their place in the model. */
static void fill(struct fsx *x, size_t at, size_t length)
{
	unsigned char first = (unsigned char)next(x);

	for (size_t i = 0; i < length; i++)
		x->buffer[i] = (unsigned char)(first + i + (i >> 8) * 7);
	if (at + length > x->size)
		resize(x, at + length);
	memcpy(x->model + at, x->buffer, length);
}

static bool is_refusal(int number)
{
	return number == EOPNOTSUPP || number == ENODEV || number == ENOSYS;
}

/* ---- operations ---------------------------------------------------------------------------------- */

static void write_all(const struct fsx *x, int fd, size_t at, size_t length)
{
	ssize_t n;

	for (size_t i = 0; i < length; i += (size_t)n) {
		n = pwrite(fd, x->buffer + i, length - i, (off_t)(at + i));
		if (n <= 0)
			failed(x, "pwrite", n < 0 ? errno : 0);
	}
}

static void read_all(const struct fsx *x, int fd, size_t at, size_t length)
{
	size_t there = at < x->size ? smaller(length, x->size - at) : 0, done = 0;
	ssize_t n;

	do {
		n = pread(fd, x->buffer + done, length - done, (off_t)(at + done));
		if (n < 0)
			failed(x, "pread", errno);
		done += (size_t)n;
	} while (n > 0 && done < length);
	if (done != there)
		different(x, "a read of another length than there are bytes");
	compare(x, x->buffer, at, there);
}

static int do_write(struct fsx *x, struct done *done)
{
	any_range(x, done);
	fill(x, done->at, done->length);
	write_all(x, x->fd, done->at, done->length);
	return 0;
}

static int do_append(struct fsx *x, struct done *done)
{
	done->at = x->size;
	done->length = smaller(1 + below(x, PIECE), x->longest - x->size);
	if (!done->length)
		return 0;
	fill(x, done->at, done->length);
	if (write(x->append_fd, x->buffer, done->length) != (ssize_t)done->length)
		failed(x, "write with O_APPEND", errno);
	return 0;
}

static int do_read(struct fsx *x, struct done *done)
{
	any_range(x, done);
	read_all(x, x->fd, done->at, done->length);
	return 0;
}

static int do_direct_write(struct fsx *x, struct done *done)
{
	if (x->direct_fd < 0)
		return EOPNOTSUPP;
	aligned_range(x, done);
	fill(x, done->at, done->length);
	write_all(x, x->direct_fd, done->at, done->length);
	return 0;
}

static int do_direct_read(struct fsx *x, struct done *done)
{
	size_t there;
	ssize_t n;

	if (x->direct_fd < 0)
		return EOPNOTSUPP;
	aligned_range(x, done);
	there = done->at < x->size ? smaller(done->length, x->size - done->at) : 0;
	n = pread(x->direct_fd, x->buffer, done->length, (off_t)done->at);
	if (n < 0)
		failed(x, "pread with O_DIRECT", errno);
	if ((size_t)n != there)
		different(x, "a direct read of another length than there are bytes");
	compare(x, x->buffer, done->at, there);
	return 0;
}

static int do_truncate(struct fsx *x, struct done *done)
{
	done->to = below(x, x->longest + 1);
	if (ftruncate(x->fd, (off_t)done->to) < 0)
		failed(x, "ftruncate", errno);
	resize(x, done->to);
	return 0;
}

/* By its name, as another process might. */
static int do_truncate_path(struct fsx *x, struct done *done)
{
	done->to = below(x, x->size + 1);
	if (truncate(x->path, (off_t)done->to) < 0)
		failed(x, "truncate", errno);
	resize(x, done->to);
	return 0;
}

static int allocate(struct fsx *x, struct done *done, int mode)
{
	size_t end;

	any_range(x, done);
	if (fallocate(x->fd, mode, (off_t)done->at, (off_t)done->length) < 0) {
		if (!is_refusal(errno))
			failed(x, "fallocate", errno);
		return errno;
	}
	end = done->at + done->length;
	if (!(mode & FALLOC_FL_KEEP_SIZE) && end > x->size)
		resize(x, end);
	if (mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE) && done->at < x->size)
		memset(x->model + done->at, 0, smaller(end, x->size) - done->at);
	return 0;
}

static int do_allocate(struct fsx *x, struct done *done)
{
	return allocate(x, done, 0);
}

static int do_allocate_keep(struct fsx *x, struct done *done)
{
	return allocate(x, done, FALLOC_FL_KEEP_SIZE);
}

static int do_punch(struct fsx *x, struct done *done)
{
	return allocate(x, done, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE);
}

static int do_zero(struct fsx *x, struct done *done)
{
	return allocate(x, done, FALLOC_FL_ZERO_RANGE);
}

static int do_zero_keep(struct fsx *x, struct done *done)
{
	return allocate(x, done, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE);
}

/* Maps from the page of `at` to the page of the end. */
static int map(const struct fsx *x, const struct done *done, int rights, unsigned char **ret,
	       size_t *ret_length)
{
	size_t start = done->at / PAGE * PAGE;
	void *there;

	*ret_length = (done->at + done->length - start + PAGE - 1) / PAGE * PAGE;
	there = mmap(NULL, *ret_length, rights, MAP_SHARED, x->fd, (off_t)start);
	if (there == MAP_FAILED) {
		if (!is_refusal(errno))
			failed(x, "mmap", errno);
		return errno;
	}
	*ret = there;
	return 0;
}

static int do_map_write(struct fsx *x, struct done *done)
{
	unsigned char *there;
	size_t length;
	int r;

	if (!inner_range(x, done))
		return 0;
	r = map(x, done, PROT_READ | PROT_WRITE, &there, &length);
	if (r)
		return r;
	fill(x, done->at, done->length);
	memcpy(there + done->at % PAGE, x->buffer, done->length);
	if (below(x, 2) && msync(there, length, MS_SYNC) < 0)
		failed(x, "msync", errno);
	if (munmap(there, length) < 0)
		failed(x, "munmap", errno);
	return 0;
}

/* The whole pages: behind the file's end they hold zeroes. */
static int do_map_read(struct fsx *x, struct done *done)
{
	unsigned char *there;
	size_t length;
	int r;

	if (!inner_range(x, done))
		return 0;
	r = map(x, done, PROT_READ, &there, &length);
	if (r)
		return r;
	compare(x, there, done->at / PAGE * PAGE, length);
	if (munmap(there, length) < 0)
		failed(x, "munmap", errno);
	return 0;
}

static int do_copy(struct fsx *x, struct done *done)
{
	loff_t from, to;
	ssize_t n;

	if (!inner_range(x, done))
		return 0;
	done->to = below(x, x->longest);
	done->length = smaller(done->length, x->longest - done->to);
	/* kernels refuse ranges of one file that overlap */
	done->length = smaller(done->length,
			       done->to > done->at ? done->to - done->at : done->at - done->to);
	if (!done->length)
		return 0;
	from = (loff_t)done->at;
	to = (loff_t)done->to;
	n = copy_file_range(x->fd, &from, x->fd, &to, done->length, 0);
	if (n < 0 && !is_refusal(errno))
		failed(x, "copy_file_range", errno);
	if (n < 0)
		return errno;
	done->length = (size_t)n;
	if (done->to + done->length > x->size)
		resize(x, n ? done->to + done->length : x->size);
	memcpy(x->model + done->to, x->model + done->at, done->length);
	return 0;
}

/* What is said to be a hole reads as zeroes. */
static int do_seek(struct fsx *x, struct done *done)
{
	off_t data;

	if (!x->size)
		return 0;
	done->at = below(x, x->size);
	data = lseek(x->fd, (off_t)done->at, SEEK_DATA);
	if (data < 0 && errno != ENXIO)
		failed(x, "lseek", errno);
	done->to = data < 0 ? x->size : (size_t)data;
	for (size_t i = done->at; i < done->to && i < x->size; i++)
		if (x->model[i])
			different(x, "there is data in what SEEK_DATA calls a hole");
	return 0;
}

static int do_sync(struct fsx *x, struct done *done)
{
	(void)done;
	if ((below(x, FSYNC_ONE_OF) ? fdatasync(x->fd) : fsync(x->fd)) < 0)
		failed(x, "fsync", errno);
	return 0;
}

static void open_all(struct fsx *x, int flags)
{
	x->fd = open(x->path, O_RDWR | O_CLOEXEC | flags, 0600);
	if (x->fd < 0)
		failed(x, "open", errno);
	x->append_fd = open(x->path, O_WRONLY | O_APPEND | O_CLOEXEC);
	if (x->append_fd < 0)
		failed(x, "open with O_APPEND", errno);
	x->direct_fd = open(x->path, O_RDWR | O_DIRECT | O_CLOEXEC);
	if (x->direct_fd < 0 && errno != EINVAL && !is_refusal(errno))
		failed(x, "open with O_DIRECT", errno);
}

static void close_all(const struct fsx *x)
{
	if (close(x->fd) < 0 || close(x->append_fd) < 0 ||
	    (x->direct_fd >= 0 && close(x->direct_fd) < 0))
		failed(x, "close", errno);
}

/* And all of it is looked at. */
static int do_reopen(struct fsx *x, struct done *done)
{
	close_all(x);
	open_all(x, 0);
	done->length = x->size;
	read_all(x, x->fd, 0, x->longest);
	return 0;
}

static struct operation {
	const char *name;
	fsx_fn fn;
	unsigned weight; /* 0: left out */
} operations[] = {
	{ "write", do_write, 16 },
	{ "append", do_append, 3 },
	{ "read", do_read, 16 },
	{ "direct write", do_direct_write, 3 },
	{ "direct read", do_direct_read, 3 },
	{ "ftruncate", do_truncate, 5 },
	{ "truncate", do_truncate_path, 2 },
	{ "fallocate", do_allocate, 2 },
	{ "fallocate, keep size", do_allocate_keep, 2 },
	{ "punch a hole", do_punch, 3 },
	{ "zero a range", do_zero, 2 },
	{ "zero a range, keep size", do_zero_keep, 2 },
	{ "write to a mapping", do_map_write, 8 },
	{ "read a mapping", do_map_read, 8 },
	{ "copy_file_range", do_copy, 3 },
	{ "seek to data", do_seek, 3 },
	{ "sync", do_sync, 1 },
	{ "reopen", do_reopen, 1 },
};

enum { N_OPERATIONS = sizeof(operations) / sizeof(*operations) };

/* ---- all of it ----------------------------------------------------------------------------------- */

static struct operation *choose(struct fsx *x)
{
	unsigned total = 0, at;
	struct operation *op = operations;

	for (size_t i = 0; i < N_OPERATIONS; i++)
		total += operations[i].weight;
	at = (unsigned)below(x, total);
	while (at >= op->weight)
		at -= op++->weight;
	return op;
}

static void step(struct fsx *x)
{
	struct operation *op = choose(x);
	struct done *done = &x->log[++x->number % LOG];
	struct stat st;
	int r;

	*done = (struct done){ .number = x->number, .what = op->name, .size = x->size };
	r = op->fn(x, done);
	if (r) {
		(void)printf("fsx: %s: %s: left out\n", op->name, strerror(r));
		op->weight = 0;
	}
	if (fstat(x->fd, &st) < 0)
		failed(x, "fstat", errno);
	if ((size_t)st.st_size != x->size)
		different(x, "another size than expected");
}

static int run(struct fsx *x, unsigned long count)
{
	x->random = x->seed;
	x->model = calloc(1, x->longest);
	if (!x->model || posix_memalign((void **)&x->buffer, PAGE, x->longest) != 0)
		return 2;
	open_all(x, O_CREAT | O_TRUNC);
	while (x->number < count)
		step(x);
	(void)do_reopen(x, &x->log[x->number % LOG]);
	close_all(x);
	(void)unlink(x->path);
	free(x->model);
	free(x->buffer);
	(void)printf("fsx: %lu operations, seed %llu: all is well\n", count,
		     (unsigned long long)x->seed);
	return 0;
}

int main(int argc, char **argv)
{
	struct fsx x = { .longest = LONGEST, .seed = 1 };
	unsigned long count = OPERATIONS;
	int option;

	while ((option = getopt(argc, argv, "n:s:l:")) != -1)
		switch (option) {
		case 'n':
			count = strtoul(optarg, NULL, 0);
			break;
		case 's':
			x.seed = strtoull(optarg, NULL, 0);
			break;
		case 'l':
			x.longest = strtoul(optarg, NULL, 0) / PAGE * PAGE;
			break;
		default:
			return 2;
		}
	if (argc - optind != 1 || !x.longest) {
		(void)fprintf(stderr, "usage: fsx [-n OPERATIONS] [-s SEED] [-l LONGEST] FILE\n");
		return 2;
	}
	x.path = argv[optind];
	return run(&x, count);
}
