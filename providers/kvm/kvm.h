/* SPDX-License-Identifier: Apache-2.0 */
/* The library's side of the kvm provider. */
#ifndef VENV_KVM_H
#define VENV_KVM_H

#include "provider.h"

extern const struct provider kvm_provider;

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

#endif
