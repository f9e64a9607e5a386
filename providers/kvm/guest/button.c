/* SPDX-License-Identifier: Apache-2.0 */
/* The power button of ACPI is an input device. It asks process 1, whatever the image has. */
#include <errno.h>
#include <fcntl.h>
#include <linux/input.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "guest.h"
#include "util/cleanup.h"

enum { DEVICES_MAX = 16, SYSTEMD_POWEROFF = 38 /* SIGRTMIN+4 */ };

static bool has_power_key(int fd)
{
	unsigned char keys[KEY_MAX / 8 + 1] = { 0 };

	return ioctl(fd, EVIOCGBIT(EV_KEY, sizeof(keys)), keys) >= 0 &&
	       (keys[KEY_POWER / 8] >> (KEY_POWER % 8) & 1);
}

int guest_button_open(void)
{
	for (unsigned i = 0; i < DEVICES_MAX; i++) {
		_cleanup_close_ int fd = -1;
		char path[32];

		(void)snprintf(path, sizeof(path), "/dev/input/event%u", i);
		fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
		if (fd >= 0 && has_power_key(fd))
			return take_fd(&fd);
	}
	return -1;
}

bool guest_button_pressed(int fd)
{
	struct input_event event;
	bool pressed = false;

	while (read(fd, &event, sizeof(event)) == (ssize_t)sizeof(event))
		if (event.type == EV_KEY && event.code == KEY_POWER && event.value == 1)
			pressed = true;
	return pressed;
}

void guest_shut_down(const struct guest *guest)
{
	(void)kill(1, guest->systemd ? SYSTEMD_POWEROFF : SIGPWR);
}
