/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VENV_NET_DIAL_H
#define VENV_NET_DIAL_H

#include "provider.h"

/*
 * A socket connected to a machine's TCP port by its address in the project's network, where this
 * host has no way to. VENV_ERR_NETWORK: nobody answers there.
 */
int venv__net_dial(const struct machine *machine, uint16_t port, int *ret_fd, venv_error **err);

#endif
