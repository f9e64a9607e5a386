/* SPDX-License-Identifier: Apache-2.0 */
/* /dev/kvm itself: whether it is there for us, and whether it can do what we need. */
#ifndef VMM_KVM_H
#define VMM_KVM_H

#include "util/error.h"

/* @return descriptor; VENV_ERR_HOST (none, or too old), VENV_ERR_DENIED (with the command that helps) */
int kvm_open(venv_error **err);
/* ioctl that goes on after signals; 0 or more, or -errno */
int kvm_ioctl(int fd, unsigned long request, const void *argument);
/* The same with a number. */
int kvm_ioctl_number(int fd, unsigned long request, unsigned long argument);

#endif
