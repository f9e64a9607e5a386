/* SPDX-License-Identifier: Apache-2.0 */
/* A guest in long mode, without an operating system: tests of processors, ports and interrupt controllers. */
#include "guest.h"

enum {
	VECTOR_TIMER = 0x40,
	VECTOR_DEVICE = 0x41,
	LAPIC_ICR = 0x300,
	LAPIC_TIMER = 0x320,
	LAPIC_TIMER_COUNT = 0x380,
	LAPIC_TIMER_DIVIDE = 0x3e0,
	TRAMPOLINE = 0x30000,
	BOOTS = 0x31000, /* counts boots: memory stays over a reset */
};

#define IOAPIC 0xfec00000UL
#define DOORBELL 0xd0000000UL /* where the test has put one */
#define NOBODY 0xd1000000UL

extern const uint8_t trampoline[], trampoline_end[];

static void ioapic_pin(unsigned pin, uint8_t vector)
{
	*at(IOAPIC) = 0x10 + 2 * pin + 1;
	*at(IOAPIC + 0x10) = 0; /* to processor 0 */
	*at(IOAPIC) = 0x10 + 2 * pin;
	*at(IOAPIC + 0x10) = vector;
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
	wait_for(VECTOR_TIMER, 0);
}

/* The serial port says that it is empty, by pin 4 of the IOAPIC. */
static void test_pin(const uint8_t *zero_page)
{
	(void)zero_page;
	enable_interrupts();
	ioapic_pin(4, VECTOR_DEVICE);
	outb(COM1 + 4, 8);
	outb(COM1 + 1, 2);
	wait_for(VECTOR_DEVICE, 0);
	CHECK((inb(COM1 + 2) & 7) == 2);
}

static void test_message(const uint8_t *zero_page)
{
	(void)zero_page;
	enable_interrupts();
	puts("ready\n");
	wait_for(VECTOR_DEVICE, 0);
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
	wait_for(VECTOR_DEVICE, 0);
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

static void test_again(const uint8_t *zero_page)
{
	(void)zero_page;
	outb(RESET, 1);
	for (;;)
		;
}

/* CPUID leaf 0xb of the level of cores. */
static void check_cores(unsigned bits, unsigned cores)
{
	uint32_t eax = 0xb, ebx, ecx = 1, edx;

	__asm__ volatile("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
	CHECK(eax == bits && (ebx & 0xffff) == cores && ecx >> 8 == 2 && edx == 0);
}

static unsigned read_number(const char **text)
{
	unsigned number = 0;

	while (**text == ' ')
		++*text;
	while (**text >= '0' && **text <= '9')
		number = number * 10 + (unsigned)(*(*text)++ - '0');
	return number;
}

/* "processors 3 2": of three cores in each of two sockets. */
static void test_processors(const uint8_t *zero_page)
{
	const char *numbers = guest_cmdline(zero_page) + 10;
	const unsigned cores = read_number(&numbers), sockets = read_number(&numbers);
	const unsigned bits = cores > 1 ? 32 - (unsigned)__builtin_clz(cores - 1) : 0;
	volatile uint16_t *count = (volatile uint16_t *)(TRAMPOLINE + 0x800);
	volatile uint8_t *target = (volatile uint8_t *)TRAMPOLINE, *ids = target + 0x900;

	check_cores(bits, cores);
	/* cppcheck-suppress comparePointers ; labels of one section */
	for (size_t i = 0; trampoline + i < trampoline_end; i++)
		target[i] = trampoline[i];
	lapic(LAPIC_SPURIOUS, 0x1ff);
	lapic(LAPIC_ICR, 0xc4500); /* INIT to all others */
	lapic(LAPIC_ICR, 0xc4600 | TRAMPOLINE >> 12);
	while (*count < cores * sockets - 1)
		__asm__ volatile("pause" : : : "memory");
	ids[0] = 1;
	for (unsigned i = 0; i < cores * sockets; i++)
		CHECK(ids[i / cores << bits | i % cores] == 1);
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

static const struct guest_test tests[] = {
	{ "hello", test_hello },     { "tables", test_tables },
	{ "nobody", test_nobody },   { "selects", test_selects },
	{ "timer", test_timer },     { "pin", test_pin },
	{ "message", test_message }, { "doorbell", test_doorbell },
	{ "button", test_button },   { "reset", test_reset },
	{ "again", test_again },     { "processors", test_processors },
	{ "spin", test_spin },       { "storm", test_storm },
	{ "count", test_count },     { "fault", test_fault },
	{ "popcnt", test_popcnt },
};

void guest_main(const uint8_t *zero_page)
{
	guest_run(tests, ARRAY_SIZE(tests), zero_page);
}
