/* SPDX-License-Identifier: Apache-2.0 */
/* What remains of rights, files and system calls once the namespaces are set up. */
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/if_tun.h>
#include <linux/landlock.h>
#include <linux/nsfs.h>
#include <linux/sockios.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "../common/sandbox.h"
#include "netns.h"

int venv__netns_confine(venv_error **err)
{
	static const int calls[] = { SYS_bind,        SYS_listen,    SYS_setsockopt,
				     SYS_getsockname, SYS_openat,    SYS_fstat,
				     SYS_newfstatat,  SYS_nanosleep, SYS_clock_nanosleep };
	static const struct sandbox_argument arguments[] = {
		{ SYS_socket, 0, { AF_INET, AF_NETLINK }, 2 },
		{ SYS_setns, 1, { CLONE_NEWNET }, 1 },
		{ SYS_ioctl,
		  1,
		  { NS_GET_NSTYPE, TUNSETIFF, TUNSETVNETHDRSZ, TUNSETOFFLOAD, SIOCGIFINDEX },
		  5 },
	};
	static const struct sandbox_calls allowed = { calls, ARRAY_SIZE(calls), arguments,
						      ARRAY_SIZE(arguments) };
	_cleanup_close_ int device = open("/dev/net", O_PATH | O_CLOEXEC);
	const struct sandbox_path tap = { device, LANDLOCK_ACCESS_FS_READ_FILE |
							  LANDLOCK_ACCESS_FS_WRITE_FILE };
	/* devices, routes and the filter; machines' namespaces; the resolver's port */
	int r = venv__sandbox_rights(1ULL << CAP_NET_ADMIN | 1ULL << CAP_SYS_ADMIN |
				     1ULL << CAP_NET_BIND_SERVICE);

	if (r == 0)
		r = venv__sandbox_files(&tap, 1);
#ifndef __SANITIZE_ADDRESS__
	if (r == 0)
		r = venv__sandbox_syscalls(&allowed);
#endif
	(void)allowed;
	return r < 0 ? venv__fail_errno(err, -r, "venv-netns cannot confine itself") : 0;
}
