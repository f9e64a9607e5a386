/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a guest ends or restarts its machine, and how it is asked to: ACPI's sleep and reset registers,
 * the power button, the keyboard controller's reset line, and for tests a port that ends with a number.
 */
#ifndef VMM_POWER_H
#define VMM_POWER_H

#include "../bus.h"

enum { POWER_PORTS = 3, I8042_PORTS = 5, DEBUG_EXIT_PORTS = 1 };

enum power_event {
	POWER_OFF,
	POWER_RESET,
	POWER_DEBUG_EXIT, /* value: what the guest wrote */
};

struct power {
	/* On the vCPU's thread, which goes on afterwards. */
	void (*event)(void *user, enum power_event event, unsigned value);
	void *user;
	int button_fd; /* eventfd of the button's interrupt, the caller's */
};

extern const struct bus_ops power_ops;      /* sleep control, sleep status, reset */
extern const struct bus_ops i8042_ops;      /* nothing but the reset */
extern const struct bus_ops debug_exit_ops; /* in tests */

void power_button(struct power *power); /* from any thread */

#endif
