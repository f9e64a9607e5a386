/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The container provider without core, on a box of busybox, as root and (tests/unit say how) as an
 * ordinary user. Every test ends with destroy and with nothing left behind.
 */
#include "container_world.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>

#include "providers/container/container.h"

static const struct provider *const provider = &container_provider;

static void starts_runs_and_stops(void **state)
{
	struct world *world = *state;

	world_up(world);
	world_expect(world, "echo hello; id -u; hostname; cat /etc/box", "hello\n0\nweb\nfrom-the-box\n");
	world_expect(world, "cat /proc/1/comm; pwd; echo $HOME $USER", "venv-init\n/root\n/root root\n");
	world_down(world);
	assert_int_equal(provider->stop(&world->machine, STOP_GRACEFUL, NULL, NULL), 0);
}

static void passes_status_and_bytes(void **state)
{
	struct world *world = *state;
	struct output output;

	world_up(world);
	output = world_run(world, "exit 42");
	assert_int_equal(output.status, 42);
	free(output.text);
	output = world_run(world, "kill -9 $$");
	assert_int_equal(output.status, 128 + SIGKILL);
	free(output.text);
	output = world_run(world, "/does/not/exist");
	assert_int_equal(output.status, 127);
	free(output.text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(starts_runs_and_stops, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(passes_status_and_bytes, world_setup, world_teardown),
	};

	return cmocka_run_group_tests_name("container", tests, NULL, NULL);
}
