/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest in long mode, without an operating system: its command line names the test that it runs.
 * It ends by the debug port with 0, or with the line where something was not as it should be.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	COM1 = 0x3f8,
	DEBUG_EXIT = 0xf4,
	SLEEP = 0x600,
	RESET = 0x602,
	CMDLINE_PTR = 0x228,
	RSDP_PTR = 0x70,
	VECTOR_TIMER = 0x40,
	VECTOR_DEVICE = 0x41,
	LAPIC_EOI = 0xb0,
	LAPIC_SPURIOUS = 0xf0,
	LAPIC_ICR = 0x300,
	LAPIC_TIMER = 0x320,
	LAPIC_TIMER_COUNT = 0x380,
	LAPIC_TIMER_DIVIDE = 0x3e0,
	TRAMPOLINE = 0x30000,
	BOOTS = 0x31000, /* counts boots: memory stays over a reset */
	GATES = 256,
};

#define LAPIC 0xfee00000UL
#define IOAPIC 0xfec00000UL
#define DOORBELL 0xd0000000UL /* where the test has put one */
#define NOBODY 0xd1000000UL

extern const uint8_t vector_stubs[], trampoline[], trampoline_end[];

void guest_main(const uint8_t *zero_page);
void on_interrupt(uint64_t vector);

static volatile unsigned interrupts[GATES];
static uint64_t gates[GATES][2];

static void outb(uint16_t port, uint8_t value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

static void outl(uint16_t port, uint32_t value)
{
	__asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

static uint8_t inb(uint16_t port)
{
	uint8_t value;

	__asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port) : "memory");
	return value;
}

static uint32_t inl(uint16_t port)
{
	uint32_t value;

	__asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port) : "memory");
	return value;
}

static volatile uint32_t *at(uintptr_t address)
{
	return (volatile uint32_t *)address;
}

static void lapic(unsigned reg, uint32_t value)
{
	*at(LAPIC + reg) = value;
}

static void ioapic_pin(unsigned pin, uint8_t vector)
{
	*at(IOAPIC) = 0x10 + 2 * pin + 1;
	*at(IOAPIC + 0x10) = 0; /* to processor 0 */
	*at(IOAPIC) = 0x10 + 2 * pin;
	*at(IOAPIC + 0x10) = vector;
}

static void finish(unsigned line)
{
	outb(DEBUG_EXIT, (uint8_t)line);
	for (;;)
		__asm__ volatile("cli; hlt");
}

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition))                                                                  \
			finish(__LINE__ % 256);                                                    \
	} while (0)

static void puts(const char *text)
{
	while (*text)
		outb(COM1, (uint8_t)*text++);
}

static bool starts_with(const char *text, const char *prefix)
{
	while (*prefix && *text == *prefix) {
		text++;
		prefix++;
	}
	return !*prefix;
}

void on_interrupt(uint64_t vector)
{
	interrupts[vector]++;
	lapic(LAPIC_EOI, 0);
}

static void enable_interrupts(void)
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

static void wait_for(unsigned vector)
{
	while (!interrupts[vector])
		__asm__ volatile("sti; hlt; cli" : : : "memory");
	__asm__ volatile("sti");
}

static void test_hello(const uint8_t *zero_page)
{
	(void)zero_page;
	puts("hello from long mode\n");
	outb(SLEEP, 0x34);
	for (;;)
		;
}

static void test_tables(const uint8_t *zero_page)
{
	const char *rsdp = (const char *)(uintptr_t) * (const uint64_t *)(zero_page + RSDP_PTR);

	CHECK(starts_with(rsdp, "RSD PTR "));
	CHECK(zero_page[0x1e8] >= 4); /* entries of the memory map */
}

/* What nobody answers is all ones, and writing there does nothing. */
static void test_nobody(const uint8_t *zero_page)
{
	(void)zero_page;
	CHECK(inb(0x1234) == 0xff);
	CHECK(inl(0x1234) == 0xffffffff);
	CHECK(*at(NOBODY) == 0xffffffff);
	*at(NOBODY) = 7;
	outl(0x1234, 7);
	CHECK(*at(NOBODY) == 0xffffffff);
	CHECK(inl(0xcfc) == 0xffffffff); /* no configuration address is selected */
	outl(0xcf8, 0x80000000);
	CHECK((inl(0xcfc) & 0xffff) != 0xffff); /* the host bridge */
}

/* Which register is selected does not leave the processor: more often than there is room, and in its order. */
static void test_selects(const uint8_t *zero_page)
{
	uint32_t last = 0;

	(void)zero_page;
	for (unsigned i = 0; i < 2000; i++) {
		last = 0x80000000 | i % 64 * 4;
		outl(0xcf8, last);
		if (i % 333 == 0)
			CHECK(inl(0xcf8) == last);
	}
	CHECK(inl(0xcf8) == last);
	outl(0xcf8, 0x80000800); /* nobody there */
	outl(0xcf8, 0x80000000);
	CHECK((inl(0xcfc) & 0xffff) == 0x8086);
	outl(0xcf8, 0x80000000);
	outl(0xcf8, 0x80000800);
	CHECK(inl(0xcfc) == 0xffffffff);
}

static void test_timer(const uint8_t *zero_page)
{
	(void)zero_page;
	enable_interrupts();
	lapic(LAPIC_TIMER_DIVIDE, 3);
	lapic(LAPIC_TIMER, VECTOR_TIMER);
	lapic(LAPIC_TIMER_COUNT, 100000);
	wait_for(VECTOR_TIMER);
}

/* The serial port says that it is empty, by pin 4 of the IOAPIC. */
static void test_pin(const uint8_t *zero_page)
{
	(void)zero_page;
	enable_interrupts();
	ioapic_pin(4, VECTOR_DEVICE);
	outb(COM1 + 4, 8);
	outb(COM1 + 1, 2);
	wait_for(VECTOR_DEVICE);
	CHECK((inb(COM1 + 2) & 7) == 2);
}

static void test_message(const uint8_t *zero_page)
{
	(void)zero_page;
	enable_interrupts();
	puts("ready\n");
	wait_for(VECTOR_DEVICE);
}

static void test_doorbell(const uint8_t *zero_page)
{
	(void)zero_page;
	for (unsigned i = 0; i < 1000; i++)
		*at(DOORBELL) = i;
}

static void test_button(const uint8_t *zero_page)
{
	(void)zero_page;
	enable_interrupts();
	ioapic_pin(16, VECTOR_DEVICE);
	puts("ready\n");
	wait_for(VECTOR_DEVICE);
	outb(SLEEP, 0x34);
	for (;;)
		;
}

static void test_reset(const uint8_t *zero_page)
{
	(void)zero_page;
	if (++*at(BOOTS) < 3) {
		puts("again\n");
		outb(RESET, 1);
		for (;;)
			;
	}
}

static void test_processors(const uint8_t *zero_page)
{
	volatile uint16_t *count = (volatile uint16_t *)(TRAMPOLINE + 0x800);
	volatile uint8_t *target = (volatile uint8_t *)TRAMPOLINE;

	(void)zero_page;
	/* cppcheck-suppress comparePointers ; labels of one section */
	for (size_t i = 0; trampoline + i < trampoline_end; i++)
		target[i] = trampoline[i];
	lapic(LAPIC_SPURIOUS, 0x1ff);
	lapic(LAPIC_ICR, 0xc4500); /* INIT to all others */
	lapic(LAPIC_ICR, 0xc4600 | TRAMPOLINE >> 12);
	while (*count < 3)
		__asm__ volatile("pause" : : : "memory");
}

static void test_spin(const uint8_t *zero_page)
{
	(void)zero_page;
	puts("ready\n");
	for (;;)
		;
}

static void test_storm(const uint8_t *zero_page)
{
	(void)zero_page;
	puts("ready\n");
	for (;;)
		CHECK(inb(0x1234) == 0xff);
}

/* Counts on the serial port, as registers and memory say: both must come through a suspend. */
static void test_count(const uint8_t *zero_page)
{
	uint64_t in_register = 0;

	(void)zero_page;
	for (;;) {
		in_register++;
		++*at(BOOTS);
		CHECK(*at(BOOTS) == in_register);
		outb(COM1, (uint8_t)('0' + in_register % 10));
	}
}

static void test_fault(const uint8_t *zero_page)
{
	static const struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) none;

	(void)zero_page;
	__asm__ volatile("lidt %0; ud2" : : "m"(none));
}

static void test_popcnt(const uint8_t *zero_page)
{
	(void)zero_page;
	__asm__ volatile("popcnt %%rax, %%rax" : : : "rax", "cc");
}

static const struct {
	const char *name;
	void (*run)(const uint8_t *zero_page);
} tests[] = {
	{ "hello", test_hello },     { "tables", test_tables },         { "nobody", test_nobody },
	{ "selects", test_selects }, { "timer", test_timer },           { "pin", test_pin },
	{ "message", test_message }, { "doorbell", test_doorbell },     { "button", test_button },
	{ "reset", test_reset },     { "processors", test_processors }, { "spin", test_spin },
	{ "storm", test_storm },     { "count", test_count },           { "fault", test_fault },
	{ "popcnt", test_popcnt },
};

void guest_main(const uint8_t *zero_page)
{
	const char *cmdline =
		(const char *)(uintptr_t) * (const uint32_t *)(zero_page + CMDLINE_PTR);

	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
		if (starts_with(cmdline, tests[i].name)) {
			tests[i].run(zero_page);
			finish(0);
		}
	}
	finish(255);
}
