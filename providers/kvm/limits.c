/* SPDX-License-Identifier: Apache-2.0 */
/* Limits of a virtual machine, which are those of its process's control groups. */
#include <string.h>

#include "alive.h"
#include "cgroup/cgroup.h"
#include "kvm.h"

/* Not memory and cpus, of which the guest is told when it boots. */
const char *const kvm_live_limits[] = { "memory_low", "cpu_weight", "cpuset", "io_weight", NULL };

bool kvm_has_whole_cpus(const struct machine_spec *spec)
{
	return spec->cpus == (double)(unsigned)spec->cpus;
}

json_t *kvm_limits(const struct machine_spec *spec)
{
	json_t *limits = venv__cgroup_limits(spec);

	(void)json_object_del(limits, "memory");
	if (kvm_has_whole_cpus(spec)) /* its devices work beside its processors */
		(void)json_object_del(limits, "cpus");
	return limits;
}

static bool is_changed(const json_t *changed, const char *key)
{
	const json_t *change;
	size_t i;

	json_array_foreach(changed, i, change)
	{
		const char *name = venv__json_str(change, "key");

		if (name && strcmp(name, key) == 0)
			return true;
	}
	return false;
}

/* null: it was taken away. NULL: out of memory */
static json_t *changed_limits(const struct machine_spec *spec, const json_t *changed)
{
	_cleanup_json_ json_t *now = kvm_limits(spec);
	json_t *limits = now ? json_object() : NULL;

	for (const char *const *key = kvm_live_limits; limits && *key; key++) {
		json_t *value = json_object_get(now, *key);

		if (is_changed(changed, *key) &&
		    json_object_set_new(limits, *key, value ? json_incref(value) : json_null()) <
			    0) {
			json_decref(limits);
			return NULL;
		}
	}
	return limits;
}

/* The process itself gave up the right to do this. */
int kvm_apply(struct machine *machine, const json_t *changed, struct venv_op *op, venv_error **err)
{
	_cleanup_json_ json_t *limits = changed_limits(machine->spec, changed);
	_cleanup_json_ json_t *record = NULL;
	struct cgroup cgroup;
	int r;

	(void)op;
	if (!limits)
		return venv__fail_nomem(err);
	if (json_object_size(limits) == 0)
		return 0;
	(void)venv__alive_state(machine->dir_fd, KVM_DISK, &record);
	r = venv__cgroup_find(&cgroup, machine->id, (pid_t)venv__json_int(record, "pid", 0), err);
	if (r == 0)
		r = venv__cgroup_limit(&cgroup, limits, err);
	venv__cgroup_done(&cgroup);
	return r;
}
