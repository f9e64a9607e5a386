/* SPDX-License-Identifier: Apache-2.0 */
#include "rtc.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "machine/state.h"
#include "util/compiler.h"

enum {
	REG_SECONDS = 0x00,
	REG_MINUTES = 0x02,
	REG_HOURS = 0x04,
	REG_WEEKDAY = 0x06,
	REG_DAY = 0x07,
	REG_MONTH = 0x08,
	REG_YEAR = 0x09,
	REG_A = 0x0a,
	REG_B = 0x0b,
	REG_C = 0x0c,
	REG_D = 0x0d,
	REG_CENTURY = 0x32,
	REG_MEMORY_16M = 0x34, /* above 16 MiB, in 64 KiB */
	REG_MEMORY_4G = 0x5b,  /* above 4 GiB, in 64 KiB, three bytes */
	REG_CPUS = 0x5f,       /* beyond the first */
	A_DIVIDER = 0x26,      /* running; never in an update */
	B_24_HOURS = 0x02,
	B_BINARY = 0x04,
	D_VALID = 0x80,
	TAG = STATE_TAG('R', 'T', 'C', ' '),
	VERSION = 1,
};

static void put_little_endian(uint8_t *at, uint64_t value, size_t size)
{
	for (size_t i = 0; i < size; i++)
		at[i] = (uint8_t)(value >> (8 * i));
}

void rtc_init(struct rtc *rtc, const struct mem *mem, unsigned n_cpus)
{
	const uint64_t low_start = 16 << 20, unit = 65536;
	uint64_t low = mem->region[0].size;

	*rtc = (struct rtc){ .index = 0 };
	(void)pthread_mutex_init(&rtc->lock, NULL);
	rtc->memory[REG_A] = A_DIVIDER;
	rtc->memory[REG_B] = B_24_HOURS;
	rtc->memory[REG_D] = D_VALID;
	put_little_endian(&rtc->memory[REG_MEMORY_16M],
			  low > low_start ? (low - low_start) / unit : 0, 2);
	if (mem->n_regions > 1)
		put_little_endian(&rtc->memory[REG_MEMORY_4G], mem->region[1].size / unit, 3);
	rtc->memory[REG_CPUS] = (uint8_t)(n_cpus - 1);
}

void rtc_done(struct rtc *rtc)
{
	(void)pthread_mutex_destroy(&rtc->lock);
}

/* A part of the present time. @return -1: not such a register */
static int time_part(uint8_t index)
{
	time_t now = time(NULL);
	struct tm tm;

	if (!gmtime_r(&now, &tm))
		return 0;
	switch (index) {
	case REG_SECONDS:
		return MIN(tm.tm_sec, 59);
	case REG_MINUTES:
		return tm.tm_min;
	case REG_HOURS:
		return tm.tm_hour;
	case REG_WEEKDAY:
		return tm.tm_wday + 1;
	case REG_DAY:
		return tm.tm_mday;
	case REG_MONTH:
		return tm.tm_mon + 1;
	case REG_YEAR:
		return tm.tm_year % 100;
	case REG_CENTURY:
		return (tm.tm_year + 1900) / 100;
	default:
		return -1;
	}
}

static uint8_t read_value(const struct rtc *rtc)
{
	int part = time_part(rtc->index);
	uint8_t b = rtc->memory[REG_B];

	if (part < 0)
		return rtc->memory[rtc->index];
	if (rtc->index == REG_HOURS && !(b & B_24_HOURS)) {
		int hour = part % 12 ? part % 12 : 12;
		int digits = b & B_BINARY ? hour : hour / 10 << 4 | hour % 10;

		return (uint8_t)(digits | (part >= 12 ? 0x80 : 0));
	}
	return (uint8_t)(b & B_BINARY ? part : part / 10 << 4 | part % 10);
}

static void on_read(void *user, uint64_t offset, void *data, size_t size)
{
	struct rtc *rtc = user;
	uint8_t value = 0xff; /* the index cannot be read */

	(void)pthread_mutex_lock(&rtc->lock);
	if (offset == 1)
		value = read_value(rtc);
	(void)pthread_mutex_unlock(&rtc->lock);
	memset(data, 0xff, size);
	memcpy(data, &value, sizeof(value));
}

static void write_value(struct rtc *rtc, uint8_t value)
{
	switch (rtc->index) {
	case REG_A:
		value &= 0x7f;
		break;
	case REG_C:
	case REG_D:
		return;
	default:
		break;
	}
	rtc->memory[rtc->index] = value;
}

static void on_write(void *user, uint64_t offset, const void *data, size_t size)
{
	struct rtc *rtc = user;
	uint8_t value = *(const uint8_t *)data;

	(void)size;
	(void)pthread_mutex_lock(&rtc->lock);
	if (offset == 0)
		rtc->index = value % RTC_SIZE; /* the highest bit is the NMI's */
	else
		write_value(rtc, value);
	(void)pthread_mutex_unlock(&rtc->lock);
}

const struct bus_ops rtc_ops = { .read = on_read, .write = on_write };

int rtc_save(struct rtc *rtc, struct state_writer *writer)
{
	state_begin(writer, TAG, VERSION);
	state_put_u8(writer, rtc->index);
	state_put(writer, rtc->memory, sizeof(rtc->memory));
	return state_end(writer);
}

int rtc_load(struct rtc *rtc, struct state_reader *reader)
{
	int r = state_enter(reader, TAG, VERSION);

	if (r < 0)
		return r;
	rtc->index = state_get_u8(reader) % RTC_SIZE;
	state_get(reader, rtc->memory, sizeof(rtc->memory));
	return state_leave(reader);
}
