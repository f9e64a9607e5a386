/* SPDX-License-Identifier: Apache-2.0 */
#include "power.h"

#include <string.h>
#include <sys/eventfd.h>

enum {
	PORT_CONTROL = 0,
	PORT_RESET = 2,
	SLEEP_ENABLE = 0x20,
	SLEEP_TYPE_SHIFT = 2,
	SLEEP_TYPE_MASK = 7,
	SLEEP_TYPE_OFF = 5, /* as the DSDT's _S5_ says */
	I8042_COMMAND = 4,
	I8042_RESET_MASK = 0xf1,
	I8042_RESET = 0xf0, /* pulse the lines whose bits are 0: bit 0 is reset */
};

static void on_read(void *user, uint64_t offset, void *data, size_t size)
{
	(void)user;
	(void)offset;
	memset(data, 0, size);
}

static void on_write(void *user, uint64_t offset, const void *data, size_t size)
{
	const struct power *power = user;
	uint8_t value = *(const uint8_t *)data;

	(void)size;
	if (offset == PORT_RESET)
		power->event(power->user, POWER_RESET, 0);
	else if (offset == PORT_CONTROL && (value & SLEEP_ENABLE) &&
		 (value >> SLEEP_TYPE_SHIFT & SLEEP_TYPE_MASK) == SLEEP_TYPE_OFF)
		power->event(power->user, POWER_OFF, 0);
}

const struct bus_ops power_ops = { .read = on_read, .write = on_write };

static void on_i8042_write(void *user, uint64_t offset, const void *data, size_t size)
{
	const struct power *power = user;

	(void)size;
	if (offset == I8042_COMMAND && (*(const uint8_t *)data & I8042_RESET_MASK) == I8042_RESET)
		power->event(power->user, POWER_RESET, 0);
}

/* Reads as nothing there: who looks for a keyboard finds none at once. */
const struct bus_ops i8042_ops = { .write = on_i8042_write };

static void on_debug_exit(void *user, uint64_t offset, const void *data, size_t size)
{
	const struct power *power = user;

	(void)offset;
	(void)size;
	power->event(power->user, POWER_DEBUG_EXIT, *(const uint8_t *)data);
}

const struct bus_ops debug_exit_ops = { .write = on_debug_exit };

void power_button(struct power *power)
{
	(void)eventfd_write(power->button_fd, 1);
}
