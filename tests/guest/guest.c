/* SPDX-License-Identifier: Apache-2.0 */
#include "guest.h"

extern const uint8_t vector_stubs[]; /* start.S */
void on_interrupt(uint64_t vector);

volatile unsigned interrupts[GATES];
static uint64_t gates[GATES][2];

/* ---- The end, and what is said before ---- */

void guest_end(unsigned value)
{
	outb(DEBUG_EXIT, (uint8_t)value);
	for (;;)
		__asm__ volatile("cli; hlt");
}

void puts(const char *text)
{
	while (*text)
		outb(COM1, (uint8_t)*text++);
}

static void put_number(unsigned number)
{
	if (number >= 10)
		put_number(number / 10);
	outb(COM1, (uint8_t)('0' + number % 10));
}

void guest_fail(const char *function, unsigned line)
{
	puts(function);
	puts(", line ");
	put_number(line);
	puts("\n");
	guest_end(1);
}

/* ---- What it is to do ---- */

bool starts_with(const char *text, const char *prefix)
{
	while (*prefix && *text == *prefix) {
		text++;
		prefix++;
	}
	return !*prefix;
}

const char *guest_cmdline(const uint8_t *zero_page)
{
	return (const char *)(uintptr_t) * (const uint32_t *)(zero_page + CMDLINE_PTR);
}

void guest_run(const struct guest_test *tests, size_t n, const uint8_t *zero_page)
{
	const char *cmdline = guest_cmdline(zero_page);

	for (size_t i = 0; i < n; i++) {
		if (starts_with(cmdline, tests[i].name)) {
			tests[i].run(zero_page);
			guest_end(0);
		}
	}
	guest_end(255);
}

/* ---- Interrupts ---- */

void on_interrupt(uint64_t vector)
{
	interrupts[vector]++;
	lapic(LAPIC_EOI, 0);
}

void enable_interrupts(void)
{
	const struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) idt = { sizeof(gates) - 1, (uintptr_t)gates };

	for (unsigned i = 0; i < GATES; i++) {
		uint64_t stub = (uintptr_t)vector_stubs + 16UL * i;

		gates[i][0] = (stub & 0xffff) | 0x10UL << 16 | 0x8eUL << 40 | (stub >> 16) << 48;
		gates[i][1] = stub >> 32;
	}
	__asm__ volatile("lidt %0" : : "m"(idt));
	lapic(LAPIC_SPURIOUS, 0x1ff);
	__asm__ volatile("sti");
}

void wait_for(unsigned vector, unsigned count)
{
	__asm__ volatile("cli"); /* none between the look and hlt */
	while (interrupts[vector] == count)
		__asm__ volatile("sti; hlt; cli" : : : "memory");
	__asm__ volatile("sti");
}
