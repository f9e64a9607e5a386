/* SPDX-License-Identifier: Apache-2.0 */
/* The PC's small devices, as a driver meets them at their ports. */
#include "tests/unit/test.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>

#include "machine/state.h"
#include "platform/power.h"
#include "platform/rtc.h"
#include "platform/uart.h"
#include "platform/vmgenid.h"

struct port {
	struct uart uart;
	int irq_fd;
	char sent[64];
	size_t n_sent;
};

static void on_output(void *user, const void *data, size_t size)
{
	struct port *port = user;

	assert_true(port->n_sent + size < sizeof(port->sent));
	memcpy(port->sent + port->n_sent, data, size);
	port->n_sent += size;
}

static int uart_setup(void **state)
{
	struct port *port = calloc(1, sizeof(*port));

	*state = port;
	port->irq_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	uart_init(&port->uart, port->irq_fd, on_output, port);
	return port->irq_fd < 0;
}

static int uart_teardown(void **state)
{
	struct port *port = *state;

	uart_done(&port->uart);
	(void)close(port->irq_fd);
	free(port);
	return 0;
}

static void out(struct port *port, unsigned reg, uint8_t value)
{
	uart_ops.write(&port->uart, reg, &value, 1);
}

static uint8_t in(struct port *port, unsigned reg)
{
	uint8_t value;

	uart_ops.read(&port->uart, reg, &value, 1);
	return value;
}

static bool interrupted(const struct port *port)
{
	eventfd_t count;

	return eventfd_read(port->irq_fd, &count) == 0;
}

/* What Linux does to tell which chip it is: it must come out as a 16550A. */
static void it_is_found_as_a_16550a(void **state)
{
	struct port *port = *state;

	out(port, 1, 0);
	assert_int_equal(in(port, 1), 0);
	out(port, 1, 0x0f);
	assert_int_equal(in(port, 1), 0x0f);
	out(port, 1, 0);
	out(port, 4, 0x1a); /* loop, OUT2, RTS */
	assert_int_equal(in(port, 6) & 0xf0, 0x90);
	out(port, 0, 'x');
	assert_int_equal(in(port, 5) & 1, 1);
	assert_int_equal(in(port, 0), 'x');
	out(port, 4, 0);
	assert_int_equal(in(port, 6), 0xb0);
	out(port, 2, 1);
	assert_int_equal(in(port, 2) >> 6, 3);
	out(port, 3, 0x83);
	out(port, 0, 1);
	out(port, 1, 2);
	assert_int_equal(in(port, 0) | in(port, 1) << 8, 0x201);
	out(port, 3, 3);
	out(port, 7, 0xa5);
	assert_int_equal(in(port, 7), 0xa5);
	assert_int_equal(port->n_sent, 0);
}

static void sending_interrupts(void **state)
{
	struct port *port = *state;

	out(port, 0, 'a');
	assert_false(interrupted(port));
	out(port, 4, 8);
	out(port, 1, 2);
	assert_true(interrupted(port));
	assert_int_equal(in(port, 2), 2);
	assert_int_equal(in(port, 2), 1); /* reading it was the end of it */
	out(port, 0, 'b');
	assert_true(interrupted(port));
	out(port, 0, 'c'); /* still asserted: no second edge */
	assert_false(interrupted(port));
	assert_int_equal(in(port, 5), 0x60);
	assert_memory_equal(port->sent, "abc", 3);
}

static void receiving_interrupts(void **state)
{
	struct port *port = *state;
	char many[UART_INPUT_SIZE + 1];

	memset(many, 'm', sizeof(many));
	out(port, 4, 8);
	out(port, 1, 5);
	assert_int_equal(uart_input(&port->uart, "hi", 2), 2);
	assert_true(interrupted(port));
	assert_int_equal(in(port, 2), 4);
	assert_int_equal(in(port, 5), 0x61);
	assert_int_equal(in(port, 0), 'h');
	assert_int_equal(in(port, 0), 'i');
	assert_int_equal(in(port, 0), 0);
	assert_int_equal(in(port, 5), 0x60);
	assert_int_equal(uart_input(&port->uart, many, sizeof(many)), UART_INPUT_SIZE);
	assert_int_equal(uart_input(&port->uart, many, 1), 0);
	out(port, 2, 3); /* cleared */
	assert_int_equal(in(port, 5), 0x60);
}

static void a_port_comes_back_as_it_was(void **state)
{
	struct port *port = *state;
	_cleanup_close_ int fd = memfd_create("state", MFD_CLOEXEC);
	struct state_writer writer;
	struct state_reader reader;

	out(port, 4, 8);
	out(port, 1, 1);
	(void)uart_input(&port->uart, "wait", 4);
	(void)in(port, 0);
	(void)interrupted(port);
	state_writer_init(&writer, fd);
	assert_int_equal(uart_save(&port->uart, &writer), 0);
	state_writer_done(&writer);
	uart_reset(&port->uart);
	assert_int_equal(in(port, 1), 0);
	assert_int_equal(state_reader_open(&reader, fd, NULL), 0);
	assert_int_equal(uart_load(&port->uart, &reader), 0);
	state_reader_done(&reader);
	assert_true(interrupted(port));
	assert_int_equal(in(port, 1), 1);
	assert_int_equal(in(port, 0), 'a');
}

static uint8_t rtc_get(struct rtc *rtc, uint8_t index)
{
	uint8_t value;

	rtc_ops.write(rtc, 0, &index, 1);
	rtc_ops.read(rtc, 1, &value, 1);
	return value;
}

static void rtc_set(struct rtc *rtc, uint8_t index, uint8_t value)
{
	rtc_ops.write(rtc, 0, &index, 1);
	rtc_ops.write(rtc, 1, &value, 1);
}

static unsigned from_bcd(uint8_t value)
{
	return (unsigned)(value >> 4) * 10 + (value & 15);
}

static void the_clock_tells_the_time(void **state)
{
	const struct mem mem = { .region = { { .size = 0xc0000000 },
					     { .address = MEM_HIGH, .size = 0x40000000 } },
				 .n_regions = 2 };
	time_t now;
	struct tm tm;
	struct rtc rtc;

	(void)state;
	rtc_init(&rtc, &mem, 4);
	now = time(NULL);
	(void)gmtime_r(&now, &tm);
	assert_int_equal(rtc_get(&rtc, 0x0a) & 0x80, 0);
	assert_int_equal(rtc_get(&rtc, 0x0d), 0x80);
	assert_in_range(from_bcd(rtc_get(&rtc, 0x32)), 20, 21);
	assert_int_equal(from_bcd(rtc_get(&rtc, 0x09)), tm.tm_year % 100);
	assert_in_range(from_bcd(rtc_get(&rtc, 0)), 0, 59);
	rtc_set(&rtc, 0x0b, 4); /* binary, twelve hours */
	assert_in_range(rtc_get(&rtc, 4) & 0x7f, 1, 12);
	assert_in_range(rtc_get(&rtc, 2), 0, 59);
	assert_int_equal(rtc_get(&rtc, 0x34) | rtc_get(&rtc, 0x35) << 8, 0xbf00);
	assert_int_equal(rtc_get(&rtc, 0x5c) << 8 | rtc_get(&rtc, 0x5b), 0x4000);
	assert_int_equal(rtc_get(&rtc, 0x5f), 3);
	rtc_set(&rtc, 0xff, 0x77); /* the last byte, with NMI off */
	assert_int_equal(rtc_get(&rtc, 0x7f), 0x77);
	rtc_set(&rtc, 0x0d, 0);
	assert_int_equal(rtc_get(&rtc, 0x0d), 0x80);
	rtc_done(&rtc);
}

static void on_event(void *user, enum power_event event, unsigned value)
{
	int *last = user;

	*last = (int)event * 256 + (int)value;
}

static void registers_end_the_machine(void **state)
{
	static const struct {
		const struct bus_ops *ops;
		uint64_t offset;
		uint8_t value;
		int event;
	} cases[] = {
		{ &power_ops, 0, 0x34, POWER_OFF * 256 },
		{ &power_ops, 0, 0x14, -1 }, /* not enabled */
		{ &power_ops, 0, 0x24, -1 }, /* another state */
		{ &power_ops, 1, 0x34, -1 },
		{ &power_ops, 2, 1, POWER_RESET * 256 },
		{ &i8042_ops, 4, 0xfe, POWER_RESET * 256 },
		{ &i8042_ops, 4, 0xff, -1 },
		{ &i8042_ops, 0, 0xfe, -1 },
		{ &debug_exit_ops, 0, 7, POWER_DEBUG_EXIT * 256 + 7 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int last = -1;
		struct power power = { .event = on_event, .user = &last, .button_fd = -1 };

		cases[i].ops->write(&power, cases[i].offset, &cases[i].value, 1);
		assert_int_equal(last, cases[i].event);
	}
}

static void the_button_and_the_generation_interrupt(void **state)
{
	_cleanup_close_ int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	struct power power = { .button_fd = fd };
	uint8_t before[VMGENID_SIZE], after[VMGENID_SIZE];
	eventfd_t count;
	struct mem mem;

	(void)state;
	power_button(&power);
	assert_int_equal(eventfd_read(fd, &count), 0);
	assert_int_equal(mem_init(&mem, MEM_ALIGN, -1, 0, NULL), 0);
	assert_int_equal(vmgenid_make(&mem, MEM_ALIGN - VMGENID_SIZE), 0);
	assert_int_equal(mem_read(&mem, MEM_ALIGN - VMGENID_SIZE, before, sizeof(before)), 0);
	assert_int_equal(eventfd_read(fd, &count), -1);
	assert_int_equal(vmgenid_renew(&mem, MEM_ALIGN - VMGENID_SIZE, fd), 0);
	assert_int_equal(mem_read(&mem, MEM_ALIGN - VMGENID_SIZE, after, sizeof(after)), 0);
	assert_int_equal(eventfd_read(fd, &count), 0);
	assert_memory_not_equal(before, after, sizeof(after));
	assert_int_equal(vmgenid_make(&mem, MEM_ALIGN - 1), -EFAULT);
	mem_done(&mem);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(it_is_found_as_a_16550a, uart_setup, uart_teardown),
		cmocka_unit_test_setup_teardown(sending_interrupts, uart_setup, uart_teardown),
		cmocka_unit_test_setup_teardown(receiving_interrupts, uart_setup, uart_teardown),
		cmocka_unit_test_setup_teardown(a_port_comes_back_as_it_was, uart_setup,
						uart_teardown),
		cmocka_unit_test(the_clock_tells_the_time),
		cmocka_unit_test(registers_end_the_machine),
		cmocka_unit_test(the_button_and_the_generation_interrupt),
	};

	return cmocka_run_group_tests_name("vmm_platform_devices", tests, NULL, NULL);
}
