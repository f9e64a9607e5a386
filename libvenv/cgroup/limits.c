/* SPDX-License-Identifier: Apache-2.0 */
/* The limits that a machine's spec sets. */
#include "cgroup.h"
#include "spec.h"

static void set_number(json_t *object, const char *key, uint64_t value)
{
	if (value)
		(void)json_object_set_new(object, key, json_integer((json_int_t)value));
}

json_t *venv__cgroup_limits(const struct machine_spec *spec)
{
	json_t *limits = json_object();

	if (!limits)
		return NULL;
	set_number(limits, "memory", spec->memory);
	set_number(limits, "memory_low", spec->memory_low);
	set_number(limits, "cpu_weight", spec->cpu_weight);
	set_number(limits, "io_weight", spec->io_weight);
	set_number(limits, "pids", spec->pids);
	if (spec->cpus > 0)
		(void)json_object_set_new(limits, "cpus", json_real(spec->cpus));
	(void)venv__json_set_str(limits, "cpuset", spec->cpuset);
	if (spec->oom == OOM_FREEZE)
		(void)venv__json_set_str(limits, "oom", "freeze");
	return limits;
}

unsigned venv__cgroup_cpuset_size(const char *cpuset)
{
	unsigned n = 0;

	for (const char *p = cpuset; p && *p; p += *p == ',') {
		char *end;
		unsigned long first = strtoul(p, &end, 10), last = first;

		if (end == p)
			return 0;
		if (*end == '-')
			last = strtoul(end + 1, &end, 10);
		if (last < first || last - first >= UINT16_MAX || (*end && *end != ','))
			return 0;
		n += (unsigned)(last - first) + 1;
		p = end;
	}
	return n;
}
