/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Can this host run unmodified kernels? A KVM without VT-x and SVM below it interprets guest kernels, and
 * stops at instructions that each of them uses. A guest of a few bytes tries those in milliseconds.
 */
#ifndef VMM_PROBE_H
#define VMM_PROBE_H

#include "util/error.h"

/* @return 0; VENV_ERR_HOST: it cannot, with the reason; VENV_ERR_DENIED: /dev/kvm is not ours */
int probe_host(venv_error **err);

#endif
