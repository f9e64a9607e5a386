/* SPDX-License-Identifier: Apache-2.0 */
/* Short forms and rules of the sections, for the table in config_keys.c. */
#ifndef VENV_CONFIG_FORMS_H
#define VENV_CONFIG_FORMS_H

#include "keys.h"

int venv__folder_expand(struct reader *reader, const struct node *node, struct node **ret,
			venv_error **err);
int venv__volume_expand(struct reader *reader, const struct node *node, struct node **ret,
			venv_error **err);
int venv__port_expand(struct reader *reader, const struct node *node, struct node **ret,
		      venv_error **err);
int venv__nic_expand(struct reader *reader, const struct node *node, struct node **ret,
		     venv_error **err);

int venv__folder_finish(struct reader *reader, const struct node *node, void *base,
			venv_error **err);
int venv__volume_finish(struct reader *reader, const struct node *node, void *base,
			venv_error **err);
int venv__ready_finish(struct reader *reader, const struct node *node, void *base,
		       venv_error **err);
int venv__step_finish(struct reader *reader, const struct node *node, void *base, venv_error **err);
int venv__trigger_finish(struct reader *reader, const struct node *node, void *base,
			 venv_error **err);
int venv__kvm_finish(struct reader *reader, const struct node *node, void *base, venv_error **err);
int venv__network_finish(struct reader *reader, const struct node *node, void *base,
			 venv_error **err);
int venv__machine_finish(struct reader *reader, const struct node *node, void *base,
			 venv_error **err);

#endif
