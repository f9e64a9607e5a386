/* SPDX-License-Identifier: Apache-2.0 */
/* Figures, when asked for: VENV_TEST_FIGURES=1 VENV_TEST_ONLY=figures test_net */
#include <fcntl.h>
#include <string.h>

#include "../unit/test.h"
#include "test_net_world.h"
#include "util/sys.h"

static int compare_us(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void print_times(const char *what, uint64_t *times, size_t n)
{
	uint64_t median;

	qsort(times, n, sizeof(*times), compare_us);
	median = times[n / 2];
	print_message("%-28s min %6.2f  median %6.2f  max %6.2f ms\n", what,
		      (double)times[0] / 1000, (double)median / 1000, (double)times[n - 1] / 1000);
}

static unsigned long pss_of(pid_t pid)
{
	_cleanup_free_ char *text = NULL;
	const char *at;
	char path[64];

	(void)snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", pid);
	if (venv__file_read(AT_FDCWD, path, 65536, &text, NULL, NULL) < 0)
		return 0;
	at = strstr(text, "\nPss:");
	return at ? strtoul(at + 5, NULL, 10) : 0;
}

static void measure_start(struct fixture *fixture)
{
	uint64_t times[15];

	for (size_t i = 0; i < ARRAY_SIZE(times); i++) {
		_cleanup_close_ int socket = -1;
		uint64_t start = venv__now_us();

		assert_int_equal(venv__net_connect(&fixture->ctx, &fixture->project, NULL, NULL,
						   &socket, NULL, NULL),
				 0);
		times[i] = venv__now_us() - start;
		(void)close(take_fd(&socket));
		assert_true(netd_gone(fixture));
	}
	print_times("cold start", times, ARRAY_SIZE(times));
}

static void measure_machines(struct fixture *fixture)
{
	uint64_t attach[15], plug[15], first[15], start;
	struct machine_spec spec = { .name = TEXT("web"), ON_PROJECT };
	struct fake_machine machines[15];
	pid_t netd;

	for (size_t i = 0; i < ARRAY_SIZE(machines); i++) {
		struct fake_machine *m = &machines[i];
		char name[16];

		(void)snprintf(name, sizeof(name), "m%zu", i);
		spec.name = name;
		*m = (struct fake_machine){ .netns_fd = -1 };
		(void)venv__random_id(m->id);
		start = venv__now_us();
		assert_int_equal(try_attach(fixture, &spec, m->id, &m->net, NULL), 0);
		attach[i] = venv__now_us() - start;
		machine_enter(m);
		start = venv__now_us();
		assert_int_equal(machine_plug(m), 0);
		plug[i] = venv__now_us() - start;
		start = venv__now_us();
		assert_int_equal(agent_talk(&m->agent, "tcp", OUTSIDE_ADDRESS, 7000, "x", NULL), 0);
		first[i] = venv__now_us() - start;
	}
	print_times("attach (first starts netd)", attach, ARRAY_SIZE(attach));
	print_times("plug", plug, ARRAY_SIZE(plug));
	print_times("first connection out", first, ARRAY_SIZE(first));
	netd = netd_pid(fixture);
	print_message("PSS: netd %lu, netns %lu, uplink %lu KiB\n", pss_of(netd),
		      pss_of(child_pid(netd, "venv-netns")),
		      pss_of(child_pid(netd, "venv-uplink")));
	for (size_t i = 0; i < ARRAY_SIZE(machines); i++)
		machine_stop(&machines[i]);
}

static double gigabits(struct agent *client, const char *address, int port, const char *more)
{
	_cleanup_free_ char *output = NULL;

	(void)agent_run(
		client, &output,
		"iperf3 -c %s -p %d -t 3 -f m %s | "
		"awk '/receiver/ { for (i = 1; i < NF; i++) if ($(i + 1) == \"Mbits/sec\") print $i }'",
		address, port, more);
	return strtod(output, NULL) / 1000;
}

static void measure_throughput(struct fixture *fixture)
{
	uint16_t number = next_port(), own = next_port();
	struct port_spec ports[] = { { .host = number, .guest = 5201 },
				     { .host = own, .guest = 5202 } };
	struct machine_spec spec = { .name = TEXT("web"), ON_PROJECT, PORTS(ports) };
	struct fake_machine web;

	machine_start(fixture, &web, &spec);
	(void)agent_run(&web.agent, NULL,
			"iperf3 -s -D -p 5201; iperf3 -s -D -B 127.0.0.1 -p 5202");
	(void)agent_run(&host, NULL, "iperf3 -s -D -p 5300 --one-off");
	(void)usleep(300000);
	for (int i = 0; i < 2; i++) {
		(void)agent_run(&host, NULL, "iperf3 -s -D -p 5300 --one-off; sleep 0.3");
		print_message("Gbit/s: loopback %.1f, ", gigabits(&host, "127.0.0.1", 5300, ""));
		print_message("port %.1f, ", gigabits(&host, "127.0.0.1", number, ""));
		print_message("reverse %.1f, ", gigabits(&host, "127.0.0.1", number, "-R"));
		print_message("to its loopback %.1f\n", gigabits(&host, "127.0.0.1", own, ""));
	}
	(void)agent_run(&outside, NULL, "iperf3 -s -D -p 5400; sleep 0.2");
	print_message("Gbit/s: out %.1f, ", gigabits(&web.agent, OUTSIDE_ADDRESS, 5400, ""));
	print_message("in from outside %.1f\n", gigabits(&web.agent, OUTSIDE_ADDRESS, 5400, "-R"));
	machine_stop(&web);
}

void figures(void **state)
{
	struct fixture *fixture = *state;

	if (!getenv("VENV_TEST_FIGURES"))
		skip();
	measure_start(fixture);
	measure_machines(fixture);
	assert_true(netd_gone(fixture));
	measure_throughput(fixture);
}
