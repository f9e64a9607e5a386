/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file "alive": locked for our whole life, and its text, one line of JSON, says what the machine is. When
 * the lock is free and the text says neither "stopped" nor "crashed", we were killed.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>

#include "util/sys.h"
#include "vmm.h"

/* One that is ending still holds the lock for a moment after it answered. */
enum { LOCK_TRIES = 2000, LOCK_PAUSE_US = 1000 };

int vmm_record_lock(struct vmm *vmm, venv_error **err)
{
	int r = -EAGAIN;

	vmm->alive_fd =
		openat(vmm->machine_fd, "alive", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (vmm->alive_fd < 0)
		return venv__fail_errno(err, errno, "cannot open 'alive'");
	for (int i = 0; i < LOCK_TRIES && r == -EAGAIN; i++) {
		if (i > 0)
			(void)usleep(LOCK_PAUSE_US);
		r = venv__lock_try(vmm->alive_fd, true);
	}
	if (r == -EAGAIN)
		return venv__fail(err, VENV_ERR_STATE, "the machine is running already");
	return r < 0 ? venv__fail_errno(err, -r, "cannot lock 'alive'") : 0;
}

static void write_line(const struct vmm *vmm, json_t *json)
{
	_cleanup_json_ json_t *record = json;
	_cleanup_free_ char *text = NULL;
	size_t length;

	if (record && vmm->groups)
		(void)json_object_set(record, "groups", vmm->groups);
	text = record ? json_dumps(record, JSON_COMPACT) : NULL;
	length = text ? strlen(text) : 0;
	if (!text)
		return;
	text[length] = '\n'; /* instead of its end */
	if (ftruncate(vmm->alive_fd, 0) < 0 ||
	    pwrite(vmm->alive_fd, text, length + 1, 0) != (ssize_t)length + 1)
		console_say(vmm->console, "cannot write 'alive': %s", strerror(errno));
}

json_t *vmm_record_json(const struct vmm *vmm)
{
	static const char *const names[] = { "starting", "running", "paused", "stopping" };

	return json_pack("{s:s, s:i, s:I, s:i, s:I}", "state", names[vmm->state], "pid",
			 (int)getpid(), "started", (json_int_t)vmm->started, "version",
			 KVM_PROTOCOL_VERSION, "memory", (json_int_t)vmm->config.memory);
}

void vmm_record_write(const struct vmm *vmm)
{
	write_line(vmm, vmm_record_json(vmm));
}

void vmm_record_end(const struct vmm *vmm)
{
	if (vmm->crashed)
		write_line(vmm, json_pack("{s:s, s:s}", "state", "crashed", "reason", vmm->reason));
	else if (vmm->debug_exit >= 0)
		write_line(vmm, json_pack("{s:s, s:i}", "state", "stopped", "debug_exit",
					  vmm->debug_exit));
	else
		write_line(vmm, json_pack("{s:s}", "state", "stopped"));
}

static json_t *exits_json(const struct vmm *vmm)
{
	json_t *json = json_object();
	uint64_t exits[VM_EXIT_KINDS];

	vm_exits(vmm->machine->vm, exits);
	for (size_t i = 0; i < VM_EXIT_KINDS; i++)
		(void)json_object_set_new(json, vm_exit_names[i],
					  json_integer((json_int_t)exits[i]));
	return json;
}

static json_t *timing_json(const struct vmm *vmm)
{
	static const char *const names[PHASES] = { "configured", "made", "loaded", "jailed" };
	uint64_t from = vmm->config.spawned_us, first = vm_first_run_us(vmm->machine->vm);
	json_t *json = json_object();

	for (size_t i = 0; i < PHASES; i++)
		(void)json_object_set_new(json, names[i],
					  json_integer((json_int_t)(vmm->phase_us[i] - from)));
	if (first)
		(void)json_object_set_new(json, "first_run",
					  json_integer((json_int_t)(first - from)));
	return json;
}

json_t *vmm_record_stats(const struct vmm *vmm)
{
	struct rusage usage = { 0 };
	int64_t us;

	(void)getrusage(RUSAGE_SELF, &usage);
	us = (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000LL + usage.ru_utime.tv_usec +
	     usage.ru_stime.tv_usec;
	return json_pack("{s:o, s:o, s:I, s:i}", "exits", exits_json(vmm), "timing_us",
			 timing_json(vmm), "cpu_us", (json_int_t)us, "resets", (int)vmm->resets);
}
