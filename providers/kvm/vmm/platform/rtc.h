/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The PC's clock with its 128 bytes of memory, as much as tells the time (UTC, the host's) and what
 * firmware looks up. No alarms, no interrupts; a new time is not taken.
 */
#ifndef VMM_RTC_H
#define VMM_RTC_H

#include "../bus.h"
#include "../mem.h"

struct state_writer;
struct state_reader;

enum { RTC_PORTS = 2, RTC_SIZE = 128 };

struct rtc {
	pthread_mutex_t lock;
	uint8_t index;
	uint8_t memory[RTC_SIZE];
};

extern const struct bus_ops rtc_ops; /* RTC_PORTS ports */

/* What SeaBIOS reads there: sizes of memory, how many CPUs to wait for. */
void rtc_init(struct rtc *rtc, const struct mem *mem, unsigned n_cpus);
void rtc_done(struct rtc *rtc);
int rtc_save(struct rtc *rtc, struct state_writer *writer);
int rtc_load(struct rtc *rtc, struct state_reader *reader);

#endif
