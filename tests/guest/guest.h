/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What guests in long mode have in common: ports and registers, interrupts, what they say and how they end.
 *
 * A guest's command line names the test that it runs. It ends by the debug port: with 0, or with 1 after it
 * has said on COM1 where something was not as it should be.
 */
#ifndef VENV_TEST_GUEST_H
#define VENV_TEST_GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	COM1 = 0x3f8,
	DEBUG_EXIT = 0xf4,
	SLEEP = 0x600,
	RESET = 0x602,
	CMDLINE_PTR = 0x228, /* in the zero page, as the next one */
	RSDP_PTR = 0x70,
	LAPIC_EOI = 0xb0,
	LAPIC_SPURIOUS = 0xf0,
	GATES = 256,
};

#define LAPIC 0xfee00000UL

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

struct guest_test {
	const char *name;
	void (*run)(const uint8_t *zero_page);
};

void guest_main(const uint8_t *zero_page); /* each guest's own */
const char *guest_cmdline(const uint8_t *zero_page);
/* The test whose name the command line begins with, to the end of the machine. */
void guest_run(const struct guest_test *tests, size_t n, const uint8_t *zero_page);
_Noreturn void guest_end(unsigned value);
_Noreturn void guest_fail(const char *function, unsigned line);

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition))                                                                  \
			guest_fail(__func__, __LINE__);                                            \
	} while (0)

void puts(const char *text);
bool starts_with(const char *text, const char *prefix);

extern volatile unsigned interrupts[GATES]; /* how many came */
void enable_interrupts(void);
void wait_for(unsigned vector, unsigned count); /* until there were more than that */

static inline volatile uint32_t *at(uintptr_t address)
{
	return (volatile uint32_t *)address;
}

static inline void lapic(unsigned reg, uint32_t value)
{
	*at(LAPIC + reg) = value;
}

static inline void outb(uint16_t port, uint8_t value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

static inline void outl(uint16_t port, uint32_t value)
{
	__asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

static inline uint8_t inb(uint16_t port)
{
	uint8_t value;

	__asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port) : "memory");
	return value;
}

static inline uint32_t inl(uint16_t port)
{
	uint32_t value;

	__asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port) : "memory");
	return value;
}

#endif
