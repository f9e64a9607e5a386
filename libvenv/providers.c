/* SPDX-License-Identifier: Apache-2.0 */
/* The built-in providers, in the order that `provider: auto` tries: the only core file naming them. */
#include "provider.h"

extern const struct provider container_provider, kvm_provider;

const struct provider *const venv__providers[] = { &container_provider, &kvm_provider, NULL };
