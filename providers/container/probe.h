/* SPDX-License-Identifier: Apache-2.0 */
/* Questions to the host that probe and doctor share. */
#ifndef VENV_CONTAINER_PROBE_H
#define VENV_CONTAINER_PROBE_H

#include <stdbool.h>
#include <stdint.h>

int64_t container_sysctl(const char *path, int64_t otherwise);
bool container_kernel_at_least(unsigned major, unsigned minor);
const char *container_userns_refused(const char **ret_fix);

#endif
