/* SPDX-License-Identifier: Apache-2.0 */
/* Who has a port of this host. */
#ifndef VENV_NET_HOLDER_H
#define VENV_NET_HOLDER_H

#include "../spec.h"

/*
 * "nginx (pid 123)", "machine 'web' of project 'shop'", "a program of user 'www-data'"; owned by the
 * caller, NULL when it cannot be told. project_fd: the directory of the one who asks, beside which the
 * user's other projects lie.
 */
char *venv__port_holder(const struct port_spec *port, int project_fd);

#endif
