/* SPDX-License-Identifier: Apache-2.0 */
/* The library's side of the container provider. */
#ifndef VENV_CONTAINER_H
#define VENV_CONTAINER_H

#include "alive.h"

extern const struct provider container_provider;

/* plan.c: what the keeper shall make of a machine, as JSON (keeper/plan.h reads it) */
json_t *container_plan(const struct machine *machine, venv_error **err);

/* seccomp.c: the profile's filter as a sealed memfd; compiled once, then from <data>/seccomp/. */
int container_seccomp(struct venv *ctx, enum profile_kind profile, venv_error **err);

/* As venv__alive_state(). */
static inline enum machine_state container_record_state(int dir_fd, json_t **ret_record)
{
	return venv__alive_state(dir_fd, "upper", ret_record);
}

/* upper.c: what the machine wrote */
int container_upper_make(const struct machine *machine, venv_error **err);
int container_upper_remove(const struct machine *machine, venv_error **err);
/* Adds "disk", and "disk_partial" when there is more than could be seen in time. */
void container_upper_usage(const struct machine *machine, json_t *stats);

/* start.c */
int container_start(struct machine *machine, struct venv_op *op, venv_error **err);
/* After a keeper that was killed: its control groups, its mark in "alive". */
void container_clean(const struct machine *machine);

/* probe.c */
int container_probe(struct venv *ctx, const struct machine_spec *spec, struct verdict *ret,
		    venv_error **err);
int container_doctor(struct venv *ctx, json_t **ret, venv_error **err);

#endif
