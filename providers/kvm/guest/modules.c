/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "guest.h"
#include "util/cleanup.h"

/* One that does not load may be one that is not needed: what is missing then tells more. */
static void load(const struct guest *guest, int modules, const char *key)
{
	const char *at = NULL, *name;

	while ((name = words_each(&guest->config, key, &at))) {
		_cleanup_close_ int fd = openat(modules, name, O_RDONLY | O_CLOEXEC);

		if (fd < 0 || (syscall(SYS_finit_module, fd, "", 0) < 0 && errno != EEXIST))
			guest_say("cannot load the module %s: %s", name, strerror(errno));
		(void)unlinkat(modules, name, 0); /* it lies in memory */
	}
}

/* What programs may want later is loaded while the system comes up. */
void guest_modules_load(const struct guest *guest, int root_fd)
{
	_cleanup_close_ int modules =
		openat(root_fd, "modules", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	load(guest, modules, "module");
	if (words_get(&guest->config, "later") && fork() == 0) {
		load(guest, modules, "later");
		_exit(0);
	}
}
