/* SPDX-License-Identifier: Apache-2.0 */
/* What machines that are reached by ssh alone are told over it. */
#ifndef VENV_FIRST_CONTACT_H
#define VENV_FIRST_CONTACT_H

#include "lifecycle.h"

/* Does its box let in Vagrant's well-known key, which was not replaced yet? */
bool venv__first_contact_due(const struct work *work);
/* Log in with it and replace it. VENV_ERR_NETWORK, VENV_ERR_DENIED: not yet, or somebody did before. */
int venv__first_contact(struct work *work, venv_error **err);
/* Mount the shared folders that are not mounted yet, and find out who logs in. */
int venv__folders_mount(struct work *work, venv_error **err);

#endif
