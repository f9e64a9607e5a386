/* SPDX-License-Identifier: Apache-2.0 */
/* Who has a port of this host. */
#ifndef VENV_NET_HOLDER_H
#define VENV_NET_HOLDER_H

#include "../spec.h"

/*
 * "nginx (pid 123)", "project 'shop' (venv-netd, pid 123)", "a program of user 'www-data'"; owned by the
 * caller, NULL when it cannot be told.
 */
char *venv__port_holder(const struct port_spec *port);

#endif
