/* SPDX-License-Identifier: Apache-2.0 */
/* Pausing, stopping, saving; and what happens when the guest ends by itself. */
#include <signal.h>
#include <stdio.h>
#include <sys/signalfd.h>

#include "vmm.h"

static void set_state(struct vmm *vmm, enum vmm_state state)
{
	vmm->state = state;
	vmm_record_write(vmm);
}

static void crash(struct vmm *vmm, const char *why)
{
	vmm->crashed = true;
	(void)snprintf(vmm->reason, sizeof(vmm->reason), "%s", why);
	console_flush(vmm->console);
	console_say(vmm->console, "%s", why);
	venv__loop_quit(vmm->loop, 1);
}

static void restart(struct vmm *vmm)
{
	_cleanup_error_ venv_error *error = NULL;

	machine_pause(vmm->machine);
	if (machine_reset(vmm->machine, &error) < 0) {
		crash(vmm, venv_error_message(error));
		return;
	}
	vmm->resets++;
	console_flush(vmm->console);
	console_say(vmm->console, "the guest restarted the machine");
	machine_resume(vmm->machine);
}

static void on_end(void *user, int fd, uint32_t events)
{
	struct vmm *vmm = user;
	unsigned value = 0;
	char text[256];
	uint64_t count;

	(void)events;
	(void)!read(fd, &count, sizeof(count));
	switch (vm_ended(vmm->machine->vm, &value, text, sizeof(text))) {
	case VM_RUNS:
		break;
	case VM_RESET:
		if (vmm->state == VMM_STOPPING)
			venv__loop_quit(vmm->loop, 0);
		else
			restart(vmm);
		break;
	case VM_DEBUG_EXIT:
		vmm->debug_exit = (int)value;
		venv__loop_quit(vmm->loop, 0);
		break;
	case VM_POWER_OFF:
		venv__loop_quit(vmm->loop, 0);
		break;
	default:
		crash(vmm, text);
		break;
	}
}

/*
 * Somebody ends us: the guest gets its chance to stop, unless its state was saved. Whoever goes on from there
 * needs the disks as they are now: a guest that shuts down would change them below that memory.
 */
static void on_signal(void *user, int fd, uint32_t events)
{
	struct vmm *vmm = user;
	struct signalfd_siginfo info;

	(void)events;
	while (read(fd, &info, sizeof(info)) == sizeof(info))
		if (vmm->devices.held)
			vmm_kill(vmm);
		else
			vmm_stop(vmm, vmm->config.stop_timeout_ms);
}

static void on_warning(void *user, int fd, uint32_t events)
{
	struct vmm *vmm = user;
	char text[256];

	(void)fd;
	(void)events;
	while (devices_warning(&vmm->devices, text, sizeof(text)))
		console_say(vmm->console, "%s", text);
}

int vmm_watch(struct vmm *vmm, venv_error **err)
{
	sigset_t set;
	int fd;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGINT);
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0 || !venv__loop_add(vmm->loop, fd, EPOLLIN, on_signal, vmm) ||
	    !venv__loop_add(vmm->loop, vmm->devices.warnings[0], EPOLLIN, on_warning, vmm) ||
	    !venv__loop_add(vmm->loop, vm_end_fd(vmm->machine->vm), EPOLLIN, on_end, vmm))
		return venv__fail_errno(err, errno, "cannot watch the machine");
	return 0;
}

static void go_on(struct vmm *vmm)
{
	devices_go_on(&vmm->devices);
	machine_resume(vmm->machine);
}

/* A guest that ended by itself meanwhile is on_end()'s, which lets it run again or ends us. */
static bool stand_still(struct vmm *vmm)
{
	unsigned value;
	char text[256];

	machine_pause(vmm->machine);
	return vm_ended(vmm->machine->vm, &value, text, sizeof(text)) == VM_RUNS;
}

int vmm_pause(struct vmm *vmm, bool pause, venv_error **err)
{
	enum vmm_state wanted = pause ? VMM_PAUSED : VMM_RUNNING;

	if (vmm->state == wanted)
		return 0;
	if (vmm->state == VMM_STOPPING)
		return venv__fail(err, VENV_ERR_STATE, "the machine is stopping");
	if (!pause)
		go_on(vmm);
	else if (!stand_still(vmm))
		return venv__hint(venv__fail(err, VENV_ERR_STATE,
					     "the guest is just restarting or switching off"),
				  err, "try again in a moment");
	set_state(vmm, wanted);
	return 0;
}

void vmm_kill(struct vmm *vmm)
{
	vmm->state = VMM_STOPPING;
	venv__loop_quit(vmm->loop, 0);
}

static void on_timeout(void *user, int fd, uint32_t events)
{
	struct vmm *vmm = user;

	(void)fd;
	(void)events;
	vmm->stop_timer = NULL;
	console_say(vmm->console, "the guest did not switch off in time: it is stopped by force");
	vmm_kill(vmm);
}

void vmm_stop(struct vmm *vmm, unsigned timeout_ms)
{
	if (vmm->state == VMM_PAUSED)
		go_on(vmm);
	venv__loop_remove(take_ptr(vmm->stop_timer));
	vmm->stop_timer = venv__loop_timer(vmm->loop, timeout_ms, 0, on_timeout, vmm);
	if (!vmm->stop_timer) {
		vmm_kill(vmm);
		return;
	}
	set_state(vmm, VMM_STOPPING);
	power_button(&vmm->machine->power);
}

/* The devices stay held: disks and memory are as the state says until the machine goes on. */
int vmm_save(struct vmm *vmm, int state_fd, int memory_fd, venv_error **err)
{
	int r = vmm_pause(vmm, true, err);

	if (r < 0)
		return r;
	devices_hold(&vmm->devices);
	return machine_save(vmm->machine, state_fd, memory_fd, err);
}
