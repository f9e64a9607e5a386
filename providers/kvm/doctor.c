/* SPDX-License-Identifier: Apache-2.0 */
/* What this host lacks for virtual machines: advice, because machines run as containers as well. */
#include "kvm.h"

/* Either is well: it is a matter of speed. */
static const char *describe(void)
{
	_cleanup_close_ int vhost = kvm_net_vhost();

	return vhost >= 0
		       ? "this host runs unmodified kernels, and vhost-net carries their networks"
		       : "this host runs unmodified kernels; venv-vmm carries their networks "
			 "(/dev/vhost-net cannot be used)";
}

int kvm_doctor(struct venv *ctx, json_t **ret, venv_error **err)
{
	_cleanup_error_ venv_error *problem = NULL;
	bool ok = kvm_host_check(ctx, &problem) == 0;
	json_t *finding = json_pack("{s:s, s:b, s:s, s:s}", "check", "virtual machines", "ok", ok,
				    "message", ok ? describe() : venv_error_message(problem),
				    "status", ok ? "ok" : "warning");
	json_t *list = finding ? json_pack("[o]", finding) : NULL;

	if (!list)
		return venv__fail_nomem(err);
	if (!ok)
		(void)venv__json_set_str(finding, "fix", venv_error_hint(problem));
	*ret = list;
	return 0;
}
