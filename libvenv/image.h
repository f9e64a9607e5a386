/* SPDX-License-Identifier: Apache-2.0 */
/* What an image says of its own program, read for the providers that run it. */
#ifndef VENV_IMAGE_H
#define VENV_IMAGE_H

#include "provider.h"

/* Does it start an init of its own (systemd) when left to itself? */
bool venv__image_is_system(const struct machine_image *image);
/* entrypoint and cmd: owned by the caller, NULL when there is none (or no memory) */
char **venv__image_command(const struct machine_image *image);
/* "SIGTERM", "TERM", "SIGRTMIN+3", "15"; otherwise when it is none */
int venv__signal_number(const char *text, int otherwise);

#endif
