/* SPDX-License-Identifier: Apache-2.0 */
#include "provider.h"

#include <string.h>

#include "util/buf.h"

const struct provider *venv__provider_find(const char *name)
{
	for (const struct provider *const *p = venv__providers; name && *p; p++)
		if (strcmp((*p)->name, name) == 0)
			return *p;
	return NULL;
}

const char *venv__machine_state_name(enum machine_state state)
{
	static const char *const names[] = {
		[MACHINE_ABSENT] = "not created",  [MACHINE_STOPPED] = "stopped",
		[MACHINE_STARTING] = "starting",   [MACHINE_RUNNING] = "running",
		[MACHINE_PAUSED] = "paused",       [MACHINE_FROZEN] = "frozen",
		[MACHINE_STOPPING] = "stopping",   [MACHINE_CRASHED] = "crashed",
		[MACHINE_SUSPENDED] = "suspended",
	};

	return (size_t)state < ARRAY_SIZE(names) ? names[state] : "unknown";
}

void venv__verdict_done(struct verdict *verdict)
{
	free(verdict->reason);
	free(verdict->hint);
	venv__strv_free(verdict->warnings);
	*verdict = (struct verdict){ 0 };
}
