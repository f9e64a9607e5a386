/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a machine shall be: frozen as JSON by the library (plan.c of the provider), read here.
 * Strings point into the JSON, lists are copies.
 */
#ifndef VENV_KEEPER_PLAN_H
#define VENV_KEEPER_PLAN_H

#include <stdbool.h>

#include "util/idmap.h"

struct plan_folder {
	const char *host;
	const char *guest;
	const char *hide;  /* name below the folder that must not be seen, or NULL */
	const char *owner; /* guest user; NULL: the login user */
	bool read_only;
	bool volume;
	int fd; /* O_PATH, opened by core */
};

struct plan {
	json_t *json;
	const char *id, *name, *dir, *libexec, *hostname, *login, *dns, *address, *uuid;
	bool app;     /* profile: app, else dev */
	bool systemd; /* the first program is systemd */
	bool network; /* machine->net was given */
	struct idmap map;
	char **init; /* program of the image that becomes PID 1; NULL: venv-init */
	char **env;  /* the machine's: image, then venv.yml */
	char **layers;
	char **hosts;
	struct plan_folder *folders;
	size_t n_folders;
	const json_t *limits;  /* as in "limits" of protocol.h, plus "oom" */
	const json_t *command; /* the image's own service, or NULL */
	int stop_signal;
	unsigned stop_timeout_ms;
	bool ssh;
	int ssh_port; /* 0: any */
	bool forward_agent;
	char **extra_keys;
};

/* Takes the reference of json, also on failure. */
int plan_parse(json_t *json, struct plan *ret, venv_error **err);
void plan_done(struct plan *plan);

#endif
