/* SPDX-License-Identifier: Apache-2.0 */
/* What virtual machines are told when they start. */
#ifndef VENV_FIRST_START_H
#define VENV_FIRST_START_H

#include "provider.h"

/* The disk for cloud-init in the machine's directory. */
#define SEED_FILE "seed.img"
/* A folder has on virtio-fs this tag and its number. */
#define FOLDER_TAG "venv"

/* Write it: who logs in with which keys, host key, name, networks and folders. */
int venv__seed_write(const struct machine *machine, venv_error **err);

#endif
