/* SPDX-License-Identifier: Apache-2.0 */
#include "kvm.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

static const char device[] = "/dev/kvm";

int kvm_ioctl_number(int fd, unsigned long request, unsigned long argument)
{
	int r;

	do {
		r = ioctl(fd, request, argument);
	} while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : r;
}

int kvm_ioctl(int fd, unsigned long request, const void *argument)
{
	return kvm_ioctl_number(fd, request, (unsigned long)(uintptr_t)argument);
}

/* Who may use it: its group, if that is one for the purpose. */
static int denied(venv_error **err)
{
	int r = venv__fail(err, VENV_ERR_DENIED, "this user may not use %s", device);
	const struct group *group;
	struct stat st;

	if (stat(device, &st) < 0)
		return r;
	group = st.st_gid ? getgrgid(st.st_gid) : NULL;
	if (group && (st.st_mode & 0060) == 0060)
		return venv__hint(
			r, err,
			"join its group with 'sudo usermod -aG %s $USER', then log in again",
			group->gr_name);
	return venv__hint(r, err,
			  "give it to a group with 'sudo chgrp kvm %s && sudo chmod 660 %s', "
			  "then join that with 'sudo usermod -aG kvm $USER'",
			  device, device);
}

static int check_abilities(int fd, venv_error **err)
{
	static const struct {
		int number;
		const char *name;
	} needed[] = {
		{ KVM_CAP_USER_MEMORY, "memory slots" },
		{ KVM_CAP_READONLY_MEM, "read-only memory" },
		{ KVM_CAP_SET_TSS_ADDR, "a place for its task state" },
		{ KVM_CAP_SET_IDENTITY_MAP_ADDR, "a place for its page table" },
		{ KVM_CAP_EXT_CPUID, "CPUID" },
		{ KVM_CAP_IRQCHIP, "interrupt controllers" },
		{ KVM_CAP_IRQ_ROUTING, "interrupt routes" },
		{ KVM_CAP_IRQFD, "interrupts by eventfd" },
		{ KVM_CAP_IOEVENTFD, "doorbells by eventfd" },
		{ KVM_CAP_IOEVENTFD_ANY_LENGTH, "doorbells of any size" },
		{ KVM_CAP_IMMEDIATE_EXIT, "immediate exits" },
		{ KVM_CAP_MP_STATE, "several processors" },
		{ KVM_CAP_VCPU_EVENTS, "saving events" },
		{ KVM_CAP_XSAVE, "saving extended registers" },
		{ KVM_CAP_XCRS, "saving control registers" },
		{ KVM_CAP_DEBUGREGS, "saving debug registers" },
		{ KVM_CAP_ADJUST_CLOCK, "setting its clock" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(needed); i++)
		if (kvm_ioctl_number(fd, KVM_CHECK_EXTENSION, (unsigned long)needed[i].number) <= 0)
			return venv__fail(err, VENV_ERR_HOST, "this host's KVM has no %s",
					  needed[i].name);
	return 0;
}

int kvm_open(venv_error **err)
{
	_cleanup_close_ int fd = open(device, O_RDWR | O_CLOEXEC);
	int r;

	if (fd < 0 && (errno == EACCES || errno == EPERM))
		return denied(err);
	if (fd < 0 && (errno == ENOENT || errno == ENODEV || errno == ENXIO)) {
		r = venv__fail(err, VENV_ERR_HOST, "this host has no virtual machines: no %s",
			       device);
		return venv__hint(r, err,
				  "try 'sudo modprobe kvm_intel' or 'sudo modprobe kvm_amd'; "
				  "where that fails, switch virtualization on in the "
				  "firmware's settings");
	}
	if (fd < 0)
		return venv__fail_errno(err, errno, "cannot open %s", device);
	if (kvm_ioctl_number(fd, KVM_GET_API_VERSION, 0) != KVM_API_VERSION)
		return venv__fail(err, VENV_ERR_HOST, "this host's KVM speaks another version");
	r = check_abilities(fd, err);
	return r < 0 ? r : take_fd(&fd);
}
