/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Virtual machines by our own monitor, venv-vmm. So far it is looked at whether the host can run them;
 * core takes a provider that cannot start a machine for one that is not there yet.
 */
#include "kvm.h"

const struct provider kvm_provider = {
	.name = "kvm",
	.probe = kvm_probe,
	.doctor = kvm_doctor,
};
