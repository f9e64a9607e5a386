/* SPDX-License-Identifier: Apache-2.0 */
/*
 * FAT12: boot sector, two tables, a root directory, clusters. Files lie one after the other, so that a
 * chain only counts up. Clusters grow until there are few enough of them for twelve bits each.
 *
 * A name that does not fit in eight and three capital letters stands in entries of its own before the
 * file's (VFAT), thirteen UTF-16 characters each, the last one first; those carry a checksum of the
 * short name, which is NAME~1 and so on.
 */
#include "fat.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/cleanup.h"

enum {
	SECTOR = 512,
	TRACK = 32, /* sectors: mtools wants whole ones */
	TABLES = 2,
	ENTRY = 32,
	ROOT_ENTRIES = 64, /* label, and 16 files with up to two entries for the name */
	ROOT_SECTORS = ROOT_ENTRIES * ENTRY / SECTOR,
	CLUSTERS_MAX = 4084, /* more would be FAT16 */
	MEDIA = 0xf8,
	DATE = 0x21, /* 1 January 1980, the first day there is */
	LONG_CHARS = 13,
	SHORT_CHARS = 11,
	LAST_LONG = 0x40,
	END_OF_CHAIN = 0xfff
};

enum attribute { READ_ONLY = 0x01, LABEL = 0x08, LONG_NAME = 0x0f };

struct layout {
	unsigned cluster; /* sectors */
	unsigned clusters;
	unsigned table;      /* sectors */
	unsigned data_start; /* sector */
	unsigned total;      /* sectors */
};

struct image {
	struct layout layout;
	unsigned char *bytes;
	unsigned entries, clusters; /* used */
};

static void put16(unsigned char *at, unsigned value)
{
	at[0] = (unsigned char)value;
	at[1] = (unsigned char)(value >> 8);
}

static void put32(unsigned char *at, uint32_t value)
{
	put16(at, value & 0xffff);
	put16(at + 2, value >> 16);
}

static unsigned clusters_of(size_t length, unsigned cluster)
{
	return (unsigned)((length + cluster * SECTOR - 1) / (cluster * SECTOR));
}

static int plan(const struct fat_file *files, size_t n, struct layout *ret)
{
	size_t total = 0;

	for (size_t i = 0; i < n; i++) {
		if (files[i].length > FAT_SIZE_MAX)
			return -EFBIG;
		total += files[i].length;
	}
	if (n > FAT_FILES_MAX || total > FAT_SIZE_MAX)
		return -EFBIG;
	for (ret->cluster = 1;; ret->cluster *= 2) {
		unsigned used;

		ret->clusters = 0;
		for (size_t i = 0; i < n; i++)
			ret->clusters += clusters_of(files[i].length, ret->cluster);
		/* the rest of the last track is clusters, too */
		ret->table = ((ret->clusters + TRACK + 2) * 3 / 2 + SECTOR) / SECTOR;
		ret->data_start = 1 + TABLES * ret->table + ROOT_SECTORS;
		used = ret->data_start + ret->clusters * ret->cluster;
		ret->total = (used + TRACK - 1) / TRACK * TRACK;
		ret->clusters = (ret->total - ret->data_start) / ret->cluster;
		if (ret->clusters <= CLUSTERS_MAX)
			return 0;
	}
}

static void write_boot_sector(struct image *image, const char *label, uint32_t serial)
{
	static const unsigned char jump[] = { 0xeb, 0x3c, 0x90 };
	static const char maker[8] = { "venv    " }, type[8] = { "FAT12   " };
	const struct layout *layout = &image->layout;
	unsigned char *boot = image->bytes;

	memcpy(boot, jump, sizeof(jump));
	memcpy(boot + 3, maker, sizeof(maker));
	put16(boot + 11, SECTOR);
	boot[13] = (unsigned char)layout->cluster;
	put16(boot + 14, 1); /* reserved sectors: this one */
	boot[16] = TABLES;
	put16(boot + 17, ROOT_ENTRIES);
	put16(boot + 19, layout->total);
	boot[21] = MEDIA;
	put16(boot + 22, layout->table);
	put16(boot + 24, TRACK);
	put16(boot + 26, 1); /* heads */
	boot[36] = 0x80;     /* drive */
	boot[38] = 0x29;     /* serial, label and type follow */
	put32(boot + 39, serial);
	memcpy(boot + 43, label, SHORT_CHARS);
	memcpy(boot + 54, type, sizeof(type));
	put16(boot + 510, 0xaa55);
}

/* Twelve bits in both tables. */
static void set_link(struct image *image, unsigned cluster, unsigned next)
{
	for (unsigned i = 0; i < TABLES; i++) {
		unsigned char *at = image->bytes + (1 + i * image->layout.table) * (size_t)SECTOR +
				    cluster * 3 / 2;
		unsigned old = (unsigned)at[0] | (unsigned)at[1] << 8;

		put16(at, cluster & 1 ? (old & 0x000f) | next << 4 : (old & 0xf000) | next);
	}
}

static unsigned char *next_entry(struct image *image)
{
	size_t root = (1 + TABLES * image->layout.table) * (size_t)SECTOR;

	return image->bytes + root + image->entries++ * (size_t)ENTRY;
}

static unsigned char *add_entry(struct image *image, const char *name, enum attribute attribute)
{
	unsigned char *entry = next_entry(image);

	memcpy(entry, name, SHORT_CHARS);
	entry[11] = (unsigned char)attribute;
	put16(entry + 16, DATE);
	put16(entry + 18, DATE);
	put16(entry + 24, DATE);
	return entry;
}

/* ---- Names --------------------------------------------------------------------------------- */

static bool is_name(const char *name)
{
	size_t length = strlen(name);

	for (const char *c = name; *c; c++)
		if (*c <= ' ' || *c > '~' || strchr("\"*/:<>?\\|", *c))
			return false;
	return length > 0 && length <= FAT_NAME_MAX && name[length - 1] != '.';
}

static char short_char(char c)
{
	if (c >= 'a' && c <= 'z')
		return (char)(c - 'a' + 'A');
	return strchr("+,;=[]. ", c) ? '_' : c;
}

/* Always one with a number, which is never another file's: n is the file's own. */
static void shorten(const char *name, unsigned n, char ret[SHORT_CHARS + 1])
{
	const char *dot = strrchr(name, '.');
	char number[4];
	size_t digits = (size_t)snprintf(number, sizeof(number), "~%u", n % 100), length = 0;

	memset(ret, ' ', SHORT_CHARS);
	ret[SHORT_CHARS] = '\0';
	for (const char *c = name; *c && c != dot && length < 8 - digits; c++)
		ret[length++] = short_char(*c);
	memcpy(ret + length, number, digits);
	length = 8;
	for (const char *c = dot ? dot + 1 : ""; *c && length < SHORT_CHARS; c++)
		ret[length++] = short_char(*c);
}

static unsigned char checksum(const char *name)
{
	unsigned sum = 0;

	for (unsigned i = 0; i < SHORT_CHARS; i++)
		sum = (((sum & 1) << 7) + (sum >> 1) + (unsigned char)name[i]) & 0xff;
	return (unsigned char)sum;
}

/* Thirteen characters: the name's, a zero, then all ones. */
static void add_long_entry(struct image *image, const char *name, unsigned part, bool last,
			   unsigned char sum)
{
	static const unsigned char places[LONG_CHARS] = { 1,  3,  5,  7,  9,  14, 16,
							  18, 20, 22, 24, 28, 30 };
	unsigned char *entry = next_entry(image);
	size_t length = strlen(name);

	entry[0] = (unsigned char)((part + 1) | (last ? LAST_LONG : 0));
	entry[11] = LONG_NAME;
	entry[13] = sum;
	for (unsigned i = 0; i < LONG_CHARS; i++) {
		size_t at = part * (size_t)LONG_CHARS + i;

		put16(entry + places[i], at < length    ? (unsigned char)name[at]
					 : at == length ? 0
							: 0xffff);
	}
}

static void add_long_name(struct image *image, const char *name, const char *short_name)
{
	unsigned parts = (unsigned)((strlen(name) + LONG_CHARS - 1) / LONG_CHARS);

	for (unsigned part = parts; part-- > 0;)
		add_long_entry(image, name, part, part == parts - 1, checksum(short_name));
}

/* ---- Files --------------------------------------------------------------------------------- */

static void add_file(struct image *image, const struct fat_file *file, unsigned number)
{
	const struct layout *layout = &image->layout;
	unsigned n = clusters_of(file->length, layout->cluster), first = image->clusters + 2;
	char short_name[SHORT_CHARS + 1];
	unsigned char *entry;

	shorten(file->name, number, short_name);
	add_long_name(image, file->name, short_name);
	entry = add_entry(image, short_name, READ_ONLY);
	put16(entry + 26, n ? first : 0);
	put32(entry + 28, (uint32_t)file->length);
	for (unsigned i = 0; i < n; i++)
		set_link(image, first + i, i + 1 < n ? first + i + 1 : END_OF_CHAIN);
	if (n)
		memcpy(image->bytes +
			       (layout->data_start + image->clusters * (size_t)layout->cluster) *
				       SECTOR,
		       file->data, file->length);
	image->clusters += n;
}

int venv__fat_make(const char *label, uint32_t serial, const struct fat_file *files, size_t n,
		   unsigned char **ret, size_t *ret_size)
{
	struct image image = { .bytes = NULL };
	char padded[SHORT_CHARS + 1];
	int r = plan(files, n, &image.layout);

	for (size_t i = 0; r == 0 && i < n; i++)
		if (!is_name(files[i].name))
			r = -EINVAL;
	if (r < 0)
		return r;
	if (strlen(label) > SHORT_CHARS)
		return -EINVAL;
	image.bytes = calloc(image.layout.total, SECTOR);
	if (!image.bytes)
		return -ENOMEM;
	(void)snprintf(padded, sizeof(padded), "%-11s", label);
	write_boot_sector(&image, padded, serial);
	set_link(&image, 0, 0xf00 | MEDIA);
	set_link(&image, 1, END_OF_CHAIN);
	(void)add_entry(&image, padded, LABEL);
	for (size_t i = 0; i < n; i++)
		add_file(&image, &files[i], (unsigned)i + 1);
	*ret = image.bytes;
	*ret_size = image.layout.total * (size_t)SECTOR;
	return 0;
}
