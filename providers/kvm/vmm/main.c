/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "machine/kvm.h"
#include "machine/probe.h"
#include "machine/state.h"
#include "util/sys.h"
#include "vmm.h"

static void mark(struct vmm *vmm, enum vmm_phase phase)
{
	vmm->phase_us[phase] = venv__now_us();
}

/* Not followed, begun where it ended last. */
static int open_log(const struct vmm *vmm, const char *name)
{
	return openat(vmm->machine_fd, name, O_RDWR | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC,
		      0600);
}

/* Ours from here on: who plugs the machine in again takes the connection's place. */
static int keep_network(struct vmm *vmm, venv_error **err)
{
	const json_t *json = json_object_get(vmm->config.json, "network");
	const struct {
		const char *key;
		int *ret;
	} kept[] = {
		{ "socket", &vmm->network.socket },
		{ "userns", &vmm->network.namespaces[0] },
		{ "netns", &vmm->network.namespaces[1] },
	};

	for (size_t i = 0; json && i < ARRAY_SIZE(kept); i++) {
		int64_t number = venv__json_int(json, kept[i].key, -1);

		if (config_fd(&vmm->config, json, kept[i].key) < 0)
			return venv__fail(err, VENV_ERR_INVALID, "no descriptor for '%s'",
					  kept[i].key);
		*kept[i].ret = take_fd(&vmm->config.fd[number]);
	}
	return 0;
}

static int open_files(struct vmm *vmm, venv_error **err)
{
	int r;

	vmm->machine_fd = vmm->config.fd[0];
	vmm->loop = venv__loop_new();
	if (!vmm->loop)
		return venv__fail_nomem(err);
	r = vmm_record_lock(vmm, err);
	if (r == 0) /* not before it is ours */
		r = vmm_groups_make(vmm, err);
	if (r == 0)
		r = console_new(vmm->loop, open_log(vmm, "console.log"),
				open_log(vmm, "console.log.1"), &vmm->console, err);
	if (r < 0)
		return r;
	vmm->kvm_fd = kvm_open(err);
	return vmm->kvm_fd < 0 ? vmm->kvm_fd : vmm_control_open(vmm, err);
}

static size_t on_input(void *user, const void *data, size_t size)
{
	return uart_input(user, data, size);
}

static int make(struct vmm *vmm, venv_error **err)
{
	const struct config *config = &vmm->config;
	const struct machine_config machine = { .memory = config->memory,
						.cpus = config->cpus,
						.kernel_fd = config->kernel,
						.initrd_fd = config->initrd,
						.firmware_fd = config->firmware,
						.kernel_name = config->kernel_name,
						.initrd_name = config->initrd_name,
						.firmware_name = config->firmware_name,
						.cmdline = config->cmdline,
						.boot_order = config->boot_order,
						.debug_exit = config->debug_exit,
						.memory_fd = config->memory_file,
						.output = console_put,
						.output_user = vmm->console };
	int r = machine_new(vmm->kvm_fd, &machine, &vmm->machine, err);

	if (r < 0)
		return r;
	console_peer(vmm->console)->take = on_input;
	console_peer(vmm->console)->user = &vmm->machine->uart;
	r = devices_make(&vmm->devices, config, vmm->machine, err);
	return r < 0 ? r : vmm_watch(vmm, err);
}

static int jail_vcpu(void *user)
{
	(void)user;
	return jail_thread(JAIL_VCPU);
}

static int load(struct vmm *vmm, venv_error **err)
{
	struct state_reader reader = { 0 };
	bool suspended = vmm->config.state >= 0;
	int r = suspended ? state_reader_open(&reader, vmm->config.state, err) : 0;

	if (suspended) /* their queues are full of work, which waits until the machine goes on */
		devices_hold(&vmm->devices);
	if (r == 0)
		r = machine_start(vmm->machine, suspended ? &reader : NULL, jail_vcpu, NULL, err);
	state_reader_done(&reader);
	return r;
}

/*
 * An ordinary user has the files of his sub-ids only in a user namespace where guests' ids are what they are in
 * the guest. Root has all ids, and serves folders of everybody: it stays where it is.
 */
static int enter_ids(struct config *config, venv_error **err)
{
	_cleanup_close_ int namespace = -1;

	if (!config->has_ids || config->ids.root)
		return 0;
	namespace = venv__idmap_userns(&config->ids, err);
	if (namespace < 0)
		return venv__wrap(namespace, err, "cannot keep the owners of files on volumes");
	if (setns(namespace, CLONE_NEWUSER) < 0)
		return venv__fail_errno(err, errno, "cannot enter a user namespace");
	config->ids = (struct idmap){ .sub_uid = 1, .sub_gid = 1 };
	return 0;
}

/* Before the first thread, when all files are open. */
static int close_doors(struct vmm *vmm, venv_error **err)
{
	struct jail_folder folders[PCI_SLOTS];
	struct jail_closed closed = { 0 };
	size_t n;
	int r = devices_folders(&vmm->config, folders, &n, err);

	if (r == 0)
		r = enter_ids(&vmm->config, err);
	if (r == 0)
		r = jail_process(folders, n, &closed, err);
	if (r == 0 && !closed.files)
		console_say(vmm->console, "this kernel has no Landlock: the file system stays open "
					  "to the machine's process");
	if (r == 0 && !closed.namespaces)
		console_say(vmm->console,
			    "this host lets it have no namespaces: the host's network stays "
			    "visible to the machine's process");
	return r;
}

/* A connection that ends and a file that grows too large are errors, not ends. Folders take descriptors. */
static void set_up_process(void)
{
	struct rlimit files;

	(void)signal(SIGPIPE, SIG_IGN);
	(void)signal(SIGXFSZ, SIG_IGN);
	jail_libc();
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &files);
	}
}

static int start(struct vmm *vmm, venv_error **err)
{
	int r;

	set_up_process();
	r = config_receive(vmm->starter_fd, &vmm->config, err);

	if (r < 0)
		return r;
	mark(vmm, PHASE_CONFIGURED);
	r = open_files(vmm, err);
	if (r == 0)
		r = keep_network(vmm, err);
	if (r == 0)
		r = close_doors(vmm, err);
	if (r == 0)
		r = make(vmm, err);
	mark(vmm, PHASE_MADE);
	if (r == 0)
		r = load(vmm, err);
	mark(vmm, PHASE_LOADED);
	if (r == 0)
		r = devices_jail(&vmm->devices, err);
	if (r == 0 && jail_thread(JAIL_MAIN) < 0)
		r = venv__fail(err, VENV_ERR_HOST, "the machine's process cannot be secured");
	mark(vmm, PHASE_JAILED);
	return r;
}

static void tell_starter(struct vmm *vmm, const venv_error *error)
{
	_cleanup_json_ json_t *ready = error ? NULL : vmm_record_json(vmm);

	if (error) {
		(void)venv__msg_send_error(vmm->starter_fd, error);
	} else if (ready) {
		(void)json_object_set_new(ready, "ready", json_true());
		(void)venv__msg_send(vmm->starter_fd, ready, NULL, 0, NULL);
	}
	(void)close(take_fd(&vmm->starter_fd));
}

/* The kernel's thread for a network is in the groups that we are in when the guest starts that: at once if it goes on. */
static bool has_vhost(const struct vmm *vmm)
{
	const json_t *device;
	size_t i;

	json_array_foreach(json_object_get(vmm->config.json, "devices"), i,
			   device) if (json_object_get(device, "vhost")) return true;
	return false;
}

static int run(struct vmm *vmm, venv_error **err)
{
	int r = has_vhost(vmm) ? vmm_groups_wait(vmm, err) : 0;

	vmm->state = VMM_PAUSED;
	vmm->started = venv__wall_seconds();
	if (r < 0)
		return r;
	if (!vmm->config.paused)
		(void)vmm_pause(vmm, false, NULL); /* which cannot fail here */
	r = vmm_groups_wait(vmm, err);
	if (r < 0)
		return r;
	vmm_record_write(vmm);
	tell_starter(vmm, NULL);
	(void)venv__loop_run(vmm->loop);
	return 0;
}

/* The lock comes last: who starts the machine again waits for it. */
static void finish(struct vmm *vmm)
{
	if (vmm->machine)
		machine_pause(vmm->machine);
	devices_done(&vmm->devices);
	machine_free(take_ptr(vmm->machine));
	if (vmm->state != VMM_STARTING)
		vmm_record_end(vmm);
	console_free(take_ptr(vmm->console));
	vmm_control_end(vmm);
	venv__loop_free(take_ptr(vmm->loop));
	json_decref(take_ptr(vmm->groups));
	config_done(&vmm->config);
}

/* Who hears of it ends us at once: what is to be removed must be written by then. */
static void fail(struct vmm *vmm, const venv_error *error)
{
	(void)vmm_groups_wait(vmm, NULL);
	if (vmm->groups)
		vmm_record_end(vmm);
	tell_starter(vmm, error);
}

static int probe(void)
{
	_cleanup_error_ venv_error *error = NULL;
	_cleanup_json_ json_t *json = NULL;
	_cleanup_free_ char *text = NULL;

	if (probe_host(&error) == 0)
		json = json_pack("{s:b}", "ok", 1);
	else
		json = venv__error_to_json(error);
	text = json ? json_dumps(json, JSON_COMPACT) : NULL;
	return text && puts(text) >= 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
	struct vmm vmm = {
		.network = { -1, { -1, -1 } },
		.starter_fd = KVM_STARTER_FD,
		.kvm_fd = -1,
		.groups_fd = -1,
		.machine_fd = -1,
		.alive_fd = -1,
		.ctl_fd = -1,
		.debug_exit = -1,
		.devices.warnings = { -1, -1 },
	};
	_cleanup_error_ venv_error *error = NULL;

	if (argc == 2 && strcmp(argv[1], "probe") == 0)
		return probe();
	if (argc > 1) {
		(void)fprintf(stderr,
			      "venv-vmm is started by venv; 'venv-vmm probe' looks at this host\n");
		return 2;
	}
	(void)fcntl(KVM_STARTER_FD, F_SETFD, FD_CLOEXEC);
	if (start(&vmm, &error) < 0 || run(&vmm, &error) < 0)
		fail(&vmm, error);
	finish(&vmm);
	return error || vmm.crashed ? 1 : 0;
}
