/* SPDX-License-Identifier: Apache-2.0 */
/* What the three processes of a running network have given up. */
#include <fcntl.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/stat.h>

#include "../unit/test.h"
#include "test_net_world.h"

#define CAP(number) (1ULL << (number))

static uint64_t status_value(const char *status, const char *key, int base)
{
	const char *line = strstr(status, key);

	if (!line)
		fail_msg("no %s in /proc/PID/status", key);
	return strtoull(line + strlen(key), NULL, base);
}

static void is_confined(pid_t pid, uint64_t may_have)
{
	static const char *const sets[] = { "\nCapPrm:", "\nCapEff:", "\nCapInh:", "\nCapAmb:" };
	_cleanup_free_ char *status = NULL;
	char path[64];
	struct stat st;

	(void)snprintf(path, sizeof(path), "/proc/%d/status", pid);
	assert_true(pid > 0);
	assert_int_equal(venv__file_read(AT_FDCWD, path, 65536, &status, NULL, NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(sets); i++)
		if (status_value(status, sets[i], 16) & ~may_have)
			fail_msg("%s too much:\n%s", sets[i] + 1, status);
	assert_int_equal(status_value(status, "\nNoNewPrivs:", 10), 1);
#ifndef __SANITIZE_ADDRESS__
	assert_int_equal(status_value(status, "\nSeccomp:", 10), 2);
#endif
	/* not dumpable: its files in /proc are root's, and of the host */
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_uid, 0);
}

void helpers_are_confined(void **state)
{
	struct machine_spec spec = { .name = TEXT("web"), ON_PROJECT };
	struct fake_machine web;
	pid_t netd;

	machine_start(*state, &web, &spec);
	netd = netd_pid(*state);
	is_confined(netd, geteuid() == 0 ? CAP(CAP_NET_BIND_SERVICE) : 0);
	is_confined(child_pid(netd, "venv-uplink"), 0);
	is_confined(child_pid(netd, "venv-netns"),
		    CAP(CAP_NET_ADMIN) | CAP(CAP_SYS_ADMIN) | CAP(CAP_NET_BIND_SERVICE));
	machine_stop(&web);
}
