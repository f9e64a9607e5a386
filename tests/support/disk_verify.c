/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Does a disk hold what was written to it, also later?
 *
 *	disk_verify write|check [-s SEED] [-t THREADS] [-n WRITES] FILE MIB
 *
 * `write` makes FILE anew (or takes a block device) and writes, past the cache, WRITES times by each of
 * THREADS at random places of its part; each block says whose it is, which write it was, and has a checksum.
 * Meanwhile blocks are read back. `check`, with the same numbers, knows what must be where: after a reboot,
 * a suspend, on another copy of the disk. Ends with 1 and the block's place when one is not as it must be.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BLOCK = 4096, AT_ONCE = 16, THREADS_MAX = 64, READ_ONE_OF = 4 };

static const uint64_t MAGIC = 0x6b6c62766e6576;

struct block {
	uint64_t magic, seed, number, generation, checksum;
	uint64_t body[BLOCK / 8 - 5];
};

struct disk {
	const char *path;
	int fd;
	bool is_file; /* what was never written is zero */
	bool writes;
	uint64_t seed, blocks;
	unsigned long threads, count;
};

struct part {
	const struct disk *disk;
	pthread_t thread;
	uint64_t first, blocks;
	uint64_t random;
	uint32_t *generation; /* of each block of the part: 0 was never written */
	struct block *buffer; /* AT_ONCE */
	bool bad;
};

static uint64_t mix(uint64_t z)
{
	z += 0x9e3779b97f4a7c15;
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

static uint64_t below(struct part *part, uint64_t limit)
{
	return (part->random = mix(part->random)) % limit;
}

static uint64_t checksum(const struct block *block)
{
	uint64_t sum = block->seed ^ mix(block->number) ^ mix(block->generation << 32);

	for (size_t i = 0; i < sizeof(block->body) / 8; i++)
		sum = mix(sum ^ block->body[i]);
	return sum;
}

static void fill(struct block *block, uint64_t seed, uint64_t number, uint32_t generation)
{
	uint64_t x = mix(seed ^ number << 24 ^ generation);

	*block = (struct block){
		.magic = MAGIC, .seed = seed, .number = number, .generation = generation
	};
	for (size_t i = 0; i < sizeof(block->body) / 8; i++)
		block->body[i] = x = x * 6364136223846793005 + 1442695040888963407;
	block->checksum = checksum(block);
}

static void complain(struct part *part, uint64_t number, const char *what)
{
	part->bad = true;
	(void)printf("disk_verify: block %llu (byte %#llx): %s\n", (unsigned long long)number,
		     (unsigned long long)number * BLOCK, what);
}

static bool is_zero(const struct block *block)
{
	static const struct block zero;

	return memcmp(block, &zero, sizeof(zero)) == 0;
}

static void look_at(struct part *part, const struct block *block, uint64_t number)
{
	uint32_t generation = part->generation[number - part->first];
	char text[160];

	if (generation == 0) {
		if (part->disk->is_file && !is_zero(block))
			complain(part, number, "was never written and is not zero");
		return;
	}
	if (block->magic == MAGIC && block->seed == part->disk->seed && block->number == number &&
	    block->generation == generation && block->checksum == checksum(block))
		return;
	(void)snprintf(text, sizeof(text),
		       "write %u expected; is %s, block %llu, write %llu, checksum %s", generation,
		       is_zero(block)                    ? "zero"
		       : block->magic != MAGIC           ? "none of ours"
		       : block->seed != part->disk->seed ? "of another seed"
							 : "ours",
		       (unsigned long long)block->number, (unsigned long long)block->generation,
		       block->checksum == checksum(block) ? "right" : "wrong");
	complain(part, number, text);
}

/* Read blocks and look at them. */
static void read_blocks(struct part *part, uint64_t first, uint64_t count)
{
	ssize_t n = pread(part->disk->fd, part->buffer, count * BLOCK, (off_t)(first * BLOCK));

	if (n != (ssize_t)(count * BLOCK)) {
		complain(part, first, n < 0 ? strerror(errno) : "read in part");
		return;
	}
	for (uint64_t i = 0; i < count; i++)
		look_at(part, &part->buffer[i], first + i);
}

static void write_blocks(struct part *part, uint64_t first, uint64_t count, uint32_t generation)
{
	ssize_t n;

	for (uint64_t i = 0; i < count; i++)
		part->generation[first + i - part->first] = generation;
	if (!part->disk->writes)
		return;
	for (uint64_t i = 0; i < count; i++)
		fill(&part->buffer[i], part->disk->seed, first + i, generation);
	n = pwrite(part->disk->fd, part->buffer, count * BLOCK, (off_t)(first * BLOCK));
	if (n != (ssize_t)(count * BLOCK))
		complain(part, first, n < 0 ? strerror(errno) : "written in part");
}

static uint64_t some(struct part *part, uint64_t *ret_count)
{
	uint64_t at = below(part, part->blocks), left = part->blocks - at;

	*ret_count = 1 + below(part, left < AT_ONCE ? left : AT_ONCE);
	return part->first + at;
}

/* What was written is known by doing it all again, without writing. */
static void *work(void *user)
{
	struct part *part = user;
	uint64_t first, count;

	for (unsigned long i = 1; i <= part->disk->count && !part->bad; i++) {
		first = some(part, &count);
		write_blocks(part, first, count, (uint32_t)i);
		if (i % READ_ONE_OF)
			continue;
		first = some(part, &count);
		if (part->disk->writes)
			read_blocks(part, first, count);
	}
	for (first = 0; first < part->blocks && !part->bad; first += count) {
		count = part->blocks - first < AT_ONCE ? part->blocks - first : AT_ONCE;
		read_blocks(part, part->first + first, count);
	}
	return NULL;
}

static int open_disk(struct disk *disk)
{
	struct stat st;
	int fd = open(disk->path, O_RDWR | O_DIRECT | O_CLOEXEC | (disk->writes ? O_CREAT : 0),
		      0600);

	if (fd < 0 || fstat(fd, &st) < 0)
		return -1;
	disk->fd = fd;
	disk->is_file = S_ISREG(st.st_mode);
	if (!disk->is_file || !disk->writes)
		return 0;
	return ftruncate(fd, 0) < 0 ? -1 : ftruncate(fd, (off_t)(disk->blocks * BLOCK));
}

static bool start(struct part *part, const struct disk *disk, unsigned long i)
{
	uint64_t each = disk->blocks / disk->threads;
	void *buffer;

	*part = (struct part){
		.disk = disk, .first = i * each, .blocks = each, .random = mix(disk->seed + i)
	};
	part->generation = calloc(each, sizeof(*part->generation));
	if (!part->generation ||
	    posix_memalign(&buffer, BLOCK, AT_ONCE * sizeof(struct block)) != 0)
		return false;
	part->buffer = buffer;
	return pthread_create(&part->thread, NULL, work, part) == 0;
}

static int run(struct disk *disk)
{
	struct part part[THREADS_MAX];
	bool bad = false;

	if (open_disk(disk) < 0) {
		(void)printf("disk_verify: %s: %s\n", disk->path, strerror(errno));
		return 1;
	}
	for (unsigned long i = 0; i < disk->threads; i++)
		if (!start(&part[i], disk, i))
			abort();
	for (unsigned long i = 0; i < disk->threads; i++) {
		(void)pthread_join(part[i].thread, NULL);
		bad |= part[i].bad;
		free(part[i].generation);
		free(part[i].buffer);
	}
	if (fsync(disk->fd) < 0 || close(disk->fd) < 0) {
		(void)printf("disk_verify: %s: %s\n", disk->path, strerror(errno));
		bad = true;
	}
	if (!bad)
		(void)printf("disk_verify: %lu x %lu writes: all is well\n", disk->threads,
			     disk->count);
	return bad;
}

int main(int argc, char **argv)
{
	struct disk disk = { .seed = 1, .threads = 4, .count = 500 };
	int option;

	while ((option = getopt(argc, argv, "s:t:n:")) != -1)
		switch (option) {
		case 's':
			disk.seed = strtoull(optarg, NULL, 0);
			break;
		case 't':
			disk.threads = strtoul(optarg, NULL, 0);
			break;
		case 'n':
			disk.count = strtoul(optarg, NULL, 0);
			break;
		default:
			return 2;
		}
	if (argc - optind != 3) {
		(void)fprintf(stderr, "usage: disk_verify write|check [-s SEED] [-t THREADS] "
				      "[-n WRITES] FILE MIB\n");
		return 2;
	}
	disk.writes = strcmp(argv[optind], "write") == 0;
	disk.path = argv[optind + 1];
	disk.blocks = strtoull(argv[optind + 2], NULL, 0) * (1024 * 1024 / BLOCK);
	if (!disk.threads || disk.threads > THREADS_MAX || disk.blocks < disk.threads)
		return 2;
	return run(&disk);
}
