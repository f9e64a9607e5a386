/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The library's side of the kvm provider.
 *
 * In a machine's directory: disk.qcow2 (disk-1.qcow2…: the box's others), overlays on the box's images;
 * seed.img, what it is told at a start; alive, ctl, console.log, vmm.log of venv-vmm (protocol.h);
 * suspend/ while it is suspended (suspend.c), restore/ while it goes back to a snapshot (snapshot.c).
 */
#ifndef VENV_KVM_H
#define VENV_KVM_H

#include "disk/disk.h"
#include "protocol.h"
#include "provider.h"

extern const struct provider kvm_provider;

/* Where devices are: guests name some of them by it, so they stay. */
enum kvm_slot {
	KVM_SLOT_RNG = 1,
	KVM_SLOT_BALLOON = 2,
	KVM_SLOT_ROOT = 3,
	KVM_SLOT_SEED = 4,
	KVM_SLOT_NET = 5,
	KVM_SLOT_FOLDER = 12,
	KVM_SLOT_DISK = 24, /* the box's others */
	KVM_SLOT_VSOCK = 30,
};

/*
 * probe.c: can this host run unmodified kernels? venv-vmm tries it with a guest of a few bytes; what it
 * found holds until the host boots again, /dev/kvm is made anew or venv-vmm is another one.
 * @return 0; VENV_ERR_HOST, VENV_ERR_DENIED with the reason and what to do about it
 */
int kvm_host_check(struct venv *ctx, venv_error **err);
int kvm_probe(struct venv *ctx, const struct machine_spec *spec, struct verdict *ret,
	      venv_error **err);

/* doctor.c */
int kvm_doctor(struct venv *ctx, json_t **ret, venv_error **err);

/* order.c: the machine that venv-vmm shall run, with its descriptors, which are all owned. */
struct kvm_order {
	json_t *json; /* "machine" of the start message */
	int fd[KVM_FDS_MAX];
	size_t n_fds;
	bool goes_on; /* it was suspended: nothing that it knows may be made anew */
};
/* What a machine with more than KVM_CPUS_MAX is told. */
#define KVM_TOO_MANY_CPUS "it cannot have more than 32 processors ('cpus')"
#define KVM_FEWER_CPUS "set 'cpus' to 32 or less"
/* Processors that the guest sees, or would: the file may want more than there can be. */
unsigned kvm_cpus(const struct machine_spec *spec);
int kvm_order_new(const struct machine *machine, struct kvm_order *ret, venv_error **err);
void kvm_order_done(struct kvm_order *order);
#define _cleanup_kvm_order_ _cleanup_(kvm_order_done)
/* Takes the descriptor, also on failure. Its number, or a negative code. */
int kvm_order_fd(struct kvm_order *order, int fd, venv_error **err);
/* The same with a copy of somebody else's. */
int kvm_order_copy(struct kvm_order *order, int fd, venv_error **err);
/* Takes the reference of device; NULL is out of memory. */
int kvm_order_device(struct kvm_order *order, json_t *device, venv_error **err);

/* limits.c */
extern const char *const kvm_live_limits[];
/* Of its process's control groups: what the spec says beyond memory and whole processors. NULL: no memory */
json_t *kvm_limits(const struct machine_spec *spec);
bool kvm_has_whole_cpus(const struct machine_spec *spec);
int kvm_apply(struct machine *machine, const json_t *changed, struct venv_op *op, venv_error **err);

/* disk.c: overlays */
#define KVM_DISK "disk.qcow2"
#define KVM_ROOT_SERIAL "root"
/* Make what is not there, and let the first grow to `disk`. */
int kvm_disk_create(const struct machine *machine, venv_error **err);
int kvm_disk_order(const struct machine *machine, struct kvm_order *order, venv_error **err);
/* What to do about the machine's own disks, if that is what is damaged. Returns r. */
int kvm_disk_advise(int r, const struct machine *machine, venv_error **err);
/* Bytes that they take on the host. */
uint64_t kvm_disk_usage(const struct machine *machine);
/* Is the first one divided into partitions, as far as its first sector tells? */
int kvm_disk_is_divided(const struct machine *machine, bool *ret, venv_error **err);

/* boot.c: kernel or firmware */
int kvm_boot_order(const struct machine *machine, struct kvm_order *order, venv_error **err);
/* Where venv.yml says what venv-vmm refuses by this message, or NULL. */
const struct place *kvm_boot_place(const struct machine *machine, const struct kvm_order *order,
				   const char *message);

/* seed.c */
int kvm_seed_order(const struct machine *machine, struct kvm_order *order, venv_error **err);

/* net.c: TAPs from the connection machine->net, which the machine's process keeps. */
int kvm_net_order(const struct machine *machine, struct kvm_order *order, venv_error **err);
/* /dev/vhost-net, for one network, or -errno: nobody has to have it. */
int kvm_net_vhost(void);
/* Let a new netd connect the TAPs that a running machine has. */
int kvm_net_again(const struct machine *machine, venv_error **err);

/*
 * initramfs.c: what a machine of a rootfs box starts with. A memory file, or a negative code.
 */
int kvm_initramfs_make(const struct machine *machine, venv_error **err);
/* Its environment, without PATH unless somebody says it; NULL: no memory. */
char **kvm_guest_environment(const struct machine *machine);

/* agent.c: such a machine's agent, and venv-relay, which speaks to it. Only for machines from_rootfs, */
int kvm_agent_order(const struct machine *machine, struct kvm_order *order, venv_error **err);
int kvm_agent_start(const struct machine *machine, venv_error **err);
/* but VENV_ERR_UNSUPPORTED for another */
int kvm_agent_exec(struct machine *machine, const struct exec_spec *spec, struct exec_handle *ret,
		   venv_error **err);
void kvm_agent_info(const struct machine *machine, json_t *info);
void kvm_agent_wake(const struct machine *machine);
int kvm_agent_connect(const struct machine *machine, int *ret_fd, venv_error **err);
int kvm_agent_dial(const struct machine *machine, const char *host, uint16_t port, int *ret_fd,
		   venv_error **err);

/* folder.c: shared folders by virtio-fs */
enum { KVM_FOLDERS_MAX = KVM_SLOT_DISK - KVM_SLOT_FOLDER };
int kvm_folder_order(const struct machine *machine, struct kvm_order *order, venv_error **err);
/* The slot: tell a running machine whose they are. */
int kvm_folder_own(struct machine *machine, venv_error **err);

/* provider.c: end it, and wait for that */
int kvm_kill(const struct machine *machine, venv_error **err);

/* suspend.c */
struct kvm_task { /* what somebody waits for, to be told how far it is; its names are core's */
	struct venv_op *op;
	const char *machine, *phase;
};
/* As venv__alive_state(), and what is on disk. */
enum machine_state kvm_state(const struct machine *machine, json_t **ret_record);
int kvm_suspend(struct machine *machine, struct venv_op *op, venv_error **err);
int kvm_resume(struct machine *machine, struct venv_op *op, venv_error **err);
/* Where it goes on from, if it is suspended: sets goes_on. */
int kvm_suspend_order(const struct machine *machine, struct kvm_order *order, venv_error **err);
/* Give up what is on disk, as one must before the machine's disks change. */
int kvm_suspend_drop(const struct machine *machine, venv_error **err);
/* Write state and memory of a machine that then stands still into a directory. */
int kvm_save(const struct machine *machine, int dir_fd, const struct kvm_task *task,
	     venv_error **err);

/* snapshot.c */
int kvm_snapshot(struct machine *machine, int dir_fd, struct venv_op *op, venv_error **err);
int kvm_restore(struct machine *machine, int dir_fd, struct venv_op *op, venv_error **err);
/* Finish a restore that was interrupted. Nobody runs the machine. */
int kvm_settle(const struct machine *machine, venv_error **err);
/* Between both files: is it suspended once that is finished? false: no restore is under way */
bool kvm_is_restoring(const struct machine *machine, bool *ret_suspended);
/* suspend/ and its files, in which snapshots have theirs */
#define KVM_SUSPEND "suspend"
#define KVM_STATE "state"
#define KVM_MEMORY "memory"

/* start.c */
int kvm_start(struct machine *machine, struct venv_op *op, venv_error **err);
/* What a venv-vmm that ended, or was killed, has left. */
void kvm_clean(const struct machine *machine);

#endif
